"""The look-up door says what the lists hold, keeps nothing, and takes nothing unread for a no-match."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, media_hashes, rulings, verdicts
from db.rulings import Ruling, RulingKind
from relay.tools.policy import FetchPolicy
from scanner.canary import draw_canary
from tests.images import encode, marker
from tests.relay.line import open_line
from tests.relay.web.local_doors import open_local_doors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.relay.line import Line

HARMLESS = encode(marker(61, width=320, height=240), "PNG")


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[Line]:
    async with open_line(dsn) as opened:
        yield opened


@pytest.fixture
async def http(line: Line) -> AsyncIterator[httpx.AsyncClient]:
    async with open_local_doors(line.tools) as client:
        yield client


def form(data: bytes, content_type: str = "image/png") -> dict[str, tuple[str, bytes, str]]:
    return {"file": ("picture.png", data, content_type)}


async def test_a_listed_picture_is_named_with_its_list(http: httpx.AsyncClient) -> None:
    answer = await http.post("/lookup", files=form(draw_canary()))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert (said["verdict"], said["ruling"]) == ("match", None)
    assert {one["basis"] for one in said["matches"]} == {"exact_hash", "near_hash"}
    # Nothing by which the file could be found again.
    assert set(said["matches"][0]) == {"list", "category", "label", "basis", "advisory"}


async def test_a_form_and_a_bare_body_are_answered_alike(http: httpx.AsyncClient) -> None:
    as_form = await http.post("/lookup", files=form(HARMLESS))
    bare = await http.post("/lookup", content=HARMLESS, headers={"Content-Type": "image/png"})
    assert as_form.json() == bare.json()
    assert as_form.json()["verdict"] == "no-match"


async def test_what_cannot_be_read_is_no_no_match(http: httpx.AsyncClient) -> None:
    said = (await http.post("/lookup", files=form(HARMLESS[:-40]))).json()
    assert (said["verdict"], said["reason"]) == ("unscannable", "truncated")


async def test_a_moderators_ruling_is_told(http: httpx.AsyncClient, line: Line) -> None:
    sha256 = hashlib.sha256(HARMLESS).digest()
    ruling = Ruling(sha256=sha256, ruling=RulingKind.BLOCK, ruled_by="mo", ruled_at=line.clock.now())
    async with line.database.connection() as conn:
        await rulings.set_ruling(conn, ruling)
    said = (await http.post("/lookup", files=form(HARMLESS))).json()
    assert (said["verdict"], said["ruling"]) == ("no-match", "block")


async def test_nothing_is_kept_and_nobody_is_asked(http: httpx.AsyncClient, line: Line) -> None:
    await http.post("/lookup", files=form(draw_canary()))
    async with line.database.connection() as conn:
        assert await cases.list_cases(conn, limit=9) == ()
        assert await verdicts.find_latest(conn, hashlib.sha256(draw_canary()).digest()) is None
        # Nor is it compared with lists that come later.
        assert await media_hashes.count_stale(conn, bytes(32)) == (0, 0)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"files": {"a": ("a", HARMLESS), "b": ("b", HARMLESS)}}, 400),
        ({"files": {"a": ("a", b"")}}, 400),
        ({"content": b""}, 400),
        ({"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
        ({"content": b"no form", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"content": HARMLESS, "headers": {"Content-Encoding": "gzip"}}, 415),
        ({"content": bytes(40_000_001)}, 413),
        ({"files": {"a": ("a", bytes(40_000_001))}}, 413),
    ],
)
async def test_a_request_without_exactly_one_file_is_refused(
    http: httpx.AsyncClient, request_: dict[str, object], status: int
) -> None:
    answer = await http.post("/lookup", **request_)  # type: ignore[arg-type]
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_too_much_at_once_is_told_so(line: Line) -> None:
    async with open_local_doors(line.tools, max_under_way=0) as http:
        answer = await http.post("/lookup", files=form(HARMLESS))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


@pytest.mark.parametrize(
    "sent",
    [
        b"--x\r\nContent-Type: image/png\r\n\r\nsome of a picture",
        b"--x\r\nContent-Type: image/png\r\n\r\nsome of a picture\r\n--x\r\n",
        b"words before any part\r\n",
    ],
)
async def test_a_form_that_does_not_go_on_is_not_waited_for(
    sent: bytes, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.web.lookup._PACE", FetchPolicy(throughput_grace=timedelta(milliseconds=50)))
    head = (
        f"POST {http.base_url.path}lookup HTTP/1.1\r\nHost: {http.base_url.host}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    try:
        writer.write(head.encode() + sent)
        async with asyncio.timeout(30):
            status = await reader.readline()
    finally:
        writer.close()
    assert status.startswith(b"HTTP/1.1 408 ")
