"""What all of them share: where they listen, what they were asked, and what they are told to do wrong."""

from __future__ import annotations

import base64
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An answer in place of the right one.

    Attributes:
        status: Its status.
        body: Its body.
        headers: Its headers.
        breaks_off: The connection ends in the middle of the body.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that came in."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


class ListServer:
    """A server; subclasses answer.

    Attributes:
        asked: Every request.
        faults: Answers in place of the next ones; None for the right one.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Fault | None] = deque()
        self.port = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """Run one until the block ends."""
        server = cls()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.port = runner.addresses[0][1]
        try:
            yield server
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(Asked(path=request.path, query=dict(request.query), headers=dict(request.headers)))
        fault = self.faults.popleft() if self.faults else None
        if fault is None:
            return self.answer(request)
        if fault.breaks_off:
            response = web.StreamResponse(headers={"Content-Length": "100000"})
            await response.prepare(request)
            await response.write(b"half of it")
            assert request.transport is not None
            request.transport.abort()
            return response
        return web.Response(status=fault.status, body=fault.body, headers=fault.headers)

    def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer rightly."""
        raise NotImplementedError


def is_basic(request: web.Request, login: str) -> bool:
    """Tell whether a request proves by HTTP Basic who it comes from."""
    expected = base64.b64encode(login.encode()).decode()
    return request.headers.get("Authorization") == f"Basic {expected}"
