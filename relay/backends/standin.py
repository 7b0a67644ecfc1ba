"""A stand-in for a backend: it records what it receives and answers 202.

It is what the relay stands in front of until an admin names a real server, and the place where
self-test deliveries end, so that a self-test never posts anything to real people.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Enough to see what happened; a stand-in is for looking, not for keeping.
_KEPT_REQUESTS: Final = 200
# Some thousand ordinary activities; without it 200 of the longest would take more memory than the relay.
_KEPT_BYTES: Final = 16 * 1024 * 1024
_MAX_BODY_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as the stand-in got it."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class StandIn:
    """Record requests, the newest last."""

    def __init__(self) -> None:
        self.url = ""
        self.received: deque[Received] = deque(maxlen=_KEPT_REQUESTS)
        self.count = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Record one request and accept it."""
        body = await request.read()
        headers = tuple(
            (name.decode(errors="replace"), value.decode(errors="replace"))
            for name, value in request.raw_headers
        )
        self.received.append(
            Received(method=request.method, target=request.path_qs, headers=headers, body=body)
        )
        self.count += 1
        while sum(len(one.body) for one in self.received) > _KEPT_BYTES:
            self.received.popleft()
        return web.json_response({"status": "recorded by Breakwater's stand-in backend"}, status=202)


@asynccontextmanager
async def open_standin() -> AsyncIterator[StandIn]:
    """Serve a stand-in on a free loopback port."""
    standin = StandIn()
    runner = web.ServerRunner(web.Server(standin.handle, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        standin.url = f"http://{host}:{port}"
        yield standin
    finally:
        await runner.cleanup()
