"""What the server's own people upload is examined, attested by its origin, and reported where it is known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import httpx
import pytest

from db import audit, cases, errands
from db.errands import ErrandKind, ErrandState
from db.pool import open_database
from relay.clock import SystemClock
from scanner.canary import draw_canary
from signatures.attestation import parse_attestation
from signatures.attestation_verify import verify_attestation
from signatures.keys import parse_multikey
from signatures.objects import IssuerKey
from tests.e2e.acting import list_errands, near_canary, rule_inside, settings_of, wait_for_errand
from tests.e2e.inside import open_inside
from tests.e2e.world import open_scene, wait_until
from tests.fediverse.behaviours import refuse, serve, stall
from tests.fediverse.servers import MastodonServer, Post
from tests.fediverse.webhooks import ADA, attachment, encode, event, sign, status
from tests.images import encode as encode_image
from tests.images import marker

if TYPE_CHECKING:
    from db.errands import Errand
    from tests.e2e.world import Scene, World
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

SECRET: Final = "what Mastodon shows for this webhook"
PATH: Final = "/breakwater/webhooks/mastodon"


def settings_for(origin: Origin, **more: str) -> dict[str, str]:
    return {
        "uploads_enabled": "true",
        "uploads_secret": SECRET,
        "uploads_media_hosts": origin.host,
        "identity_domain": MastodonServer.host,
        **more,
    }


async def tell(scene: Scene, document: object, *, secret: str = SECRET) -> httpx.Response:
    """Post an event as Mastodon does."""
    body = encode(document)
    async with httpx.AsyncClient(base_url=scene.relay.door, trust_env=False) as http:
        return await http.post(PATH, content=body, headers=sign(body, secret))


def post_with(*urls: str, number: int = 1, visibility: str = "public") -> dict[str, object]:
    media = [attachment("x", url=url) for url in urls]
    return event(status(number=number, media=media, visibility=visibility))


async def open_cases(scene: Scene) -> tuple[cases.Case, ...]:
    async with scene.database.connection() as conn:
        return await cases.list_cases(conn, limit=9)


async def test_a_public_upload_is_examined_and_its_origin_attests_it(
    world: World, dsn: str, origin: Origin
) -> None:
    pictures = [encode_image(marker(number), "PNG") for number in (301, 302)]
    urls = [origin.serve_media(f"/{number}.png", data) for number, data in enumerate(pictures)]
    document = event(status(media=[attachment("x", url=urls[0], preview_url=urls[1])]))
    async with open_inside(world, dsn=dsn, **settings_for(origin)) as scene:
        assert (await tell(scene, document)).status_code == 202
        stored = [await scene.wait_for_attestation(data) for data in pictures]
        done = await wait_for_errand(scene, ErrandKind.EXAMINE_UPLOAD, ErrandState.DONE)

        for one in stored:
            await _verify(scene, one.object)
        assert (done.payload, done.reason) == ({}, None)
        assert await open_cases(scene) == ()
        # Once more the same: nothing is fetched again.
        assert (await tell(scene, document)).status_code == 202
        assert len(await list_errands(scene)) == 1
    assert [origin.count(f"/{number}.png") for number in range(2)] == [1, 1]


async def test_a_known_upload_opens_a_case_and_is_reported_to_the_moderators(
    world: World, dsn: str, origin: Origin
) -> None:
    url = origin.serve_media("/canary.png", draw_canary())
    document = post_with(url)
    async with MastodonServer.open() as server:
        uri = f"{ADA}/statuses/1"
        server.has(Post(uri=uri, author=ADA, number=111, author_number=5))
        settings = settings_for(origin, **settings_of(server))
        async with open_inside(world, dsn=dsn, **settings) as scene:
            # A rate limit at first: it is asked again when that is over.
            server.break_next(server.refuse_rate())
            assert (await tell(scene, document)).status_code == 202
            assert (await _wait_for_another_try(scene)).kind is ErrandKind.REPORT
            scene.relay.advance(timedelta(minutes=1))
            errand = await wait_for_errand(scene, ErrandKind.REPORT, ErrandState.DONE)
            (case,) = await open_cases(scene)
            told = await _read_audit_log(scene)

            assert (case.door, case.category, case.basis) == ("uploads", "spam", "exact_hash")
            assert await scene.find_attestation(draw_canary()) is None
            (report,) = server.reports
            assert (report.post, report.account) == (111, 5)
            assert report.text == f"Breakwater withheld media of this post. See case {case.id}."
            assert report.extra["forward"] == "false"
            assert errand.case_id == case.id
            assert (errand.payload, errand.tries) == ({}, 1)
            assert '"kind": "report"' in told
            assert uri not in told
            assert url not in told


async def test_an_upload_that_only_looks_like_a_known_one_is_for_a_person_to_judge(
    world: World, dsn: str, origin: Origin
) -> None:
    url = origin.serve_media("/near.png", near_canary())
    async with MastodonServer.open() as server:
        server.has(Post(uri=f"{ADA}/statuses/1", author=ADA, number=111, author_number=5))
        settings = settings_for(origin, **settings_of(server))
        async with open_inside(world, dsn=dsn, **settings) as scene:
            await tell(scene, post_with(url))
            await wait_for_errand(scene, ErrandKind.EXAMINE_UPLOAD, ErrandState.DONE)
            (case,) = await open_cases(scene)
            assert case.basis == "near_hash"
            assert [one.kind for one in await list_errands(scene)] == [ErrandKind.EXAMINE_UPLOAD]
            assert server.asked == []

            # A person upholds it: now there is a ground.
            said = await rule_inside(scene, case.id, cases.CaseState.UPHELD)
            assert "to be done on your server: 1" in said
            await wait_for_errand(scene, ErrandKind.REPORT, ErrandState.DONE)
            assert [one.post for one in server.reports] == [111]

            # The same picture in another post is reported without asking again.
            server.has(Post(uri=f"{ADA}/statuses/2", author=ADA, number=222, author_number=5))
            await tell(scene, post_with(url, number=2))

            async def reported() -> bool | None:
                return len(server.reports) == 2 or None

            await wait_until(reported, "the second report")
            assert server.reports[1].post == 222


async def test_what_is_not_signed_with_the_secret_leaves_nothing_behind(
    world: World, dsn: str, origin: Origin
) -> None:
    url = origin.serve_media("/forged.png", draw_canary())
    async with open_inside(world, dsn=dsn, **settings_for(origin)) as scene:
        assert (await tell(scene, post_with(url), secret="guessed")).status_code == 401
        assert await list_errands(scene) == ()
    assert origin.count("/forged.png") == 0


async def test_a_relay_without_this_door_does_not_know_its_address(
    world: World, dsn: str, origin: Origin
) -> None:
    async with open_inside(world, dsn=dsn) as scene:
        assert (await tell(scene, post_with(origin.url("/p.png")))).status_code == 404


async def test_media_of_other_hosts_are_never_fetched_and_the_admin_is_told(
    world: World, dsn: str, origin: Origin
) -> None:
    other = world.take_origin()
    url = other.serve_media("/p.png", encode_image(marker(303), "PNG"))
    async with open_inside(world, dsn=dsn, **settings_for(origin)) as scene:
        await tell(scene, post_with(url))
        failed = await wait_for_errand(scene, ErrandKind.EXAMINE_UPLOAD, ErrandState.FAILED)
    assert "uploads.media_hosts" in (failed.reason or "")
    assert other.count("/p.png") == 0


async def test_a_media_host_at_a_private_address_is_named_with_its_remedy(
    world: World, dsn: str, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    url = origin.serve_media("/p.png", encode_image(marker(304), "PNG"))
    settings = settings_for(origin, fetch_allow_private="127.0.0.1:1")
    async with open_inside(world, dsn=dsn, **settings) as scene:
        await tell(scene, post_with(url))
        failed = await wait_for_errand(scene, ErrandKind.EXAMINE_UPLOAD, ErrandState.FAILED)
    assert "fetch.allow_private" in (failed.reason or "")
    assert "fetch.allow_private" in caplog.text
    assert url not in caplog.text


async def test_media_that_cannot_be_had_now_are_examined_later_and_deleted_ones_never(
    world: World, dsn: str, origin: Origin
) -> None:
    picture = encode_image(marker(305), "PNG")
    url, gone = origin.on("/late.png", refuse(503)), origin.on("/gone.png", refuse(404))
    async with open_inside(world, dsn=dsn, **settings_for(origin)) as scene:
        await tell(scene, post_with(gone, url))
        waiting = await _wait_for_another_try(scene)
        assert waiting.reason == "server_error"
        origin.on("/late.png", serve(picture))
        scene.relay.advance(timedelta(minutes=1))
        await scene.wait_for_attestation(picture)
        await wait_for_errand(scene, ErrandKind.EXAMINE_UPLOAD, ErrandState.DONE)


async def test_a_post_for_few_is_examined_only_with_a_legal_basis_and_never_attested(
    world: World, dsn: str, origin: Origin
) -> None:
    picture = encode_image(marker(306), "PNG")
    urls = [origin.serve_media("/few.png", picture), origin.serve_media("/bad.png", draw_canary())]
    document = post_with(*urls, visibility="private")
    async with open_inside(world, dsn=dsn, **settings_for(origin)) as scene:
        assert (await tell(scene, document)).status_code == 202
        assert await list_errands(scene) == ()
    assert origin.count("/few.png") == 0

    legal = {"legal_scan_restricted": "true", "legal_scan_restricted_basis": "our terms, section 4"}
    async with open_inside(world, dsn=dsn, **settings_for(origin, **legal)) as scene:
        assert (await tell(scene, document)).status_code == 202
        await wait_for_errand(scene, ErrandKind.EXAMINE_UPLOAD, ErrandState.DONE)
        assert len(await open_cases(scene)) == 1
        assert await scene.find_attestation(picture) is None


@pytest.mark.timeout(180)
async def test_after_kill_minus_9_an_upload_that_was_told_of_is_examined_all_the_same(world: World) -> None:
    origin = world.take_origin()
    picture = encode_image(marker(307), "PNG")
    url = origin.on("/slow.png", stall())
    async with open_scene(world, **settings_for(origin)) as scene:
        assert (await tell(scene, post_with(url))).status_code == 202
        await wait_for_errand(scene, ErrandKind.EXAMINE_UPLOAD, ErrandState.WORKING)

        await scene.relay.kill9()
        origin.on("/slow.png", serve(picture))
        await scene.relay.start()

        async with open_database(scene.relay.dsn, min_size=1, max_size=2) as database:
            again = replace(scene, database=database)
            (lost,) = await list_errands(again)
            # As if the time of the lease had passed.
            async with database.connection() as conn:
                await errands.extend_lease(
                    conn, lost.id, worker=lost.worker or "", lease=timedelta(), now=SystemClock().now()
                )
            await again.wait_for_attestation(picture)
            done = await wait_for_errand(again, ErrandKind.EXAMINE_UPLOAD, ErrandState.DONE)
            assert done.lost_leases == 1


async def _verify(scene: Scene, signed: bytes) -> None:
    """Verify an attestation as a peer would, with the key that the relay's actor publishes."""
    async with httpx.AsyncClient(trust_env=False) as http:
        document = (await http.get(f"{scene.relay.base_url}/actor")).json()
    method = document["assertionMethod"][0]
    key = IssuerKey(
        actor=document["id"], key_id=method["id"], key=parse_multikey(method["publicKeyMultibase"])
    )
    verify_attestation(parse_attestation(signed, allow_http=True), issuer_key=key, now=SystemClock().now())


async def _wait_for_another_try(scene: Scene) -> Errand:
    """Wait until an errand was put back after a first try; a new one waits, too."""

    async def find() -> Errand | None:
        found = (one for one in await list_errands(scene) if one.state is ErrandState.WAITING and one.tries)
        return next(found, None)

    return await wait_until(find, "another try")


async def _read_audit_log(scene: Scene) -> str:
    async with scene.database.connection() as conn:
        entries = await audit.list_entries(conn, limit=99)
        assert await audit.verify_chain(conn) == len(entries)
    return json.dumps([entry.detail for entry in entries])
