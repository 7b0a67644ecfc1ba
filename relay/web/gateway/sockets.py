"""Read from a bare socket no more than belongs to us; what follows is for whoever takes it over.

The kernel shows the bytes first and gives them away second, so that the first line of a connection can be
read before it is decided who reads the rest.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from relay.errors import BreakwaterError

_END: Final = b"\r\n\r\n"


class HeadTooLongError(BreakwaterError):
    """The head of a request does not end within its bound."""


async def wait_readable(connection: socket.socket) -> None:
    """Wait until a non-blocking socket has something to read, or has ended."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, wake)
    try:
        await ready
    finally:
        loop.remove_reader(connection)


async def peek(connection: socket.socket, size: int) -> bytes:
    """Return what can be read next without taking it, at most `size` bytes; nothing at the end.

    Raises:
        OSError: The connection broke.
    """
    while True:
        try:
            return connection.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            await wait_readable(connection)


async def read_head(connection: socket.socket, *, max_bytes: int) -> bytes | None:
    """Take the bytes up to the first empty line, and not one more; None where the connection ends before.

    Raises:
        HeadTooLongError: There is no empty line within the bound.
        OSError: The connection broke.
    """
    head = b""
    while len(head) < max_bytes:
        shown = await peek(connection, max_bytes - len(head))
        if not shown:
            return None
        end = (head + shown).find(_END)
        taken = len(shown) if end < 0 else end + len(_END) - len(head)
        head += connection.recv(taken)
        if end >= 0:
            return head
    raise HeadTooLongError("The head of the request is too long.")
