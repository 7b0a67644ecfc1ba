"""What all fakes have: a port, a record of what arrived, and a script of what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

# Media go there whole.
_MAX_BODY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """What is answered once in place of the truth; a status of 0 is no answer at all."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeService:
    """One service; subclasses answer as theirs does.

    Attributes:
        url: Where it is.
        received: Every request, the refused ones too.
        usual: What is answered to everything, if it is given.
    """

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self.usual: Scripted | None = None
        self._script: deque[Scripted] = deque()
        self._closing = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """Listen on a free port of loopback."""
        service = cls()
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", service._handle)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        service.url = f"http://{host}:{port}{cls.base_path()}"
        try:
            yield service
        finally:
            service._closing.set()
            await runner.cleanup()

    @classmethod
    def base_path(cls) -> str:
        """The path that the service lies under."""
        return ""

    def script(self, *answers: Scripted | int) -> None:
        """Answer the next requests with these, one each."""
        self._script.extend(one if isinstance(one, Scripted) else Scripted(status=one) for one in answers)

    def answer(self, request: Received) -> web.Response:
        """Answer as the service does."""
        raise NotImplementedError

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            method=request.method,
            path=request.path.removeprefix(self.base_path()),
            query=dict(request.query),
            headers=dict(request.headers),
            body=await request.read(),
        )
        self.received.append(received)
        scripted = self._script.popleft() if self._script else self.usual
        if scripted is None:
            return self.answer(received)
        if scripted.status == 0:
            # Until the one who asks gives up, or the test ends.
            await self._closing.wait()
        return web.Response(status=scripted.status or 503, body=scripted.body, headers=dict(scripted.headers))
