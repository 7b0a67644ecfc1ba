"""Let only so many through at a time, counted by key."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True, kw_only=True)
class _Gate:
    places: asyncio.Semaphore
    users: int = 0


class Gates:
    """A gate for each key, kept only while somebody stands at it.

    With a width of 1 it makes a single flight out of work whose result is kept somewhere: whoever waited
    looks there first. A caller that is cancelled leaves its place to the next and hangs nobody.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._gates: dict[str, _Gate] = {}

    @contextlib.asynccontextmanager
    async def enter(self, key: str) -> AsyncIterator[None]:
        """Hold one of the key's places inside the block."""
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = _Gate(places=asyncio.Semaphore(self._width))
        gate.users += 1
        try:
            async with gate.places:
                yield
        finally:
            gate.users -= 1
            if not gate.users:
                del self._gates[key]
