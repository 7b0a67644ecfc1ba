"""Names that lead inside, and strangers who ask: judged before anything is dialled, in tunnels as well."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING

import pytest

import relay.app.doors
import relay.app.ground
from relay.tools.dialling import open_dialler
from relay.tools.fetching import open_guarded_client
from scanner.canary import draw_canary
from tests.e2e.gateway.raw import ask_once, open_line
from tests.e2e.inside import open_inside
from tests.e2e.process import free_ports
from tests.fediverse import behaviours as do

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.world import World
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

ANSWERS = {
    "private.example": ("10.0.0.1",),
    "metadata.example": ("169.254.169.254",),
    "six.example": ("::1",),
    "nothing.example": ("::",),
    "mapped.example": ("::ffff:127.0.0.1",),
    "nat64.example": ("64:ff9b::7f00:1",),
    "six-to-four.example": ("2002:7f00:1::",),
    "mixed.example": ("127.0.1.1", "10.0.0.1"),
    "mixed-six.example": ("127.0.1.1", "::1"),
    "no-address.example": ("localhost",),
}


class Names:
    """A name server, and a record of what is dialled."""

    def __init__(self) -> None:
        self.dialled: list[str] = []
        self.rebinding: list[tuple[str, ...]] = []

    async def lookup(self, host: str, _port: int) -> tuple[str, ...]:
        if host == "rebinding.example":
            return self.rebinding.pop(0) if len(self.rebinding) > 1 else self.rebinding[0]
        return ANSWERS.get(host) or (host,)

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Record every connection that the running loop begins."""
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect

        async def spy(sock: socket.socket, address: tuple[str, int] | str) -> None:
            if isinstance(address, tuple):  # The database's is a path.
                self.dialled.append(address[0])
            await connect(sock, address)

        loop.sock_connect = spy  # type: ignore[method-assign, assignment]  # (a spy in the loop's place)
        try:
            yield
        finally:
            loop.sock_connect = connect  # type: ignore[method-assign]  # (and the loop's own back)


@contextlib.asynccontextmanager
async def open_named(
    world: World, dsn: str, names: Names, monkeypatch: pytest.MonkeyPatch, **more: str
) -> AsyncIterator[int]:
    """Run a relay for which these are the names, and yield the port of its gateway, which opens no TLS."""
    for module, opened in ((relay.app.ground, open_guarded_client), (relay.app.doors, open_dialler)):
        monkeypatch.setattr(module, opened.__name__, functools.partial(opened, lookup=names.lookup))
    (port,) = free_ports(1)
    settings = {
        "gateway_enabled": "true",
        "gateway_opens_tls": "false",
        "gateway_port": str(port),
        "gateway_ports": ",".join(map(str, (80, 443, *world.ports))),
    }
    async with open_inside(world, dsn=dsn, **settings, **more):
        with names.watch():
            yield port


async def ask(port: int, url: str) -> int:
    """Ask for a URL on a connection of its own and return the status."""
    authority = url.partition("://")[2].partition("/")[0]
    answer = await ask_once(
        port, f"GET {url} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer is not None
    return answer.status


async def connect(port: int, target: str) -> int:
    """Ask for a tunnel on a connection of its own and return the status."""
    async with open_line(port) as line:
        return await line.connect(target)


async def test_no_answer_of_a_name_server_leads_inside(
    world: World, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names()
    async with open_named(world, dsn, names, monkeypatch) as port:
        by_http = {name: await ask(port, f"http://{name}/") for name in ANSWERS}
        by_tunnel = {name: await connect(port, f"{name}:443") for name in ANSWERS}

    assert by_http == by_tunnel == dict.fromkeys(ANSWERS, 403)
    assert not set(names.dialled) - {"127.0.0.1"}


async def test_a_name_that_is_bound_anew_leads_nowhere_else(
    world: World, dsn: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names()
    vetted, inside = (origin.host,), ("10.0.0.1",)
    origin.on("/a", do.serve(b"{}", "application/json"))
    place = f"rebinding.example:{origin.port}"
    async with open_named(world, dsn, names, monkeypatch) as port:
        names.rebinding = [vetted, inside]
        assert [await ask(port, f"http://{place}/a") for _ in range(3)] == [200, 200, 200]
        names.rebinding = [vetted, inside]
        assert [await connect(port, place) for _ in range(3)] == [200, 403, 403]

    assert origin.host in names.dialled
    assert not set(names.dialled) - {origin.host, "127.0.0.1"}


async def test_plain_requests_are_examined_even_where_no_tls_is_opened(
    world: World, dsn: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = origin.serve_media("/canary.png", draw_canary())
    async with open_named(world, dsn, Names(), monkeypatch) as port:
        assert await ask(port, url) == 403
        async with open_line(port) as line:
            authority = f"{origin.host}:{origin.port}"
            assert await line.connect(authority) == 200
            answer = await line.ask(f"GET /canary.png HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            assert answer is not None
            assert answer.status == 403


async def test_nobody_becomes_the_backend_by_saying_so(
    world: World, dsn: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = origin.on("/a", do.serve(b"{}", "application/json"))
    allowed = {"gateway_allowed_clients": "127.0.0.9/32"}
    forged = "X-Forwarded-For: 127.0.0.9\r\nForwarded: for=127.0.0.9\r\nX-Real-IP: 127.0.0.9\r\n"
    async with open_named(world, dsn, Names(), monkeypatch, **allowed) as port:
        place = f"{origin.host}:{origin.port}"
        answer = await ask_once(port, f"GET {url} HTTP/1.1\r\nHost: {place}\r\n{forged}\r\n".encode())
        assert answer is not None
        assert answer.status == 403
        async with open_line(port) as line:
            assert await line.connect(place, lines=forged) == 403
    assert origin.requests == []
