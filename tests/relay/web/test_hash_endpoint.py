"""The hash endpoint: the hash as PieFed reads it, for pictures that may be fetched, so many a minute."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from relay.model import FetchFailure
from relay.web.hash_endpoint import PerMinute, TooMany, _respond
from scanner.canary import PDQ, draw_canary
from scanner.report import UnscannableReason
from tests.fediverse.behaviours import (
    flood,
    in_turn,
    lie_about_length,
    redirect,
    refuse,
    serve,
    serve_json,
    stall,
)
from tests.fediverse.clock import START
from tests.images import encode, marker, photograph, reference_rgb
from tests.relay.line import Line, open_line
from tests.relay.web.local_doors import open_local_doors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    import httpx

    from tests.fediverse.behaviours import Behaviour
    from tests.fediverse.wire import WireRequest

PHOTOGRAPH = encode(photograph("astronaut"), "JPEG", quality=90)


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[Line]:
    async with open_line(dsn, fetch_max_media_bytes="2000000") as opened:
        yield opened


async def ask(http: httpx.AsyncClient, url: str) -> httpx.Response:
    """Ask as PieFed does."""
    return await http.get("/pdq", params={"image_url": url})


async def test_the_hash_is_that_of_the_reference_in_the_form_that_piefed_reads(line: Line) -> None:
    pdqhash = pytest.importorskip("pdqhash")
    bits, quality = pdqhash.compute(reference_rgb(PHOTOGRAPH))
    url = line.origin.serve_media("/p.jpg", PHOTOGRAPH, "image/jpeg") + "?a=1&b=%20"
    async with open_local_doors(line.tools) as http:
        answer = await ask(http, url)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == {
        "pdq_hash_binary": "".join(str(int(bit)) for bit in np.asarray(bits)),
        "quality": quality,
    }
    assert line.origin.requests[-1].target == "/p.jpg?a=1&b=%20"
    assert line.tools.memory.used_bytes == 0


async def test_whatever_our_own_lists_say_the_hash_is_given_and_nothing_is_kept(line: Line) -> None:
    url = line.origin.serve_media("/canary.png", draw_canary())
    async with open_local_doors(line.tools) as http:
        answer = await ask(http, url)

    assert answer.json()["pdq_hash_binary"] == format(int.from_bytes(PDQ), "0256b")
    async with line.database.connection() as conn:
        for table in ("media", "verdicts", "cases"):
            assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 (names of ours)


async def test_a_flat_picture_has_a_quality_that_says_so(line: Line) -> None:
    url = line.origin.serve_media("/flat.png", encode(Image.new("RGB", (400, 300), "teal"), "PNG"))
    async with open_local_doors(line.tools) as http:
        answer = await ask(http, url)

    assert answer.json()["quality"] == 0
    assert len(answer.json()["pdq_hash_binary"]) == 256


async def test_addresses_that_nobody_may_fetch_are_refused_without_a_request(line: Line) -> None:
    door = line.relay.door_url
    addresses = (
        "",
        "words",
        "data:image/png;base64,AAAA",
        "file:///etc/passwd",
        "ftp://a.example/p.png",
        "http://user@a.example/p.png",
        "http://127.0.0.1:1/p.png",
        "http://2130706433/p.png",
        "http://[::1]/p.png",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/p.png",
        f"{door}/breakwater/actor",
        line.backend.url,
    )
    elsewhere = line.origin.on("/elsewhere", redirect("http://169.254.169.254/p.png"))
    async with open_local_doors(line.tools) as http:
        refused = [await ask(http, url) for url in (*addresses, elsewhere)]
        none = await http.get("/pdq")
        two = await http.get("/pdq", params={"image_url": [elsewhere, elsewhere]})

    assert {answer.status_code for answer in (*refused, none, two)} == {400}
    assert len({answer.content for answer in (*refused, none, two)}) == 1
    assert not line.backend.requests


BEHAVIOURS: dict[str, tuple[Behaviour, int]] = {
    "a_page": (serve(b"<!doctype html><p>words", "text/html"), 422),
    "words": (serve(b"words", "text/plain"), 422),
    "an_activity": (serve_json({"type": "Create"}), 422),
    "half_a_picture": (serve(PHOTOGRAPH[:9000], "image/jpeg"), 422),
    "nothing": (serve(b""), 422),
    "a_flood": (flood(), 422),
    "not_there": (refuse(404), 502),
    "not_for_us": (refuse(403), 502),
    "an_error": (refuse(500), 502),
    "a_broken_body": (lie_about_length(PHOTOGRAPH, len(PHOTOGRAPH) + 10), 502),
}


async def test_where_there_is_no_picture_there_is_no_hash(line: Line) -> None:
    async with open_local_doors(line.tools) as http:
        found = {
            name: await ask(http, line.origin.on(f"/{name}", behaviour))
            for name, (behaviour, _) in BEHAVIOURS.items()
        }

    assert {name: answer.status_code for name, answer in found.items()} == {
        name: status for name, (_, status) in BEHAVIOURS.items()
    }
    for name, answer in found.items():
        assert name not in answer.text
        assert "127.0.0.1" not in answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert line.tools.memory.used_bytes == 0


async def test_a_picture_that_does_not_come_is_waited_for_only_so_long(line: Line) -> None:
    url = line.origin.on("/stalls.png", stall())
    async with open_local_doors(line.tools, within=timedelta(milliseconds=200)) as http:
        assert (await ask(http, url)).status_code == 504


async def test_who_asks_for_the_same_picture_meanwhile_shares_the_fetch(line: Line) -> None:
    asked, release = asyncio.Event(), asyncio.Event()
    served = serve(PHOTOGRAPH, "image/jpeg")

    async def wait_and_serve(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        asked.set()
        await release.wait()
        return await served(request, number, writer)

    url = line.origin.on("/p.jpg", wait_and_serve)
    async with open_local_doors(line.tools, per_minute=1) as http, asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(http, url)) for _ in range(6)]
        await asked.wait()
        release.set()

    assert {task.result().status_code for task in tasks} == {200}
    assert line.origin.count("/p.jpg") == 1


async def test_more_pictures_a_minute_than_allowed_are_put_off(line: Line) -> None:
    urls = [line.origin.on(f"/{number}.jpg", in_turn(serve(PHOTOGRAPH, "image/jpeg"))) for number in range(4)]
    async with open_local_doors(line.tools, per_minute=2) as http:
        answers = [await ask(http, url) for url in urls[:3]]
        line.clock.advance(timedelta(seconds=61))
        later = await ask(http, urls[3])

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["Retry-After"] == "60"
    assert line.origin.count("/2.jpg") == 0
    assert later.status_code == 200


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_no_minute_holds_more_than_its_share() -> None:
    rate = PerMinute(3)
    assert [rate.admit(_at(second)) for second in (0, 20, 40)] == [None] * 3
    assert rate.admit(_at(50)) == timedelta(seconds=10)
    assert rate.admit(_at(60)) is None
    assert rate.admit(_at(61)) == timedelta(seconds=19)


@pytest.mark.parametrize("failure", list(FetchFailure))
def test_no_failed_fetch_is_a_hash(failure: FetchFailure) -> None:
    assert _respond(failure).status in {400, 422, 502, 504}


@pytest.mark.parametrize("reason", list(UnscannableReason))
def test_no_unexamined_picture_has_a_hash(reason: UnscannableReason) -> None:
    answer = _respond(reason)
    is_passing = reason is UnscannableReason.DETECTOR_UNAVAILABLE
    assert answer.status == (503 if is_passing else 422)
    assert ("Retry-After" in answer.headers) is is_passing


def test_who_has_to_wait_is_told_whole_seconds_and_never_none() -> None:
    assert _respond(TooMany(wait=timedelta(milliseconds=1))).headers["Retry-After"] == "1"


async def test_only_get_is_answered_and_nothing_of_it_is_logged(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    url = line.origin.serve_media("/a-name-of-its-own.png", encode(marker(9), "PNG"))
    with caplog.at_level("DEBUG"):
        async with open_local_doors(line.tools) as http:
            answer = await ask(http, url)
            posted = await http.post("/pdq", params={"image_url": url})

    assert (posted.status_code, posted.headers["Allow"]) == (405, "GET")
    told = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("relay"))
    bits = answer.json()["pdq_hash_binary"]
    assert "a-name-of-its-own" not in told
    assert bits not in told
    assert format(int(bits, 2), "064x") not in told
