"""Give work that is under way some time to end when everything is told to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import timedelta

T = TypeVar("T")


async def see_through(work: Awaitable[T], *, stopping: asyncio.Event, grace: timedelta) -> T | None:
    """Await some work; None where it was broken off, because it did not end soon after the stop.

    What it raises comes in an ExceptionGroup.

    Args:
        work: What is under way; whatever it has not done yet must be safe to leave undone.
        stopping: Set when everything is to stop.
        grace: How long the work may still take from then on.
    """
    patience = asyncio.timeout(None)

    async def watch() -> None:
        await stopping.wait()
        patience.reschedule(asyncio.get_running_loop().time() + grace.total_seconds())

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        try:
            async with patience:
                return await work
        except TimeoutError:
            if not patience.expired():
                raise
            return None
        finally:
            watching.cancel()
