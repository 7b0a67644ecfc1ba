"""Read the bodies of deliveries, so many bytes at once and no slower than senders are patient.

All this happens before anybody is known, so that nothing here may be without a bound.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import web

from relay.errors import BreakwaterError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# A mebibyte at a tenth of a megabit per second would take longer; the reverse proxy in front has read the
# body already, and servers that deliver give up sooner.
READ_WITHIN: Final = timedelta(seconds=15)

# Deliveries have some kilobytes, so that this is tens of thousands at once; and it is what a flood of the
# longest ones can cost.
MAX_BYTES_IN_HAND: Final = 128 * 1024 * 1024


class TooSlowError(BreakwaterError):
    """A body did not come to its end in time."""


class TooMuchInHandError(BreakwaterError):
    """More is being taken in than fits."""


class Bodies:
    """The bodies that are in hand now."""

    def __init__(
        self,
        *,
        max_bytes_in_hand: int = MAX_BYTES_IN_HAND,
        read_within: timedelta = READ_WITHIN,
    ) -> None:
        self._max_bytes_in_hand = max_bytes_in_hand
        self._read_within = read_within
        self._in_hand = 0

    @asynccontextmanager
    async def read(self, request: web.BaseRequest, *, max_bytes: int) -> AsyncIterator[bytes]:
        """Read a body; it counts as being in hand until the block ends.

        Raises:
            TooSlowError: It did not come in time.
            TooMuchInHandError: With it there would be more in hand than fits.
            web.HTTPRequestEntityTooLarge: It is longer than `max_bytes`.
        """
        in_hand = _InHand()
        try:
            yield await self._collect(request, in_hand, max_bytes)
        finally:
            self._in_hand -= in_hand.size

    async def _collect(self, request: web.BaseRequest, in_hand: _InHand, max_bytes: int) -> bytes:
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self._read_within.total_seconds()):
                async for chunk in request.content.iter_any():
                    chunks.append(chunk)
                    in_hand.size += len(chunk)
                    self._in_hand += len(chunk)
                    if in_hand.size > max_bytes:
                        raise web.HTTPRequestEntityTooLarge(max_bytes, in_hand.size)
                    if self._in_hand > self._max_bytes_in_hand:
                        raise TooMuchInHandError("more is being taken in than fits")
        except TimeoutError as error:
            raise TooSlowError("the body did not come in time") from error
        return b"".join(chunks)


@dataclass(slots=True, kw_only=True)
class _InHand:
    """What one body has come to so far."""

    size: int = 0
