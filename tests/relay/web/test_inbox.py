"""The door's answers where the database fails, which no sender may mistake for a yes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from db.embedded import open_postgres
from relay.web.inbox import InboxDoor
from tests.e2e.process import free_ports, scratch_directory
from tests.fediverse import send, shapes
from tests.images import encode, marker
from tests.relay.line import Line, open_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.fediverse import Actor, WireResponse

PNG = encode(marker(1, width=96, height=96), "PNG")


@contextlib.asynccontextmanager
async def _serve(door: InboxDoor) -> AsyncIterator[int]:
    """Serve a door of its own, as the relay does, and yield its port."""
    (port,) = free_ports(1)
    application = web.Application(client_max_size=door.max_body_bytes)
    application.add_routes([web.route("*", "/{path:.*}", door.handle)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield port
    finally:
        await runner.cleanup()


def _door(line: Line, *, hosts: frozenset[str] = frozenset()) -> InboxDoor:
    return InboxDoor(tools=line.tools, trusted_proxies=(), max_body_bytes=1 << 20, hosts=hosts)


async def _post(line: Line, actor: Actor, port: int, activity: object) -> WireResponse:
    message = actor.sign_and_build(activity, f"http://127.0.0.1:{port}/inbox", now=line.clock.now())
    return await send(message, host="127.0.0.1", port=port)


def _picture_post(line: Line, actor: Actor) -> shapes.Document:
    return shapes.mastodon_create(actor, [line.origin.serve_media("/p.png", PNG)])


def _children_of(parent: int) -> list[int]:
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name in parentheses: the state, then the parent.
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                children.append(int(path.parent.name))
    return children


@contextlib.contextmanager
def _frozen(data_dir: Path) -> Iterator[None]:
    """Stop every process of the database in its tracks: connections stay open and say nothing."""
    postmaster = int((data_dir / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])
    processes = [postmaster, *_children_of(postmaster)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def test_a_database_that_hangs_costs_a_sender_bounded_time_and_gives_no_yes() -> None:
    with scratch_directory() as directory:
        async with open_postgres(directory / "data") as dsn, open_line(dsn) as line:
            door = replace(_door(line), answer_within=timedelta(milliseconds=300))
            actor = line.origin.create_actor("alice")
            async with _serve(door) as port:
                assert (await _post(line, actor, port, _picture_post(line, actor))).status == 202
                with _frozen(directory / "data"):
                    answer = await _post(line, actor, port, _picture_post(line, actor))
                again = await _post(line, actor, port, _picture_post(line, actor))

    assert answer.status == 503
    assert int(answer.header("Retry-After") or 0) > 0
    assert again.status == 202
    assert not line.backend.requests


async def test_a_statement_that_is_refused_is_no_yes_either(dsn: str) -> None:
    """Whatever the database says against storing a delivery, it was not stored."""
    async with open_line(dsn) as line:
        actor = line.origin.create_actor("alice")
        async with line.database.connection() as conn:
            await conn.execute("DROP TABLE deliveries CASCADE")
        async with _serve(_door(line)) as port:
            answer = await _post(line, actor, port, _picture_post(line, actor))

    assert answer.status == 503
    assert b"deliveries" not in answer.body.replace(b"Cannot accept deliveries", b"")


async def test_a_delivery_for_another_host_is_not_taken(dsn: str) -> None:
    async with open_line(dsn) as line:
        actor = line.origin.create_actor("alice")
        async with _serve(_door(line, hosts=frozenset({"instance.example"}))) as port:
            answer = await _post(line, actor, port, _picture_post(line, actor))
            message = actor.sign_and_build(
                _picture_post(line, actor), "http://Instance.example/inbox", now=line.clock.now()
            )
            ours = await send(message, host="127.0.0.1", port=port)

    assert (answer.status, ours.status) == (400, 202)
    assert json.loads(answer.body)["title"] == "Malformed request"


async def test_every_answer_of_the_door_is_counted(dsn: str) -> None:
    async with open_line(dsn) as line:
        actor = line.origin.create_actor("alice")
        async with _serve(_door(line)) as port:
            await _post(line, actor, port, _picture_post(line, actor))
            await _post(line, actor, port, b"{")
            unsigned = actor.build_delivery(b'{"type":"Like"}', f"http://127.0.0.1:{port}/inbox")
            await send(unsigned, host="127.0.0.1", port=port)
        shown = line.metrics.render()[0].decode()

    for status in (202, 400, 401):
        assert f'breakwater_inbox_answers_total{{status="{status}"}} 1.0' in shown
