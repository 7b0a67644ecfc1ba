"""The queue goes on whatever one delivery does to it, and the house is kept."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, deliveries, service_usage, verdicts
from relay.lifecycle import GIVE_UP_AFTER, LEASE, MAX_LEASE_LOSSES, State
from relay.pipeline import Accepted
from relay.tools.naps import decide_nap
from scanner.canary import draw_canary
from tests.db.builders import new_delivery
from tests.fediverse import shapes
from tests.fediverse.behaviours import serve
from tests.fediverse.clock import START
from tests.images import encode, marker
from tests.relay.line import Line, open_line
from tests.relay.stages.parts import claim, find

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.fediverse import Actor, WireRequest

PNG = encode(marker(1, width=96, height=96), "PNG")


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[Line]:
    async with open_line(dsn) as opened:
        yield opened


async def _store(line: Line, actor: Actor, data: bytes = PNG, *, path: str = "/p.png") -> int:
    """Take in a post with a picture and return its id."""
    activity = shapes.mastodon_create(actor, [line.origin.serve_media(path, data)])
    return await _store_activity(line, actor, activity)


async def _store_activity(line: Line, actor: Actor, activity: object) -> int:
    assert isinstance(await line.receive(actor, activity), Accepted)
    async with line.database.connection() as conn:
        return (await deliveries.list_deliveries(conn, State.RECEIVED, 100))[-1].id


async def test_what_waits_is_examined_forwarded_and_counted(line: Line) -> None:
    actor = line.origin.create_actor("alice")
    ids = [await _store(line, actor) for _ in range(12)]

    async with line.at_work():
        for one in ids:
            assert (await line.wait_for(one, State.FORWARDED)).attempts == 0
    await line.workers.take_stock()

    assert len(line.backend.requests) == len(ids)
    shown = line.metrics.render()[0].decode()
    assert 'breakwater_deliveries_total{outcome="forwarded"} 12.0' in shown
    assert 'breakwater_media_total{decision="release",door="inbox",verdict="no-match"} 12.0' in shown


async def test_withheld_media_is_counted_and_sealed_until_its_time_is_over(line: Line) -> None:
    delivery_id = await _store(line, line.origin.create_actor("alice"), draw_canary())
    digest = hashlib.sha256(draw_canary()).digest()

    async with line.at_work():
        await line.wait_for(delivery_id, State.HELD)
    assert 'decision="withhold",door="inbox",verdict="match"} 1.0' in line.metrics.render()[0].decode()
    assert line.tools.spool.find(digest) == draw_canary()

    # The spool goes by the age of its files, which no clock of ours moves: far in the future, all are old.
    line.clock.advance(timedelta(days=36_500))
    await line.workers._forget()
    assert line.tools.spool.find(digest) is None


class _Heard(logging.Handler):
    """Tells when a message with these words is logged."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self._words in record.getMessage():
            self.event.set()


@contextlib.contextmanager
def _hear(words: str) -> Iterator[asyncio.Event]:
    heard, logger = _Heard(words), logging.getLogger("relay.workers")
    logger.addHandler(heard)
    try:
        yield heard.event
    finally:
        logger.removeHandler(heard)


async def test_a_worker_that_lost_its_lease_changes_nothing_any_more(line: Line) -> None:
    actor, gate = line.origin.create_actor("alice"), asyncio.Event()

    async def serve_late(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        await gate.wait()
        return await serve(PNG)(request, number, writer)

    url = line.origin.on("/p.png", serve_late)
    delivery_id = await _store_activity(line, actor, shapes.mastodon_create(actor, [url]))

    with _hear(f"lease_lost delivery={delivery_id}") as heard:
        async with line.at_work(), asyncio.timeout(30):
            await line.wait_for(delivery_id, State.EXAMINING)
            # Another relay, by whose clock the lease is over, takes the delivery and puts it on hold.
            async with line.database.connection() as conn:
                taken = await deliveries.claim_delivery_by_id(
                    conn, delivery_id, worker="other", lease=LEASE, now=START + LEASE
                )
                assert taken is not None
                assert taken.attempts == 1
                await deliveries.advance(
                    conn, delivery_id, expected=State.EXAMINING, to=State.HELD, now=START, worker="other"
                )
            gate.set()
            await heard.wait()

    assert (await find(line.database, delivery_id)).state is State.HELD
    assert not line.backend.requests


async def test_a_delivery_that_costs_its_worker_again_and_again_is_given_up_visibly(line: Line) -> None:
    delivery_id = await _store(line, line.origin.create_actor("alice"))
    for _ in range(MAX_LEASE_LOSSES + 1):
        await claim(line.database, now=line.clock.now())
        line.clock.advance(LEASE)

    async with line.at_work():
        stored = await line.wait_for(delivery_id, State.DEAD)

    assert (stored.reason, bool(stored.body)) == ("poison", True)
    assert not line.backend.requests


async def test_one_less_than_too_many_losses_is_tried_again(line: Line) -> None:
    delivery_id = await _store(line, line.origin.create_actor("alice"))
    for _ in range(MAX_LEASE_LOSSES):
        await claim(line.database, now=line.clock.now())
        line.clock.advance(LEASE)

    async with line.at_work():
        await line.wait_for(delivery_id, State.FORWARDED)


async def test_a_delivery_that_breaks_the_worker_stops_nobody_elses(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    """A verdict that cannot be read stands for any fault that nobody thought of."""
    actor = line.origin.create_actor("alice")
    async with line.database.connection() as conn:
        await verdicts.put_verdict(
            conn,
            verdicts.StoredVerdict(
                sha256=hashlib.sha256(PNG).digest(),
                state_digest=line.tools.scans.scanning.state_digest,
                verdict="no-match",
                reason=None,
                report={"nonsense": "of a secret"},
                scanned_at=START,
            ),
        )
    broken = await _store(line, actor)
    whole = await _store(line, actor, encode(marker(2, width=96, height=96), "PNG"), path="/other.png")

    async with line.at_work():
        await line.wait_for(whole, State.FORWARDED)

    assert (await find(line.database, broken)).state is State.EXAMINING
    (record,) = [one for one in caplog.records if one.name == "relay.workers" and one.levelname == "ERROR"]
    assert record.getMessage() == "worker_failed errors=MalformedError"
    assert record.exc_info is None


async def test_to_stop_finishes_what_is_under_way_and_begins_nothing(line: Line) -> None:
    actor = line.origin.create_actor("alice")
    line.backend.pause()
    first = await _store(line, actor)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(line.workers.run())
        await line.backend.wait_for(1)
        line.workers.stop()
        second = await _store(line, actor)
        assert not running.done()
        line.backend.resume()

    assert (await find(line.database, first)).state is State.FORWARDED
    assert (await find(line.database, second)).state is State.RECEIVED


async def test_a_hold_that_nobody_ruled_on_is_given_up_after_three_days_and_its_case_expires(
    line: Line,
) -> None:
    delivery_id = await _store(line, line.origin.create_actor("alice"), draw_canary())
    async with line.at_work():
        await line.wait_for(delivery_id, State.HELD)

    line.clock.advance(GIVE_UP_AFTER - timedelta(seconds=1))
    await line.workers._end_holds()
    assert (await find(line.database, delivery_id)).state is State.HELD
    line.clock.advance(timedelta(seconds=1))
    await line.workers._end_holds()

    stored = await find(line.database, delivery_id)
    assert (stored.state, stored.reason, bool(stored.body)) == (State.DEAD, "never_ruled", True)
    async with line.database.connection() as conn:
        assert [case.state for case in await cases.list_cases_of(conn, delivery_id)] == [
            cases.CaseState.EXPIRED
        ]
    assert not line.backend.requests


async def test_behind_a_media_door_the_text_goes_on_when_its_budget_is_over(dsn: str) -> None:
    async with open_line(dsn, backend_enforces_media="true", hold_patience_s="60") as line:
        delivery_id = await _store(line, line.origin.create_actor("alice"))
        claimed = await claim(line.database)
        async with line.database.connection() as conn:
            await deliveries.advance(
                conn,
                delivery_id,
                expected=State.EXAMINING,
                to=State.HELD,
                now=START,
                worker=claimed.worker,
            )
        await line.workers._end_holds()
        assert (await find(line.database, delivery_id)).state is State.HELD

        line.clock.advance(timedelta(seconds=60))
        await line.workers._end_holds()
        assert (await find(line.database, delivery_id)).state is State.DECIDED
        async with line.at_work():
            await line.wait_for(delivery_id, State.FORWARDED)


async def test_behind_a_media_door_the_canarys_text_passes_and_its_media_stays_withheld(dsn: str) -> None:
    async with open_line(dsn, backend_enforces_media="true") as line:
        delivery_id = await _store(line, line.origin.create_actor("alice"), draw_canary())
        async with line.at_work():
            await line.wait_for(delivery_id, State.FORWARDED)

        async with line.database.connection() as conn:
            assert len(await cases.list_cases_of(conn, delivery_id)) == 1


async def test_finished_deliveries_lose_their_bodies_and_then_are_forgotten(line: Line) -> None:
    actor = line.origin.create_actor("alice")
    finished = await _store(line, actor)
    async with line.at_work():
        await line.wait_for(finished, State.FORWARDED)
    waiting = await _store(line, actor)

    await line.workers._forget()
    assert (await find(line.database, finished)).body
    line.clock.advance(timedelta(hours=1, seconds=1))
    await line.workers._forget()
    assert (await find(line.database, finished)).body == b""
    line.clock.advance(timedelta(days=30))
    await line.workers._forget()

    async with line.database.connection() as conn:
        assert await deliveries.find_delivery(conn, finished) is None
    assert (await find(line.database, waiting)).body


async def test_what_services_were_asked_is_counted_for_more_than_a_year(line: Line) -> None:
    day = line.clock.now().date()
    async with line.database.connection() as conn:
        await service_usage.spend(conn, "one", day, requests=3, limit=9)

    async def count_after(days: int) -> int:
        line.clock.advance(timedelta(days=days))
        await line.workers._forget()
        async with line.database.connection() as conn:
            return await service_usage.find_used(conn, "one", day)

    assert await count_after(400) == 3
    assert await count_after(1) == 0


async def test_the_backlog_is_what_the_table_says(dsn: str) -> None:
    async with open_line(dsn, hold_max_pending="2") as line:
        actor = line.origin.create_actor("alice")
        for _ in range(2):
            await _store(line, actor)
        assert line.tools.hold.backlog.is_full

        async with line.at_work():
            async with asyncio.timeout(30):
                await line.backend.wait_for(2)
        await line.workers._count_backlog()

        assert not line.tools.hold.backlog.is_full
        assert 'breakwater_queue_deliveries{state="forwarded"} 2.0' in line.metrics.render()[0].decode()


async def test_a_body_that_can_no_longer_be_read_is_a_dead_letter(line: Line) -> None:
    """What was accepted under other bounds must not go round for ever."""
    async with line.database.connection() as conn:
        delivery_id = await deliveries.insert_delivery(conn, new_delivery(body=b"{", received_at=START))
    assert delivery_id is not None

    async with line.at_work():
        stored = await line.wait_for(delivery_id, State.DEAD)

    assert (stored.reason, stored.body) == ("malformed", b"{")
    assert not line.backend.requests


@pytest.mark.parametrize(
    ("due_in_seconds", "seconds"), [(None, 5), (60, 5), (5, 5), (2, 2), (0.001, 0.02), (0, 1), (-3600, 1)]
)
def test_a_nap_ends_when_something_is_due_and_never_spins(
    due_in_seconds: float | None, seconds: float
) -> None:
    due = None if due_in_seconds is None else START + timedelta(seconds=due_in_seconds)

    assert decide_nap(due, now=START) == timedelta(seconds=seconds)
