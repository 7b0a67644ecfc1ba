"""Neither a sender that stalls nor a chore that fails stops the others, and stopping takes no time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, deliveries
from relay import workers
from relay.lifecycle import GIVE_UP_AFTER, State
from relay.pipeline import Accepted
from relay.tools.lanes import Lanes
from relay.tools.limits import UNVERIFIED
from relay.tools.spool import Spool
from scanner.canary import draw_canary
from tests.fediverse import shapes
from tests.fediverse.behaviours import refuse, stall
from tests.fediverse.clock import START
from tests.images import encode, marker
from tests.relay.line import Line, open_line
from tests.relay.stages.parts import claim, find

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from db.delivery_rows import StoredDelivery
    from tests.fediverse import Actor

PNG = encode(marker(1, width=96, height=96), "PNG")
SOON = timedelta(milliseconds=50)


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[Line]:
    async with open_line(dsn) as opened:
        yield opened


async def _store(line: Line, actor: Actor, *urls: str) -> int:
    assert isinstance(await line.receive(actor, shapes.mastodon_create(actor, urls)), Accepted)
    async with line.database.connection() as conn:
        return (await deliveries.list_deliveries(conn, State.RECEIVED, 100))[-1].id


async def _store_inline(line: Line, actor: Actor, data: bytes) -> int:
    import base64  # noqa: PLC0415 (this alone needs it)

    return await _store(line, actor, f"data:image/png;base64,{base64.b64encode(data).decode()}")


async def test_deliveries_that_stall_do_not_keep_the_others_from_the_workers(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_PROMPT", SOON)
    monkeypatch.setattr(line.workers, "_lanes", Lanes(per_sender=100))
    actor = line.origin.create_actor("alice")
    slow = [await _store(line, actor, line.origin.on(f"/{n}.png", stall())) for n in range(12)]
    quick = await _store_inline(line, actor, PNG)

    async with line.at_work():
        await line.wait_for(quick, State.FORWARDED)
        for one in slow:
            assert (await find(line.database, one)).state is State.EXAMINING


async def test_a_sender_that_stalls_gets_its_share_of_the_lanes_and_the_rest_is_put_back(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_PROMPT", SOON)
    monkeypatch.setattr(line.workers, "_lanes", Lanes(per_sender=2))
    actor = line.origin.create_actor("alice")
    ids = [await _store(line, actor, line.origin.on(f"/{n}.png", stall())) for n in range(10)]

    async with line.at_work():
        busy = await _wait_for_busy(line, ids, count=8)

    assert {(one.state, one.due_at > START) for one in busy} == {(State.RECEIVED, True)}


async def _wait_for_busy(line: Line, ids: list[int], *, count: int) -> list[StoredDelivery]:
    async with asyncio.timeout(30):
        while True:
            busy = [one for one in [await find(line.database, one) for one in ids] if one.reason == "busy"]
            if len(busy) >= count:
                return busy
            await asyncio.sleep(0.01)


async def test_to_stop_breaks_long_examinations_off_and_leaves_them_to_the_next_start(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_PROMPT", SOON)
    url = line.origin.on("/p.png", stall())
    delivery_id = await _store(line, line.origin.create_actor("alice"), url)

    async with asyncio.timeout(10):
        async with line.at_work():
            await line.wait_for(delivery_id, State.EXAMINING)

    stored = await find(line.database, delivery_id)
    assert (stored.state, stored.reason, stored.due_at) == (State.RECEIVED, "interrupted", START)
    assert (await claim(line.database)).attempts == 0


async def test_what_is_put_back_again_and_again_is_given_up_visibly(line: Line) -> None:
    line.workers._lanes = Lanes(per_sender=0)
    url = line.origin.serve_media("/p.png", PNG)
    delivery_id = await _store(line, line.origin.create_actor("alice"), url)
    line.clock.advance(GIVE_UP_AFTER)

    async with line.at_work():
        stored = await line.wait_for(delivery_id, State.DEAD)

    assert stored.reason == "not_examined"


async def test_a_chore_that_fails_keeps_no_other_from_being_done(
    line: Line, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise LookupError("something of a stranger's")

    done = asyncio.Event()

    async def count() -> None:
        done.set()

    monkeypatch.setattr(line.workers, "_end_holds", fail)
    monkeypatch.setattr(line.workers, "_forget", fail)
    monkeypatch.setattr(line.workers, "_count_restarts", count)

    async with line.at_work(), asyncio.timeout(30):
        await done.wait()

    failures = [one.getMessage() for one in caplog.records if "housekeeping" in one.getMessage()]
    assert failures == ["housekeeping_failed errors=LookupError"] * 2


class BrokenSpool(Spool):
    """A spool on a disk that fails."""

    def purge_expired(self, *, now: datetime, max_age: timedelta) -> int:
        raise OSError(5, "Input/output error")


async def test_a_disk_that_fails_keeps_no_body_beyond_its_time(line: Line) -> None:
    delivery_id = await _store_inline(line, line.origin.create_actor("alice"), PNG)
    async with line.at_work():
        await line.wait_for(delivery_id, State.FORWARDED)
    spool = line.tools.spool
    broken = BrokenSpool(directory=spool.directory, key=spool.key, max_bytes=1)
    line.workers._tools = replace(line.tools, spool=broken)

    line.clock.advance(timedelta(hours=2))
    await line.workers._forget()

    assert (await find(line.database, delivery_id)).body == b""


@pytest.mark.parametrize("enforces_media", ["true", "false"])
async def test_inline_bytes_that_were_found_never_pass_and_are_not_kept_beyond_their_time(
    enforces_media: str, dsn: str
) -> None:
    async with open_line(dsn, backend_enforces_media=enforces_media) as line:
        delivery_id = await _store_inline(line, line.origin.create_actor("alice"), draw_canary())
        async with line.at_work():
            await line.wait_for(delivery_id, State.HELD)

        line.clock.advance(timedelta(hours=1))
        await line.workers._end_holds()
        assert (await find(line.database, delivery_id)).state is State.HELD
        line.clock.advance(GIVE_UP_AFTER)
        await line.workers._end_holds()

        stored = await find(line.database, delivery_id)
        assert (stored.state, stored.reason, stored.body) == (State.DEAD, "never_ruled", b"")
        async with line.database.connection() as conn:
            assert [one.state for one in await cases.list_cases_of(conn, delivery_id)] == [
                cases.CaseState.EXPIRED
            ]
        assert not line.backend.requests


async def test_more_references_than_are_examined_wait_for_a_person_behind_a_door_too(dsn: str) -> None:
    async with open_line(dsn, backend_enforces_media="true") as line:
        picture = line.origin.serve_media("/p.png", PNG)
        urls = [f"{picture}?{number}" for number in range(1_001)]
        delivery_id = await _store(line, line.origin.create_actor("alice"), *urls)
        async with line.at_work():
            await line.wait_for(delivery_id, State.HELD)

        line.clock.advance(timedelta(hours=1))
        await line.workers._end_holds()

        assert (await find(line.database, delivery_id)).state is State.HELD


async def test_shares_of_the_backlog_are_what_the_table_says_once_they_matter(dsn: str) -> None:
    async with open_line(dsn, hold_max_pending="4") as line:
        alice = line.origin.create_actor("alice")
        line.origin.on("/users/alice", refuse(503))
        url = line.origin.serve_media("/p.png", PNG)
        for _ in range(2):
            await _store(line, alice, url)
        backlog = line.tools.hold.backlog
        backlog.set(1, by_domain={"somebody.example": 70})

        await line.workers._count_backlog()

        assert backlog._by_domain == {UNVERIFIED: 2}
