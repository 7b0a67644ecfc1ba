"""Let bytes pass unseen between the backend and a vetted address, for a gateway that opens no TLS."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_BYTES: Final = 64 * 1024

# Servers and clients keep idle connections for a minute or two; a tunnel on which nothing moves is forgotten.
IDLE: Final = timedelta(minutes=2)


async def pump(one: socket.socket, other: socket.socket, *, idle: timedelta = IDLE) -> None:
    """Carry bytes both ways until both sides have ended, one breaks off, or nothing moves any more."""
    loop = asyncio.get_running_loop()
    seconds = idle.total_seconds()
    try:
        async with asyncio.timeout(seconds) as patience, asyncio.TaskGroup() as group:

            def stay() -> None:
                patience.reschedule(loop.time() + seconds)

            group.create_task(_carry(one, other, stay))
            group.create_task(_carry(other, one, stay))
    except* (OSError, TimeoutError):
        pass  # Whoever broke off knows; the other side learns it as both are closed.


async def _carry(source: socket.socket, target: socket.socket, stay: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, _CHUNK_BYTES):
        stay()
        await loop.sock_sendall(target, data)
        stay()
    # The other direction may have more to say (RFC 9110 section 9.3.6 leaves what is under way to be sent).
    target.shutdown(socket.SHUT_WR)
