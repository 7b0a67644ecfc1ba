"""Decide how long whoever works through a queue waits before it looks again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

# Things become due by themselves (retries, lost leases); notifications cover all others, so this only bounds
# what a lost notification costs.
_LONGEST_NAP: Final = timedelta(seconds=5)
# What is due and cannot be claimed is somebody else's: a hold that housekeeping ends or a person must, or a
# claim that is just being made. To ask again at once, for hours, would keep the database busy with nothing.
_NAP_AFTER_MISS: Final = timedelta(seconds=1)
_SHORTEST_NAP: Final = timedelta(milliseconds=20)


def decide_nap(due: datetime | None, *, now: datetime) -> timedelta:
    """Decide how long to wait for a wake-up after there was nothing to claim.

    Args:
        due: When the next thing is due; it may be past. None if none is waited for.
        now: The time.
    """
    if due is None:
        return _LONGEST_NAP
    return min(max(due - now, _SHORTEST_NAP), _LONGEST_NAP) if due > now else _NAP_AFTER_MISS


async def wait_within(event: asyncio.Event, span: timedelta) -> None:
    """Wait until an event happens, and no longer than a span of time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(span.total_seconds()):
            await event.wait()
