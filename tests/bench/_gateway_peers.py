"""What stands around the gateway in its benchmarks, each in a process of its own.

`origin`: serves a file of so many bytes under every path, the same bytes under the same path.
`proxy`: a bare forwarding proxy with the gateway's server and client library and loop; it examines nothing.

Each prints its port and runs until its input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHUNK_BYTES = 64 * 1024
_OWN_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "proxy-connection"})


async def serve_origin(host: str, picture: Path, think_ms: int) -> None:
    """Serve a PNG with a chunk of its own for every path, so many milliseconds away, without a framework."""
    data = await asyncio.to_thread(picture.read_bytes)
    whole, end = data[:-12], data[-12:]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if think_ms:
                    await asyncio.sleep(think_ms / 1000)
                own = build_chunk(head.split(b" ", 2)[1])
                length = len(whole) + len(own) + len(end)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nDate: Sun, 22 Nov 2026 08:00:00 GMT\r\n"
                    b"Content-Length: %d\r\n\r\n" % length
                )
                for begin in range(0, len(whole), _CHUNK_BYTES):
                    writer.write(whole[begin : begin + _CHUNK_BYTES])
                    await writer.drain()
                writer.write(own + end)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, 0)
    async with server:
        await run_until_told(server.sockets[0].getsockname()[1])


def build_chunk(text: bytes) -> bytes:
    """Build a PNG chunk that says something and shows nothing."""
    body = b"tEXt" + b"Path\x00" + text
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


async def serve_proxy() -> None:
    """Forward requests in absolute form, and stream the answers back."""
    async with aiohttp.ClientSession(
        auto_decompress=False, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def forward(request: web.BaseRequest) -> web.StreamResponse:
            headers = [pair for pair in request.headers.items() if pair[0].lower() not in _HOP_BY_HOP]
            async with session.request(
                request.method,
                URL(request.raw_path, encoded=True),
                headers=headers,
                allow_redirects=False,
                skip_auto_headers=_OWN_HEADERS,
            ) as answer:
                kept = [pair for pair in answer.headers.items() if pair[0].lower() not in _HOP_BY_HOP]
                response = web.StreamResponse(
                    status=answer.status, reason=answer.reason, headers=CIMultiDict(kept)
                )
                await response.prepare(request)
                async for chunk in _read(answer):
                    await response.write(chunk)
                return response

        runner = web.ServerRunner(web.Server(forward, access_log=None, auto_decompress=False))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await run_until_told(runner.addresses[0][1])
        await runner.cleanup()


async def _read(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    while chunk := await answer.content.readany():
        yield chunk


async def run_until_told(port: int) -> None:
    """Say where we listen, and wait for the end of the input."""
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    # The loop that the relay has.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        if sys.argv[1] == "origin":
            loop.run(serve_origin(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
        else:
            loop.run(serve_proxy())
