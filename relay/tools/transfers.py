"""Read a body within its bounds, and hash it on the way."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from relay.model import FetchFailure

if TYPE_CHECKING:
    from relay.clock import Clock
    from relay.tools.policy import FetchPolicy


Reserve = Callable[[int], Awaitable[None]]
"""Wait until there is room in memory for so many more bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A whole body, after transfer decoding and before any other.

    Attributes:
        data: The octets.
        sha256: 32 bytes.
    """

    data: bytes
    sha256: bytes


class Stream(Protocol):
    """Where a body comes from, piece by piece."""

    async def readany(self) -> bytes:
        """Return what has come, or wait for it; nothing at the end."""
        ...


async def read_body(
    stream: Stream,
    *,
    max_bytes: int,
    policy: FetchPolicy,
    clock: Clock,
    reserve: Reserve | None = None,
) -> Body | FetchFailure:
    """Read a body to its end, or give up as soon as a bound is passed.

    Args:
        stream: Where it comes from.
        max_bytes: The bound on it.
        policy: The bounds on its pace.
        clock: Measures the pace.
        reserve: Waits for room for so many more bytes; the time that it takes is not the origin's.

    Returns:
        The body; TOO_LARGE after more than `max_bytes`; TOO_SLOW where nothing came for the grace time
        or, after it, fewer bytes than the policy's rate.

    Raises:
        aiohttp.ClientError: The connection broke off or the framing is wrong.
    """
    grace = policy.throughput_grace.total_seconds()
    digest = hashlib.sha256()
    chunks: list[bytes] = []
    size = 0
    began = clock.monotonic()
    while True:
        try:
            async with asyncio.timeout(grace):
                chunk = await stream.readany()
        except TimeoutError:
            return FetchFailure.TOO_SLOW
        if not chunk:
            return Body(data=b"".join(chunks), sha256=digest.digest())
        size += len(chunk)
        if size > max_bytes:
            return FetchFailure.TOO_LARGE
        if reserve is not None:
            waited_from = clock.monotonic()
            await reserve(len(chunk))
            began += clock.monotonic() - waited_from
        digest.update(chunk)
        chunks.append(chunk)
        elapsed = clock.monotonic() - began
        if elapsed > grace and size < elapsed * policy.min_bytes_per_second:
            return FetchFailure.TOO_SLOW
