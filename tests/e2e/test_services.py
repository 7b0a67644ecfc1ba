"""Services through the whole line: what they know is withheld, and what they cannot say is not released."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from db import delivery_lists, verdicts
from relay.config.services import CONSENTS
from relay.lifecycle import RETRY_DELAYS, State
from relay.services.copies import MAX_BYTES, MAX_SIDE, MIN_SIDE
from scanner.report import RunOutcome, UnscannableReason, Verdict, report_from_json
from tests.e2e.inside import open_inside
from tests.e2e.world import wait_until
from tests.fediverse import shapes
from tests.images import encode, marker
from tests.relay.services.parts import SECRETS, sha256
from tests.scanner.clips import Scene as Shot
from tests.scanner.clips import clip
from tests.service_servers import FakePhotoDna, FakeShield, Scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from db.delivery_rows import StoredDelivery
    from scanner.report import Report
    from tests.e2e.world import Scene, World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

NAMES = {FakeShield: "arachnid", FakePhotoDna: "photodna"}


@contextlib.asynccontextmanager
async def open_with(
    world: World, dsn: str, directory: Path, *fakes: FakeShield | FakePhotoDna, **given: str
) -> AsyncIterator[Scene]:
    """A relay that asks these services."""
    settings = {
        "legal_jurisdiction": "DE",
        "legal_reporting_route": "jugendschutz.net",
        "legal_responsible_role": "child safety officer",
    }
    for fake in fakes:
        name = NAMES[type(fake)]
        path = directory / name
        path.write_text(SECRETS[type(fake)])
        settings |= {
            f"services_{name}_enabled": "true",
            f"services_{name}_url": fake.url,
            f"services_{name}_credentials_file": str(path),
            f"services_{name}_consent": CONSENTS[name],
        }
    async with open_inside(world, dsn=dsn, **{**settings, **given}) as scene:
        yield scene


async def copies_of(scene: Scene, data: bytes) -> list[bytes]:
    """What a service is shown of a file that it does not take."""
    scanning = scene.relay.parts.workers._tools.scans.scanning
    made = await scanning.make_copies(data, max_side=MAX_SIDE, min_side=MIN_SIDE, max_bytes=MAX_BYTES)
    assert not isinstance(made, UnscannableReason)
    return [one.data for one in made]


def picture(seed: int) -> bytes:
    return encode(marker(seed, width=320, height=320), "PNG")


async def post(
    scene: Scene, data: bytes, media_type: str = "image/png", *, is_public: bool = True
) -> StoredDelivery:
    """Post a picture, and wait until its delivery rests."""
    origin = scene.take_origin()
    actor = origin.create_actor("alice")
    activity = shapes.mastodon_create(actor, [origin.serve_media("/p.png", data, media_type)])
    if not is_public:
        followers = [f"{actor.id}/followers"]
        activity = {**activity, "to": followers, "cc": []}
        activity["object"] = {**activity["object"], "to": followers, "cc": []}
    assert (await scene.deliver(actor, activity)).status == 202
    return await scene.wait_for_state(activity)


async def report_of(scene: Scene, data: bytes) -> Report:
    async with scene.database.connection() as conn:
        stored = await verdicts.find_latest(conn, sha256(data))
    assert stored is not None
    return report_from_json(stored.report)


async def test_what_a_service_knows_is_stopped_and_what_it_does_not_know_passes(
    world: World, dsn: str, tmp_path: Path
) -> None:
    async with FakeShield.open() as shield, FakePhotoDna.open() as photodna:
        exact, near, unknown = picture(21), picture(22), picture(23)
        shield.know(exact, "csam", "exact")
        photodna.know(near)
        async with open_with(world, dsn, tmp_path, shield, photodna) as scene:
            # The same as for an exact match of a list of one's own: the whole delivery goes.
            assert (await post(scene, exact)).state is State.DROPPED
            held = await post(scene, near)
            assert held.state is State.HELD
            assert [case.category for case in await scene.cases_of(held)] == ["csam-known"]
            assert (await post(scene, unknown)).state is State.FORWARDED
            asked = len(shield.received)
            assert (await post(scene, unknown)).state is State.FORWARDED
            assert len(shield.received) == asked, "a verdict is kept, and nobody is asked twice"
            await scene.wait_for_attestation(unknown)
        assert {one.path for one in shield.received} == {"/v1/media/"}


async def test_of_formats_that_a_service_does_not_take_it_is_shown_copies(
    world: World, dsn: str, tmp_path: Path
) -> None:
    async with FakePhotoDna.open() as photodna:
        known, unknown = (encode(marker(seed, width=1600, height=1200), "WEBP") for seed in (31, 32))
        film = clip([Shot(seed=33, frames=10), Shot(seed=34, frames=10)])
        async with open_with(world, dsn, tmp_path, photodna) as scene:
            for copy in (*await copies_of(scene, known), (await copies_of(scene, film))[-1]):
                photodna.know(copy)
            for data, media_type in ((known, "image/webp"), (film, "video/mp4")):
                held = await post(scene, data, media_type)
                assert held.state is State.HELD
                assert [case.category for case in await scene.cases_of(held)] == ["csam-known"]
            assert (await post(scene, unknown, "image/webp")).state is State.FORWARDED
            await scene.wait_for_attestation(unknown)
        assert {one.headers["Content-Type"] for one in photodna.received} == {"image/jpeg"}
        assert not {known, unknown, film} & {one.body for one in photodna.received}


async def test_the_state_that_peers_see_names_the_services(world: World, dsn: str, tmp_path: Path) -> None:
    async with FakeShield.open() as shield, open_with(world, dsn, tmp_path, shield) as scene:
        scanning = scene.relay.parts.workers._tools.scans.scanning
        document = scanning.published_state.document
        assert scanning.state_digest != scanning.local_digest
        assert "arachnid-shield" in scanning.costly_detectors
    named = {one["name"]: one for one in document["detectors"]}
    assert named["arachnid-shield"]["state"] == {"is_hosted": True, "what": "media"}
    assert shield.url not in json.dumps(document)


async def test_an_outage_of_an_essential_service_holds_media_back_until_it_is_over(
    world: World, dsn: str, tmp_path: Path
) -> None:
    async with FakeShield.open() as shield, open_with(world, dsn, tmp_path, shield) as scene:
        shield.usual = Scripted(status=503)
        data = picture(24)
        origin = scene.take_origin()
        actor = origin.create_actor("alice")
        activity = shapes.mastodon_create(actor, [origin.serve_media("/p.png", data)])
        assert (await scene.deliver(actor, activity)).status == 202

        async def find() -> Report | None:
            async with scene.database.connection() as conn:
                stored = await delivery_lists.find_by_activity(conn, activity["id"])
            is_put_off = stored is not None and stored.state is State.RECEIVED and stored.retries
            return await report_of(scene, data) if is_put_off else None

        report = await wait_until(find, "a look that was put off")
        assert (report.verdict, report.reason) == (
            Verdict.UNSCANNABLE,
            UnscannableReason.DETECTOR_UNAVAILABLE,
        )
        assert not scene.has_reached_backend(activity)
        assert await scene.find_attestation(data) is None

        shield.usual = None
        scene.relay.advance(RETRY_DELAYS[0])
        assert (await scene.wait_for_state(activity)).state is State.FORWARDED


async def test_an_outage_of_a_service_that_is_not_essential_holds_nothing_back_and_is_not_attested(
    world: World, dsn: str, tmp_path: Path
) -> None:
    async with (
        FakeShield.open() as shield,
        open_with(world, dsn, tmp_path, shield, services_arachnid_essential="false") as scene,
    ):
        shield.script(503)
        data = picture(25)
        assert (await post(scene, data)).state is State.FORWARDED
        assert await scene.find_attestation(data) is None
        # What passed without it is looked at again where it comes again.
        assert (await post(scene, data)).state is State.FORWARDED
        runs = {run.name: run.outcome for run in (await report_of(scene, data)).detectors}
        assert runs["arachnid-shield"] is RunOutcome.RAN


async def test_media_of_followers_only_posts_stay_here_unless_the_admin_says_otherwise(
    world: World, dsn: str, tmp_path: Path
) -> None:
    restricted = {"legal_scan_restricted": "true", "legal_scan_restricted_basis": "consent of all users"}
    async with FakeShield.open() as shield:
        data = picture(26)
        shield.know(data)
        async with open_with(world, dsn, tmp_path, shield, **restricted) as scene:
            assert (await post(scene, data, is_public=False)).state is State.FORWARDED
            assert shield.received == []
            # The verdict without the service does not stand for one with it.
            assert (await post(scene, data)).state is State.DROPPED
            assert len(shield.received) == 1
            # What it has said by then of the very same bytes holds for whoever brings them.
            assert (await post(scene, data, is_public=False)).state is State.DROPPED
            assert len(shield.received) == 1


async def test_media_of_followers_only_posts_are_sent_where_the_admin_says_so(
    world: World, dsn: str, tmp_path: Path
) -> None:
    given = {
        "legal_scan_restricted": "true",
        "legal_scan_restricted_basis": "consent of all users",
        "services_sends": "all",
    }
    async with FakeShield.open() as shield, open_with(world, dsn, tmp_path, shield, **given) as scene:
        data = picture(27)
        shield.know(data)
        assert (await post(scene, data, is_public=False)).state is State.DROPPED
        assert len(shield.received) == 1


async def test_the_breaker_and_the_budget_stand_among_the_numbers(
    world: World, dsn: str, tmp_path: Path
) -> None:
    async with FakeShield.open() as shield, open_with(world, dsn, tmp_path, shield) as scene:
        assert (await post(scene, picture(28))).state is State.FORWARDED

        async def find() -> str | None:
            numbers = await scene.relay.metrics()
            return numbers if "breakwater_service_answers_total" in numbers else None

        numbers = await wait_until(find, "the numbers of the service")
        assert 'breakwater_service_budget_left{service="arachnid-shield"} 9999.0' in numbers
        assert 'breakwater_service_breaker_open{service="arachnid-shield"} 0.0' in numbers
