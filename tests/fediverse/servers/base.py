"""What all these servers have: a log of what was asked, posts here and elsewhere, and faults on demand."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

TOKEN = "token-of-the-bot-0123456789abcdef"


@dataclass(frozen=True, kw_only=True)
class Post:
    """A post or a comment: its ids on the network, and those that the server would give it."""

    uri: str
    author: str
    number: int
    author_number: int
    page: str = ""
    is_comment: bool = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    document: Any
    form: Mapping[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Filed:
    """A report, or something that was done: to what, with which words."""

    post: int | None
    account: int | None = None
    text: str = ""
    extra: Mapping[str, object] = field(default_factory=dict)


class ApiServer:
    """A server on a free port.

    Attributes:
        host: The name under which it is known to the world.
        here: The posts that it has, by address.
        elsewhere: The posts that it gets from their origin when it is asked for them.
        asked: Every request so far.
        faults: What the next requests are answered in place of the truth, one each.
    """

    host = "instance.example"

    def __init__(self) -> None:
        self.url = ""
        self.token = TOKEN
        self.here: dict[str, Post] = {}
        self.elsewhere: dict[str, Post] = {}
        self.asked: list[Asked] = []
        self.reports: list[Filed] = []
        self.removed: list[Filed] = []
        self.purged: list[Filed] = []
        self.actions: list[Filed] = []
        self.faults: deque[Callable[[], Awaitable[web.StreamResponse | None]]] = deque()
        self.never = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, **options: Any) -> AsyncIterator[Self]:
        """Open a server."""
        server = cls(**options)
        app = web.Application(middlewares=[server._answer], client_max_size=2**20)
        app.add_routes(server.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            server.url = f"http://127.0.0.1:{port}"
            yield server
        finally:
            server.never.set()
            await runner.cleanup()

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    def refuse_rate(self) -> web.Response:
        """Answer as the server does to whoever asks too often: again in 17 seconds."""
        raise NotImplementedError

    def screen(self, request: web.Request) -> web.Response | None:
        """Answer what the server answers before it looks at the path; None to go on."""
        return None

    def has(self, *wanted: Post) -> None:
        self.here.update({post.uri: post for post in wanted})

    def knows_elsewhere(self, *wanted: Post) -> None:
        self.elsewhere.update({post.uri: post for post in wanted})

    def find(self, url: str) -> Post | None:
        """Find a post by its address or its page, from its origin if it has to be."""
        for post in (*self.here.values(), *self.elsewhere.values()):
            if url in {post.uri, post.page}:
                self.here[post.uri] = post
                return post
        return None

    def find_author(self, url: str) -> int | None:
        posts = (*self.here.values(), *self.elsewhere.values())
        return next((post.author_number for post in posts if post.author == url), None)

    def has_number(self, number: object, *, is_comment: bool = False) -> Post | None:
        return next(
            (
                post
                for post in self.here.values()
                if str(post.number) == str(number) and post.is_comment == is_comment
            ),
            None,
        )

    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked]

    def last(self, path: str) -> Asked:
        return next(asked for asked in reversed(self.asked) if asked.path == path)

    # Faults.

    def break_next(self, *answers: web.StreamResponse) -> None:
        """Answer the next requests with these, one each."""
        for answer in answers:

            async def give(answer: web.StreamResponse = answer) -> web.StreamResponse:
                return answer

            self.faults.append(give)

    def spare_next(self, count: int) -> None:
        """Answer so many requests truthfully before the next fault."""

        async def give_nothing() -> None:
            return None

        self.faults.extend(give_nothing for _ in range(count))

    def stall_next(self) -> None:
        """Leave the next request without an answer."""

        async def wait() -> web.StreamResponse:
            await self.never.wait()
            return web.Response(status=503)

        self.faults.append(wait)

    @web.middleware
    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.asked.append(await _note(request))
        broken = await self.faults.popleft()() if self.faults else None
        if broken is not None:
            return broken
        refused = self.screen(request)
        if refused is not None:
            return refused
        try:
            return await handler(request)
        except web.HTTPException as error:
            return self.answer_unrouted(error)

    def answer_unrouted(self, error: web.HTTPException) -> web.Response:
        """Answer a path that the server does not have."""
        return web.Response(status=error.status)


async def _note(request: web.Request) -> Asked:
    body = await request.read()
    is_json = request.content_type == "application/json"
    data = await request.post() if body and not is_json else {}
    form: dict[str, list[str]] = {}
    for name, value in data.items():
        form.setdefault(name, []).append(str(value))
    return Asked(
        method=request.method,
        path=request.path,
        query=dict(request.query),
        headers={name.lower(): value for name, value in request.headers.items()},
        document=json.loads(body) if body and is_json else None,
        form=form,
    )
