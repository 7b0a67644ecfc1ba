"""Backends that take everything, each in a process of its own: `python -m tests.bench.inbox_stub KIND`.

`bare` answers as soon as a request is whole and does not look at it: the least that a server can do.
`framework` is the smallest application of the web framework that the relay itself uses: about what a
server that does anything at all costs. Prints its port; ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from aiohttp import web

_ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Bare(asyncio.Protocol):
    """Answer whole requests of a declared length."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + len(b"content-length:")
        if len(rest) >= int(head[at : at + 12].split(b"\r\n", 1)[0]):
            self._buffer = b""
            assert self._transport is not None
            self._transport.write(_ANSWER)


async def accept(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response({}, status=202)


async def serve(kind: str) -> None:
    loop = asyncio.get_running_loop()
    if kind == "bare":
        server = await loop.create_server(Bare, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    else:
        application = web.Application()
        application.add_routes([web.post("/inbox", accept)])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(sys.argv[1]))
