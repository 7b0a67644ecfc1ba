"""Read a body within its bounds, and hash it on the way."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.model import FetchFailure

if TYPE_CHECKING:
    from aiohttp import StreamReader

    from relay.clock import Clock
    from relay.tools.policy import FetchPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A whole body, after transfer decoding and before any other.

    Attributes:
        data: The octets.
        sha256: 32 bytes.
    """

    data: bytes
    sha256: bytes


async def read_body(
    stream: StreamReader, *, max_bytes: int, policy: FetchPolicy, clock: Clock
) -> Body | FetchFailure:
    """Read a body to its end, or give up as soon as a bound is passed.

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
        digest.update(chunk)
        chunks.append(chunk)
        elapsed = clock.monotonic() - began
        if elapsed > grace and size < elapsed * policy.min_bytes_per_second:
            return FetchFailure.TOO_SLOW
