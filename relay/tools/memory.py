"""Bound the media that lies in memory, over all that is examined at once.

Bytes are counted as they arrive, so that an origin that sends nothing, or little, takes up nothing. Whoever
finds no room waits. So that those who wait never wait for each other, the one that has held bytes for the
longest always goes on: it ends, and gives its bytes back.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAX_MEDIA_BYTES: Final = 256 * 1024 * 1024
"""Six of the longest media that are fetched, or a thousand ordinary pictures. One medium more may lie above
it: that of whoever always goes on."""


class MemoryBudget:
    """The room that all share."""

    def __init__(self, *, max_bytes: int = MAX_MEDIA_BYTES) -> None:
        self._max_bytes = max_bytes
        self._changed = asyncio.Condition()
        # In the order in which they first held bytes.
        self._held: dict[Account, int] = {}

    @property
    def used_bytes(self) -> int:
        """How many bytes are held now."""
        return sum(self._held.values())

    @asynccontextmanager
    async def open_account(self) -> AsyncIterator[Account]:
        """Open an account; what it holds is given back at the end of the block."""
        account = Account(self)
        try:
            yield account
        finally:
            if self._held.pop(account, None) is not None:
                async with self._changed:
                    self._changed.notify_all()

    async def _take(self, account: Account, size: int) -> None:
        if not self._has_room(account, size):
            async with self._changed:
                await self._changed.wait_for(lambda: self._has_room(account, size))
        self._held[account] = self._held.get(account, 0) + size

    def _has_room(self, account: Account, size: int) -> bool:
        eldest = next(iter(self._held), account)
        return eldest is account or self.used_bytes + size <= self._max_bytes


class Account:
    """What one examination holds."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget

    async def grow(self, size: int) -> None:
        """Wait for room for so many more bytes, and take it."""
        await self._budget._take(self, size)  # noqa: SLF001 (the two are one thing)
