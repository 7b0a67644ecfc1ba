"""HTTP/1.1 by hand: tests need the bytes as they were sent, and senders that no library would be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from signatures.message import RequestMessage

MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRequest:
    """A request as it arrived; names and values as sent, the body after chunk decoding."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of a header, None if it is not there."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireResponse:
    """A response as it arrived."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of a header, None if it is not there."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


async def _read_headers(reader: asyncio.StreamReader) -> tuple[tuple[str, str], ...]:
    headers = []
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        name, _, value = line.decode("latin-1").rstrip("\r\n").partition(":")
        headers.append((name, value.strip()))
    return tuple(headers)


async def _read_body(
    reader: asyncio.StreamReader, headers: tuple[tuple[str, str], ...], *, until_close: bool
) -> bytes:
    given = {name.lower(): value for name, value in headers}
    if given.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await _read_headers(reader)
        return body
    if "content-length" in given:
        return await reader.readexactly(int(given["content-length"]))
    return await reader.read() if until_close else b""


async def read_request(reader: asyncio.StreamReader) -> WireRequest | None:
    """Read one request, None where the connection ended first."""
    try:
        first = await reader.readuntil(b"\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = first.decode("latin-1").split(" ", 2)
    headers = await _read_headers(reader)
    return WireRequest(
        method=method,
        target=target,
        headers=headers,
        body=await _read_body(reader, headers, until_close=False),
    )


def build_head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Build the head of a response."""
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def read_response(reader: asyncio.StreamReader) -> WireResponse:
    """Read one response; one without a length lasts as long as its connection."""
    status = int((await reader.readuntil(b"\r\n")).split(b" ")[1])
    headers = await _read_headers(reader)
    body = await _read_body(reader, headers, until_close=True)
    return WireResponse(status=status, headers=headers, body=body)


async def send(message: RequestMessage, *, host: str, port: int, timeout_seconds: float = 30) -> WireResponse:
    """Send a request byte for byte, on a connection of its own."""
    async with asyncio.timeout(timeout_seconds):
        reader, writer = await asyncio.open_connection(host, port, limit=MAX_LINE_BYTES)
        try:
            given = {name.lower() for name, _ in message.headers}
            extra = [("Connection", "close")]
            if "host" not in given:
                extra.append(("Host", message.authority))
            if "content-length" not in given and "transfer-encoding" not in given:
                extra.append(("Content-Length", str(len(message.body))))
            lines = [f"{name}: {value}" for name, value in (*message.headers, *extra)]
            head = "\r\n".join([f"{message.method} {message.target} HTTP/1.1", *lines, "", ""])
            writer.write(head.encode("latin-1") + message.body)
            await writer.drain()
            return await read_response(reader)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


Serve = Callable[[WireRequest, asyncio.StreamWriter], Awaitable[bool]]
"""Answer a request; True keeps the connection."""


@contextlib.asynccontextmanager
async def open_server(
    serve: Serve, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Open an HTTP server on a free port, and end everything that it still does when the block ends."""
    at_work: set[asyncio.Task[object]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        at_work.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while (request := await read_request(reader)) is not None:
                    if not await serve(request, writer):
                        break
        finally:
            at_work.discard(task)
            writer.close()

    server = await asyncio.start_server(answer, host, 0, limit=MAX_LINE_BYTES, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(at_work):
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)
        await server.wait_closed()
