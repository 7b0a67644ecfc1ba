"""Talk to the gateway byte for byte, outside and inside of what a CONNECT opens."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.fediverse.wire import MAX_LINE_BYTES, WireResponse, read_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_SECONDS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A connection to the gateway."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, data: bytes) -> WireResponse | None:
        """Send bytes and read one answer; None where the other side closes without one."""
        async with asyncio.timeout(_SECONDS):
            try:
                self.writer.write(data)
                await self.writer.drain()
                return await read_response(self.reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                return None

    async def connect(self, target: str, *, lines: str = "") -> int:
        """Ask for a tunnel and return the status; 0 where the other side closes without one."""
        async with asyncio.timeout(_SECONDS):
            self.writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{lines}\r\n".encode())
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (ConnectionError, asyncio.IncompleteReadError):
                return 0
            return int(head.split(b" ")[1])

    async def is_closed(self) -> bool:
        """Tell whether the other side closes without saying more."""
        async with asyncio.timeout(_SECONDS):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    async def open_tls(self, authority: Path, *, name: str) -> None:
        """Begin TLS, as after a CONNECT."""
        context = ssl.create_default_context(cafile=authority)
        async with asyncio.timeout(_SECONDS):
            await self.writer.start_tls(context, server_hostname=name)


@contextlib.asynccontextmanager
async def open_line(port: int) -> AsyncIterator[Line]:
    """Connect to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MAX_LINE_BYTES)
    try:
        yield Line(reader=reader, writer=writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def ask_once(port: int, data: bytes) -> WireResponse | None:
    """Send bytes on a connection of their own and read one answer."""
    async with open_line(port) as line:
        return await line.ask(data)
