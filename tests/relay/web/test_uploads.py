"""The uploads door believes only its own server, and answers with success only what is stored."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from db import errands
from db.errands import ErrandKind
from db.errors import DatabaseUnavailableError
from relay.tools.statuses import read_payload
from relay.web.uploads import UploadDoor, is_signed
from tests.e2e.process import free_ports
from tests.fediverse import FrozenClock
from tests.fediverse.webhooks import encode, event, sign, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.errands import Errand
    from db.pool import Database

SECRET = "a secret that only the two of us know"
BODY = encode(event(status()))
GOOD = sign(BODY, SECRET)


@pytest.fixture
def door(database: Database) -> UploadDoor:
    return UploadDoor(
        database=database,
        clock=FrozenClock(),
        secret=SECRET.encode(),
        examines_restricted=False,
        max_body_bytes=10_000,
    )


@contextlib.asynccontextmanager
async def served(door: UploadDoor) -> AsyncIterator[httpx.AsyncClient]:
    (port,) = free_ports(1)
    application = web.Application()
    application.add_routes([web.post("/webhooks/mastodon", door.handle)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            yield http
    finally:
        await runner.cleanup()


async def post(
    door: UploadDoor, body: bytes, headers: dict[str, str] | list[tuple[str, str]]
) -> httpx.Response:
    async with served(door) as http:
        return await http.post("/webhooks/mastodon", content=body, headers=headers)


async def kept(door: UploadDoor) -> tuple[Errand, ...]:
    async with door.database.connection() as conn:
        return await errands.list_errands(conn, limit=9)


async def test_a_signed_post_is_kept_before_it_is_answered(door: UploadDoor) -> None:
    answer = await post(door, BODY, GOOD)
    assert answer.status_code == 202
    (errand,) = await kept(door)
    assert errand.kind is ErrandKind.EXAMINE_UPLOAD
    found = read_payload(errand.payload)
    assert found.uri == status()["uri"]
    assert len(found.media) == 2


async def test_the_same_post_is_kept_once_and_its_edit_once_more(door: UploadDoor) -> None:
    edited = encode(event(status(edited_at="2026-11-22T08:30:00.000Z"), name="status.updated"))
    for body in (BODY, BODY, edited, edited):
        assert (await post(door, body, sign(body, SECRET))).status_code == 202
    assert len(await kept(door)) == 2


BAD_SIGNATURES = {
    "none": [],
    "another secret": list(sign(BODY, "guessed").items()),
    "of another body": list(sign(BODY + b" ", SECRET).items()),
    "twice": [*GOOD.items(), ("X-Hub-Signature", GOOD["X-Hub-Signature"])],
    "another algorithm": [
        ("X-Hub-Signature", "sha1=" + hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest())
    ],
    "no algorithm": [("X-Hub-Signature", GOOD["X-Hub-Signature"].removeprefix("sha256="))],
    "cut short": [("X-Hub-Signature", GOOD["X-Hub-Signature"][:-2])],
    "with something behind it": [("X-Hub-Signature", GOOD["X-Hub-Signature"] + "00")],
    "empty": [("X-Hub-Signature", "")],
}


@pytest.mark.parametrize("name", BAD_SIGNATURES)
async def test_what_is_not_signed_with_the_secret_is_refused_and_nothing_is_kept(
    name: str, door: UploadDoor
) -> None:
    answer = await post(door, BODY, BAD_SIGNATURES[name])
    assert answer.status_code == 401
    assert "uploads.secret" in answer.json()["detail"]
    assert await kept(door) == ()


async def test_an_unsigned_body_is_not_even_read_as_json(door: UploadDoor) -> None:
    assert (await post(door, b"{", {})).status_code == 401
    assert (await post(door, b"{", sign(b"{", SECRET))).status_code == 400
    assert await kept(door) == ()


@given(body=st.binary(max_size=64), secret=st.binary(min_size=1, max_size=64), place=st.integers(0, 63))
def test_any_changed_digit_of_a_signature_makes_it_unfit(body: bytes, secret: bytes, place: int) -> None:
    digest = hmac.digest(secret, body, "sha256").hex()
    other = "0" if digest[place] != "0" else "1"
    assert is_signed([f"sha256={digest}"], body, secret=secret)
    assert is_signed([f"sha256={digest.upper()}"], body, secret=secret)
    changed = digest[:place] + other + digest[place + 1 :]
    assert not is_signed([f"sha256={changed}"], body, secret=secret)


@pytest.mark.parametrize("visibility", ["private", "direct", "limited"])
async def test_a_post_for_few_is_kept_only_where_the_law_was_looked_up(
    visibility: str, door: UploadDoor
) -> None:
    body = encode(event(status(visibility=visibility)))
    assert (await post(door, body, sign(body, SECRET))).status_code == 202
    assert await kept(door) == ()
    assert (await post(replace(door, examines_restricted=True), body, sign(body, SECRET))).status_code == 202
    (errand,) = await kept(door)
    assert not read_payload(errand.payload).is_public


@pytest.mark.parametrize("name", ["account.created", "account.approved", "report.created", "to.come"])
async def test_other_events_are_acknowledged_and_left_alone(name: str, door: UploadDoor) -> None:
    body = encode(event({"id": "1"}, name=name))
    assert (await post(door, body, sign(body, SECRET))).status_code == 202
    assert await kept(door) == ()


async def test_a_body_over_the_limit_is_refused(door: UploadDoor) -> None:
    body = b" " * 10_001
    assert (await post(door, body, sign(body, SECRET))).status_code == 413


async def test_what_cannot_be_stored_is_to_be_sent_again(door: UploadDoor) -> None:
    class Broken:
        @contextlib.asynccontextmanager
        async def transaction(self) -> AsyncIterator[None]:
            raise DatabaseUnavailableError
            yield

    answer = await post(replace(door, database=Broken()), BODY, GOOD)  # type: ignore[arg-type]
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert SECRET not in repr(door)
