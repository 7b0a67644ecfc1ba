"""Requests that no library would send."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from tests.fediverse.wire import MAX_LINE_BYTES

_SECONDS: Final = 15


async def send_raw(data: bytes, *, port: int) -> tuple[list[int], bool]:
    """Send bytes and read until the other side closes.

    Returns:
        The statuses of the answers, and whether the other side closed the connection by itself.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MAX_LINE_BYTES)
    received = b""
    is_closed = False
    try:
        writer.write(data)
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                while chunk := await reader.read(65536):
                    received += chunk
                is_closed = True
    except ConnectionError:
        is_closed = True
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    lines = received.split(b"\r\n")
    return [int(line.split(b" ")[1]) for line in lines if line.startswith(b"HTTP/1.")], is_closed
