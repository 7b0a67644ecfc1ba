"""One examination of the same bytes at a time, whatever happens to those who asked."""

from __future__ import annotations

import asyncio

import pytest

from relay.tools.flights import open_flights


async def test_everyone_who_asks_meanwhile_shares_one_call() -> None:
    calls, release = 0, asyncio.Event()

    async def call() -> int:
        nonlocal calls
        calls += 1
        await release.wait()
        return calls

    async with open_flights() as flights, asyncio.TaskGroup() as group:
        asked = [group.create_task(flights.share("key", call)) for _ in range(10)]
        await asyncio.sleep(0)
        release.set()
    assert [task.result() for task in asked] == [1] * 10
    assert calls == 1


async def test_a_cancelled_caller_neither_stops_the_flight_nor_hangs_the_others() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def call() -> str:
        started.set()
        await release.wait()
        return "done"

    async with open_flights() as flights, asyncio.TaskGroup() as group:
        first = group.create_task(flights.share("key", call))
        await started.wait()
        second = group.create_task(flights.share("key", call))
        await asyncio.sleep(0)
        first.cancel()
        release.set()
        assert await second == "done"
    assert first.cancelled()


async def test_a_failure_reaches_every_caller_and_the_next_call_starts_afresh() -> None:
    outcomes = iter([RuntimeError("first"), "second"])

    async def call() -> str:
        outcome = next(outcomes)
        await asyncio.sleep(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async with open_flights() as flights:
        results = await asyncio.gather(
            flights.share("key", call), flights.share("key", call), return_exceptions=True
        )
        assert [str(result) for result in results] == ["first", "first"]
        assert await flights.share("key", call) == "second"


async def test_closing_cancels_what_is_under_way() -> None:
    async def call() -> None:
        await asyncio.Event().wait()

    async with open_flights() as flights:
        waiting = asyncio.ensure_future(flights.share("key", call))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
