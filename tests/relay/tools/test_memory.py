"""Media in memory: bounded, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib

from hypothesis import given
from hypothesis import strategies as st

from relay.tools.memory import MemoryBudget

STEP = 10


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_whoever_finds_no_room_waits_until_there_is_some() -> None:
    budget = MemoryBudget(max_bytes=100)
    async with asyncio.TaskGroup() as group, budget.open_account() as second:
        async with budget.open_account() as first:
            await first.grow(60)
            await second.grow(40)
            waiting = group.create_task(second.grow(20))
            await _settle()
            assert not waiting.done()
        await waiting
        assert budget.used_bytes == 60
    assert budget.used_bytes == 0


async def test_a_cancelled_wait_takes_nothing() -> None:
    budget = MemoryBudget(max_bytes=10)
    async with budget.open_account() as first:
        await first.grow(10)
        async with asyncio.TaskGroup() as group:

            async def take() -> None:
                async with budget.open_account() as second:
                    await second.grow(1)

            waiting = group.create_task(take())
            await _settle()
            waiting.cancel()
        assert budget.used_bytes == 10
    assert budget.used_bytes == 0


@given(st.lists(st.integers(1, 8), min_size=1, max_size=12), st.integers(1, 60))
def test_however_many_grow_side_by_side_all_end_and_the_bound_holds(steps: list[int], limit: int) -> None:
    """All together want more than there is: without an eldest they would wait for each other."""
    most = 0

    async def download(budget: MemoryBudget, count: int) -> None:
        nonlocal most
        async with budget.open_account() as account:
            for _ in range(count):
                await account.grow(STEP)
                most = max(most, budget.used_bytes)
                await asyncio.sleep(0)

    async def run() -> None:
        budget = MemoryBudget(max_bytes=limit)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for count in steps:
                group.create_task(download(budget, count))
        assert budget.used_bytes == 0

    asyncio.run(run())
    assert most <= limit + max(steps) * STEP


async def test_what_breaks_off_gives_its_bytes_back() -> None:
    budget = MemoryBudget(max_bytes=10)
    with contextlib.suppress(ValueError):
        async with budget.open_account() as account:
            await account.grow(10)
            raise ValueError
    assert budget.used_bytes == 0
