"""The origins of the remote world, each a server on a port of its own."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from signatures.http import Scheme
from tests.fediverse.actors import Actor, KeyForm
from tests.fediverse.behaviours import Behaviour, refuse, serve, serve_json
from tests.fediverse.clock import FrozenClock
from tests.fediverse.wire import WireRequest, WireResponse, open_server, send

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

    from relay.clock import Clock
    from signatures.message import RequestMessage


class Origin:
    """A remote server: actors, objects and media by path, and a record of who asked for what.

    Attributes:
        requests: Every request so far, in order.
    """

    def __init__(self, host: str, port: int, world: Fediverse) -> None:
        self.host = host
        self.port = port
        self.requests: list[WireRequest] = []
        self._world = world
        self._routes: dict[str, Behaviour] = {}
        self._counts: Counter[str] = Counter()

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"

    def count(self, path: str) -> int:
        """Return how often a path was asked for."""
        return self._counts[path]

    def on(self, path: str, behaviour: Behaviour) -> str:
        """Behave like this when a path is asked for, and return its URL."""
        self._routes[path] = behaviour
        return self.url(path)

    def serve_media(self, path: str, data: bytes, content_type: str | None = "image/png") -> str:
        """Serve bytes honestly, and return their URL."""
        return self.on(path, serve(data, content_type))

    def serve_object(self, document: dict[str, object]) -> str:
        """Serve an object at its own id, and return the id."""
        identity = str(document["id"])
        return self.on(urlsplit(identity).path, serve_json(document))

    def create_actor(self, name: str, *, form: KeyForm = KeyForm.FRAGMENT) -> Actor:
        """Create an actor that this origin publishes."""
        actor = Actor(self, name, number=self._world.next_number(), form=form)
        self.on(f"/users/{name}", actor.serve_document())
        self.on(f"/users/{name}/main-key", actor.serve_key())
        return actor

    async def answer(self, request: WireRequest, writer: asyncio.StreamWriter) -> bool:
        """Serve one request."""
        self.requests.append(request)
        self._counts[request.path] += 1
        behaviour = self._routes.get(request.path, refuse(404))
        return await behaviour(request, self._counts[request.path], writer)


class Fediverse:
    """Everything that is not us.

    Attributes:
        clock: The time by which its actors sign.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or FrozenClock()
        self._stack = contextlib.AsyncExitStack()
        self._actors = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def next_number(self) -> int:
        self._actors += 1
        return self._actors

    async def open_origin(self, *, host: str = "127.0.0.1") -> Origin:
        """Open another remote server; every 127.x.y.z is a host of its own."""
        origin: Origin

        async def answer(request: WireRequest, writer: asyncio.StreamWriter) -> bool:
            return await origin.answer(request, writer)

        port = await self._stack.enter_async_context(open_server(answer, host=host))
        origin = Origin(host, port, self)
        return origin

    def sign_and_build(
        self, actor: Actor, activity: object, inbox_url: str, *, scheme: Scheme = Scheme.CAVAGE
    ) -> RequestMessage:
        """Build a delivery, signed now."""
        return actor.sign_and_build(activity, inbox_url, now=self.clock.now(), scheme=scheme)

    async def deliver(
        self,
        actor: Actor,
        activity: object,
        inbox_url: str,
        *,
        scheme: Scheme = Scheme.CAVAGE,
        via: tuple[str, int] | None = None,
    ) -> WireResponse:
        """Deliver an activity, signed now.

        Args:
            actor: Who signs.
            activity: The document, or its bytes.
            inbox_url: What is signed and what the Host header says.
            scheme: How it is signed.
            via: Host and port to connect to; None for those of the inbox.
        """
        message = self.sign_and_build(actor, activity, inbox_url, scheme=scheme)
        parts = urlsplit(inbox_url)
        host, port = via or (parts.hostname or "", parts.port or 80)
        return await send(message, host=host, port=port)
