"""A stand-in for the instance behind the relay: it takes deliveries and remembers them byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fediverse.wire import WireRequest, build_head, open_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedAnswer:
    """What the backend answers once; a status of 0 closes the connection without a word."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


ACCEPTED = ScriptedAnswer(status=202)


Judge = Callable[[WireRequest], Awaitable[ScriptedAnswer]]
"""Reads a request and decides what to answer."""


class RecordingBackend:
    """Records requests, answers as scripted, and lets tests wait for what they expect.

    Attributes:
        requests: Every request so far, in order, the refused ones too.
        usual: What is answered when the script is empty.
        judge: Decides on the answer in place of `usual`, if it is given.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[WireRequest] = []
        self.usual = ACCEPTED
        self.judge: Judge | None = None
        self._script: deque[ScriptedAnswer] = deque()
        self._arrived = asyncio.Condition()
        self._is_open = asyncio.Event()
        self._is_open.set()

    @staticmethod
    @contextlib.asynccontextmanager
    async def open() -> AsyncIterator[RecordingBackend]:
        """Open a backend on a free port."""
        backend: RecordingBackend

        async def answer(request: WireRequest, writer: asyncio.StreamWriter) -> bool:
            return await backend._answer(request, writer)

        async with open_server(answer) as port:
            backend = RecordingBackend(port)
            yield backend

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]

    def script(self, *answers: ScriptedAnswer | int) -> None:
        """Answer the next requests with these, one each."""
        self._script.extend(
            answer if isinstance(answer, ScriptedAnswer) else ScriptedAnswer(status=answer)
            for answer in answers
        )

    def pause(self) -> None:
        """Take requests from now on, but answer none until `resume`."""
        self._is_open.clear()

    def resume(self) -> None:
        self._is_open.set()

    async def wait_for(self, count: int, *, timeout_seconds: float = 10) -> list[WireRequest]:
        """Wait until so many requests have come in all."""
        async with asyncio.timeout(timeout_seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def _answer(self, request: WireRequest, writer: asyncio.StreamWriter) -> bool:
        async with self._arrived:
            self.requests.append(request)
            answer = self._script.popleft() if self._script else None
            self._arrived.notify_all()
        await self._is_open.wait()
        if answer is None:
            answer = self.usual if self.judge is None else await self.judge(request)
        if not answer.status:
            return False
        pairs = (*answer.headers, ("Content-Length", str(len(answer.body))))
        writer.write(build_head(answer.status, pairs) + answer.body)
        await writer.drain()
        return True
