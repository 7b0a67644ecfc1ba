"""The attestation beside the bytes: given out while it holds, and never for what is kept back."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import attestations
from db.attestations import StoredRevocation
from db.errors import DatabaseUnavailableError
from scanner.canary import draw_canary
from signatures.attestation import parse_attestation
from signatures.digests import parse_digest_field
from signatures.fields import ATTESTATION_HEADER, parse_attestation_field
from tests.images import encode, marker
from tests.relay.web.front.scene import open_scene

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from relay.line import Tools
    from tests.relay.web.front.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG_AGO = timedelta(days=20)


def digest_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def draw(number: int) -> bytes:
    return encode(marker(400 + number), "PNG")


async def fetch(scene: Scene, data: bytes, **headers: str) -> httpx.Response:
    scene.server.serve_media("/system/a.png", data)
    answer = await scene.get("/system/a.png", **headers)
    assert answer.is_success
    return answer


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}])
async def test_the_attestation_of_bytes_comes_with_them(scene: Scene, headers: dict[str, str]) -> None:
    picture = draw(1 + len(headers))
    await scene.attest(picture)
    answer = await fetch(scene, picture, **headers)
    given = parse_attestation_field(answer.headers[ATTESTATION_HEADER])
    stored = await scene.find_attestation(picture)
    assert stored is not None
    assert given == stored.object
    # The two headers speak of the same bytes: those of the whole.
    (digest,) = parse_digest_field(answer.headers["Repr-Digest"])
    assert digest.value == parse_attestation(given, allow_http=True).body.sha256


async def test_what_was_never_attested_is_served_without_a_word_however_often(scene: Scene) -> None:
    picture = draw(3)
    for _ in range(2):
        assert ATTESTATION_HEADER not in (await fetch(scene, picture)).headers
    assert await scene.find_attestation(picture) is None


async def test_the_share_that_is_kept_back_is_kept_back_here_too(line_tools: Tools, tmp_path: Path) -> None:
    silent = replace(line_tools, vouching=replace(line_tools.vouching, withheld_permille=1000))
    picture = draw(4)
    async with open_scene(silent, tmp_path) as scene:
        await scene.attest(picture)
        assert ATTESTATION_HEADER not in (await fetch(scene, picture)).headers


async def test_what_ended_is_attested_anew_when_it_is_asked_for(scene: Scene) -> None:
    picture = draw(5)
    await scene.attest(picture, ago=LONG_AGO)
    old = await scene.find_attestation(picture)
    answer = await fetch(scene, picture)
    new = await scene.find_attestation(picture)
    assert old is not None
    assert new is not None
    assert old.end_time < scene.tools.clock.now() < new.end_time
    assert parse_attestation_field(answer.headers[ATTESTATION_HEADER]) == new.object


async def test_what_was_attested_by_an_earlier_state_of_the_scanner_is_attested_by_the_present_one(
    scene: Scene,
) -> None:
    picture = draw(6)
    await scene.attest(picture, ago=timedelta(hours=1))
    first = await scene.find_attestation(picture)
    assert first is not None
    async with scene.tools.database.transaction() as conn:
        # Of lists that are not the present ones; it stands for the newest until there is another.
        other = replace(
            first, id="01", state_digest=bytes(32), published=first.published + timedelta(minutes=30)
        )
        await attestations.insert_attestation(conn, other)
    answer = await fetch(scene, picture)
    newest = await scene.find_attestation(picture)
    assert newest is not None
    assert newest.id not in {first.id, other.id}
    assert newest.state_digest == scene.tools.vouching.scanning.published_state.digest
    assert parse_attestation_field(answer.headers[ATTESTATION_HEADER]) == newest.object


async def test_what_was_taken_back_is_not_given_out(scene: Scene) -> None:
    picture = draw(7)
    await scene.attest(picture)
    stored = await scene.find_attestation(picture)
    assert stored is not None
    body = parse_attestation(stored.object, allow_http=True).body
    now = scene.tools.clock.now()
    async with scene.tools.database.transaction() as conn:
        await attestations.put_revocation(
            conn,
            StoredRevocation(
                id=f"{body.issuer}/revocations/1",
                issuer=body.issuer,
                scope="attestation",
                subject=body.id,
                published=now,
                received_at=now,
                object=b"{}",
            ),
        )
    assert ATTESTATION_HEADER not in (await fetch(scene, picture)).headers


async def test_what_only_followers_saw_is_not_told_of(scene: Scene) -> None:
    picture, restricted = draw(8), draw(9)
    await scene.attest(picture)
    public = await scene.find_attestation(picture)
    assert public is not None
    async with scene.tools.database.transaction() as conn:
        one = replace(public, id="02", sha256=digest_of(restricted), audience="restricted")
        await attestations.insert_attestation(conn, one)
    assert ATTESTATION_HEADER not in (await fetch(scene, restricted)).headers


async def test_bytes_are_served_while_nobody_can_look_for_their_attestation(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = draw(10)
    await scene.attest(picture)

    async def fail(*_: object) -> None:
        raise DatabaseUnavailableError("down")

    monkeypatch.setattr(attestations, "find_newest", fail)
    answer = await fetch(scene, picture)
    assert answer.content == picture
    assert ATTESTATION_HEADER not in answer.headers


async def test_who_wants_no_attestations_gives_none_out(line_tools: Tools, tmp_path: Path) -> None:
    picture = draw(11)
    mute = replace(line_tools, vouching=replace(line_tools.vouching, is_enabled=False))
    async with open_scene(line_tools, tmp_path) as speaking:
        await speaking.attest(picture)
        assert ATTESTATION_HEADER in (await fetch(speaking, picture)).headers
    async with open_scene(mute, tmp_path) as scene:
        assert ATTESTATION_HEADER not in (await fetch(scene, picture)).headers


async def test_an_attestation_does_not_open_the_way_for_what_policy_withholds(scene: Scene) -> None:
    picture, canary = draw(12), draw_canary()
    await scene.attest(picture)
    public = await scene.find_attestation(picture)
    assert public is not None
    async with scene.tools.database.transaction() as conn:
        await attestations.insert_attestation(conn, replace(public, id="03", sha256=digest_of(canary)))
    scene.server.serve_media("/system/a.png", canary)
    answer = await scene.get("/system/a.png")
    assert answer.status_code == 404
    assert ATTESTATION_HEADER not in answer.headers
