"""The load: pre-signed requests over connections that are kept, one at a time on each.

A process of its own that does next to nothing but read and write sockets, so that what is measured is the
server. Run as `python -m tests.bench.inbox_client PORT CONNECTIONS SECONDS FILE`; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH = struct.Struct(">I")


def write_requests(path: Path, requests: list[bytes]) -> None:
    """Write requests for a client to send."""
    path.write_bytes(b"".join(_LENGTH.pack(len(one)) + one for one in requests))


def read_requests(path: Path) -> list[bytes]:
    """Read what `write_requests` wrote."""
    data, requests, at = path.read_bytes(), [], 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        requests.append(data[at + _LENGTH.size : at + _LENGTH.size + length])
        at += _LENGTH.size + length
    return requests


class Connection(asyncio.Protocol):
    """Send a request, wait for the whole answer, send the next one."""

    def __init__(self, requests: Iterator[bytes], ends_at: float, done: asyncio.Future[None]) -> None:
        self.seconds: list[float] = []
        self.statuses: dict[str, int] = {}
        self._requests = requests
        self._ends_at = ends_at
        self._done = done
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + len(b"content-length:")
        if len(rest) < int(head[at : at + 12].split(b"\r\n", 1)[0]):
            return
        self._buffer = b""
        now = time.perf_counter()
        self.seconds.append(now - self._sent_at)
        status = head[9:12].decode()
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if now < self._ends_at:
            self._send()
        else:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed a connection"))

    def _send(self) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))

    def _finish(self) -> None:
        assert self._transport is not None
        if not self._done.done():
            self._done.set_result(None)
        self._transport.close()


async def drive(port: int, connections: int, seconds: float, requests: list[bytes]) -> dict[str, object]:
    """Send requests for a time, and tell how many were answered, how and how fast."""
    loop = asyncio.get_running_loop()
    turn = itertools.cycle(requests)
    started = time.perf_counter()
    made: list[Connection] = []
    waiting: list[asyncio.Future[None]] = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        connection = Connection(turn, started + seconds, done)
        await loop.create_connection(lambda made=connection: made, "127.0.0.1", port)  # type: ignore[misc]  # bound at once
        made.append(connection)
        waiting.append(done)
    await asyncio.gather(*waiting)
    took = time.perf_counter() - started
    times = sorted(one for connection in made for one in connection.seconds)
    statuses: dict[str, int] = {}
    for connection in made:
        for status, count in connection.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rate": len(times) / took,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
        "statuses": statuses,
        "cpu_us": (usage.ru_utime + usage.ru_stime) / len(times) * 1e6,
    }


def main(arguments: list[str]) -> None:
    port, connections, seconds, path = arguments
    requests = read_requests(Path(path))
    print(json.dumps(asyncio.run(drive(int(port), int(connections), float(seconds), requests))))


if __name__ == "__main__":
    main(sys.argv[1:])
