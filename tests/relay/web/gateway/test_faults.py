"""What goes wrong on either side: nothing is released because of it, and nobody hangs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from db import rulings, verdicts
from relay.tools.flights import Flights
from relay.web.gateway import server
from tests.e2e.gateway.raw import open_line
from tests.fediverse import behaviours as do
from tests.fediverse.wire import build_head
from tests.images import encode, marker
from tests.relay.web.gateway.scene import open_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fediverse.behaviours import Behaviour
    from tests.fediverse.wire import WireRequest
    from tests.relay.web.gateway.scene import Scene

SOON = timedelta(milliseconds=200)
# Longer than a busy machine takes for what a test needs to have happened by then.
LATER = timedelta(seconds=1)
PICTURE = encode(marker(5), "PNG")


@contextlib.asynccontextmanager
async def slow_scanner(scene: Scene) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """Let every scan begin, say so, and go on only when told."""
    began, may_go_on = asyncio.Event(), asyncio.Event()
    scanning = type(scene.line.tools.scans.scanning)
    scan = scanning.scan

    async def wait(self: object, data: bytes, **options: str | None) -> object:
        began.set()
        await may_go_on.wait()
        return await scan(self, data, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "scan", wait)
        yield began, may_go_on


async def until_known(scene: Scene, data: bytes) -> None:
    """Wait until there is a verdict on some bytes."""
    async with asyncio.timeout(20):
        while True:
            async with scene.line.database.connection() as conn:
                if await verdicts.find_latest(conn, hashlib.sha256(data).digest()) is not None:
                    return
            await asyncio.sleep(0.01)


async def test_a_verdict_that_takes_too_long_is_waited_for_by_the_next_request(
    dsn: str, tmp_path: Path
) -> None:
    async with open_scene(dsn, tmp_path, release_within=LATER) as scene:
        url = scene.origin.serve_media("/a.png", PICTURE)
        async with slow_scanner(scene) as (began, may_go_on):
            late = await scene.get(url)
            assert began.is_set()
            assert late.status_code == 503
            assert int(late.headers["Retry-After"]) > 0
            assert PICTURE[:20] not in late.content
            may_go_on.set()
            await until_known(scene, PICTURE)
        assert (await scene.get(url)).content == PICTURE


async def test_a_backend_that_goes_away_leaves_the_examination_to_the_next(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path) as scene:
        url = scene.origin.serve_media("/a.png", PICTURE)
        async with slow_scanner(scene) as (began, may_go_on), asyncio.TaskGroup() as group:
            gone = group.create_task(scene.get(url))
            await began.wait()
            waiting = group.create_task(scene.get(url))
            gone.cancel()
            may_go_on.set()
            assert (await waiting).content == PICTURE
        assert gone.cancelled()
        assert (await scene.get(url)).content == PICTURE


async def test_a_database_that_is_down_releases_nothing(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path) as scene:
        url = scene.origin.serve_media("/a.png", PICTURE)
        assert (await scene.get(url)).status_code == 200
        await scene.line.database._pool.close()
        assert (await scene.get(url)).status_code == 503
        page = scene.origin.serve_media("/page", b"<html>", "text/html")
        assert (await scene.get(page)).content == b"<html>"


async def test_a_ruling_holds_from_the_next_request_on(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path) as scene:
        url = scene.origin.serve_media("/a.png", PICTURE)
        assert (await scene.get(url)).status_code == 200
        for kind, status in ((rulings.RulingKind.BLOCK, 403), (rulings.RulingKind.ALLOW, 200)):
            async with scene.line.database.connection() as conn:
                await rulings.set_ruling(
                    conn,
                    rulings.Ruling(
                        sha256=hashlib.sha256(PICTURE).digest(),
                        ruling=kind,
                        ruled_by="admin",
                        ruled_at=scene.line.clock.now(),
                    ),
                )
            assert (await scene.get(url)).status_code == status


async def test_origins_that_stall_or_cannot_be_reached_are_a_bad_gateway(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path, throughput_grace=SOON) as scene:
        stalled = scene.origin.on("/a", do.stall_after(PICTURE[:100], declared=1000))
        assert (await scene.get(stalled)).status_code == 504
        for name, raw in (
            ("/b", b"no http at all\r\n\r\n"),
            ("/c", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            ("/d", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ):
            assert (await scene.get(scene.origin.on(name, do.answer_raw(raw)))).status_code == 502
        scene.names.given["nowhere.remote.example"] = ()
        assert (await scene.get(f"https://nowhere.remote.example:{scene.origin.port}/")).status_code == 502


def _break_off_a_page(declared: int) -> Behaviour:
    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(build_head(200, (("Content-Type", "text/html"), ("Content-Length", str(declared)))))
        writer.write(b"<html>" + b"x" * 10_000)
        await writer.drain()
        return False

    return behave


async def test_a_page_that_breaks_off_is_not_taken_for_whole(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path) as scene:
        with pytest.raises(httpx.TransportError):
            await scene.get(scene.origin.on("/a", _break_off_a_page(20_000)))
        assert (await scene.get(scene.origin.serve_media("/b", b"<html>", "text/html"))).status_code == 200


async def test_connections_beyond_the_bound_wait_for_their_turn(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path, max_connections=2) as scene:
        url = scene.origin.serve_media("/a.png", PICTURE)
        async with slow_scanner(scene) as (began, may_go_on), asyncio.TaskGroup() as group:
            fetches = [group.create_task(scene.get(url)) for _ in range(6)]
            await began.wait()
            # Two have a connection at most, so that the origin was asked no more than twice.
            assert len(scene.origin.requests) <= 2
            may_go_on.set()
        assert [fetch.result().content for fetch in fetches] == [PICTURE] * 6


@pytest.mark.parametrize("way", ["plain", "tunnel"])
async def test_a_request_that_is_begun_and_never_ended_keeps_no_place(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(server, "FIRST_REQUEST_WITHIN", SOON)
    async with (
        open_scene(dsn, tmp_path, max_connections=1) as scene,
        open_line(scene.gateway.port) as line,
    ):
        url = scene.plain.serve_media("/page", b"<html>", "text/html")
        if way == "tunnel":
            assert await line.connect(f"{scene.origin.host}:{scene.origin.port}") == 200
        line.writer.write(f"GET {url} HTTP/1.1\r\nHost: ".encode())
        assert await line.is_closed()
        monkeypatch.undo()
        assert (await scene.get(url)).status_code == 200


async def test_a_connection_that_has_asked_once_may_rest(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "FIRST_REQUEST_WITHIN", LATER)
    async with open_scene(dsn, tmp_path) as scene, open_line(scene.gateway.port) as line:
        url = scene.plain.on("/a", do.drip(b"<html>words", interval_seconds=0.12, content_type="text/html"))
        host = url.split("/")[2]
        for _ in range(2):
            answer = await line.ask(f"GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert answer is not None
            assert answer.body == b"<html>words"


async def test_whoever_asks_after_a_change_of_lists_waits_for_no_verdict_from_before_it(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_scene(dsn, tmp_path) as scene:
        url = scene.origin.serve_media("/a.png", PICTURE)
        scanning, asked = type(scene.line.tools.scans.scanning), set()
        has_asked, share = asyncio.Event(), Flights.share

        async def note(self: object, key: tuple[bytes, str, bytes], call: object) -> object:
            asked.add(key)
            has_asked.set()
            return await share(self, key, call)

        monkeypatch.setattr(Flights, "share", note)
        async with slow_scanner(scene) as (began, may_go_on), asyncio.TaskGroup() as group:
            before = group.create_task(scene.get(url))
            await began.wait()
            monkeypatch.setattr(scanning, "state_digest", property(lambda _: b"s" * 32))
            has_asked.clear()
            after = group.create_task(scene.get(url))
            await has_asked.wait()
            may_go_on.set()
        assert (await before).content == (await after).content == PICTURE
        assert len({state for _, _, state in asked}) == 2


async def test_a_gateway_that_stops_ends_what_is_under_way(dsn: str, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        async with open_scene(dsn, tmp_path) as scene:
            url = scene.origin.serve_media("/a.png", PICTURE)
            async with scene.backend() as idle, slow_scanner(scene) as (began, _):
                await idle.get(scene.plain.serve_media("/page", b"<html>", "text/html"))
                waiting = group.create_task(_fetch_to_its_end(scene, url))
                await began.wait()
        assert await waiting is None


async def _fetch_to_its_end(scene: Scene, url: str) -> bytes | None:
    try:
        answer = await scene.get(url)
    except httpx.TransportError:
        return None
    return answer.content if answer.status_code == 200 else None
