"""The reduced copies of one file, made once, when the first service needs them.

A copy goes to a service in place of a file that it does not take. It holds what is to be seen, and no
metadata.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from relay.services.answers import Failed, FailureKind
from scanner.report import UnscannableReason

if TYPE_CHECKING:
    from scanner.reduced import Copy

MAX_SIDE: Final = 1_024
"""Pixels. The perceptual hashes that services match by are taken from far smaller pictures."""

MIN_SIDE: Final = 160
"""Pixels; PhotoDNA takes no narrower picture. Source: the service's own answer 3208."""

MAX_BYTES: Final = 4_000_000
"""Of all copies of a file together: what PhotoDNA takes at once, and less than Google does."""

_MADE_WITHIN_S: Final = 20.0
"""How long the making may take, the wait for a decoder among it: with the turn and the answer less than the
lease of an examination."""


class CopyMaker(Protocol):
    """What makes copies, as `relay.tools.scanning.Scanning.make_copies` does."""

    async def __call__(
        self, data: bytes, *, max_side: int, min_side: int, max_bytes: int
    ) -> tuple[Copy, ...] | UnscannableReason:
        """Make them, or say why there are none."""


class Copying:
    """The copies of one file, shared by all who ask about it."""

    def __init__(self, data: bytes, make: CopyMaker) -> None:
        self._data = data
        self._make = make
        self._lock = asyncio.Lock()
        self._made: tuple[Copy, ...] | Failed | None = None

    async def get(self) -> tuple[Copy, ...] | Failed:
        """Return the copies; or why there are none, so that the service cannot be asked."""
        async with self._lock:
            if self._made is None:
                self._made = await self._make_in_time()
            return self._made

    async def _make_in_time(self) -> tuple[Copy, ...] | Failed:
        try:
            async with asyncio.timeout(_MADE_WITHIN_S):
                made = await self._make(self._data, max_side=MAX_SIDE, min_side=MIN_SIDE, max_bytes=MAX_BYTES)
        except TimeoutError:
            made = UnscannableReason.TIMEOUT
        return Failed(kind=FailureKind.NO_COPY, reason=made) if isinstance(made, UnscannableReason) else made
