"""Work under way is given time to end, and no more than that."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from relay.tools.stopping import see_through

LONG = timedelta(seconds=30)


async def answer(event: asyncio.Event | None = None) -> int:
    if event is not None:
        await event.wait()
    return 7


async def test_what_ends_by_itself_is_waited_for() -> None:
    assert await see_through(answer(), stopping=asyncio.Event(), grace=timedelta()) == 7


async def test_what_ends_soon_after_the_stop_is_waited_for() -> None:
    stopping, ending = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        seen = group.create_task(see_through(answer(ending), stopping=stopping, grace=LONG))
        stopping.set()
        await asyncio.sleep(0)
        ending.set()
    assert seen.result() == 7


async def test_what_does_not_end_after_the_stop_is_broken_off() -> None:
    stopping = asyncio.Event()
    stopping.set()
    assert await see_through(answer(asyncio.Event()), stopping=stopping, grace=timedelta()) is None


async def test_a_timeout_of_the_works_own_is_no_stop() -> None:
    async def give_up() -> None:
        raise TimeoutError

    with pytest.RaisesGroup(TimeoutError):
        await see_through(give_up(), stopping=asyncio.Event(), grace=LONG)
