"""A gateway over a whole line, and remote servers that speak https under any name below `remote.example`."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

import httpx

from relay.clock import SystemClock
from relay.tools.authority import Authority, create_authority
from relay.tools.dialling import open_dialler
from relay.tools.fetching import open_guarded_client
from relay.tools.policy import FetchPolicy
from relay.web.gateway.access import Access
from relay.web.gateway.door import Gateway, GatewaySettings, open_gateway
from tests.fediverse import Fediverse, Origin
from tests.fediverse.wire import open_server
from tests.relay.line import Line, open_line
from tests.relay.tools import certificates

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fediverse.wire import WireRequest

NAME = "media.remote.example"
LOOPBACK = ip_network("127.0.0.0/8")
OWN_DOMAIN = "social.example"


class SecureOrigin(Origin):
    """A remote server that speaks https."""

    def url(self, path: str) -> str:
        return f"https://{self.host}:{self.port}{path}"


@dataclass(slots=True, kw_only=True)
class Names:
    """What names resolve to; whatever is not given is on loopback."""

    given: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def lookup(self, host: str, _port: int) -> tuple[str, ...]:
        if host in self.given:
            return self.given[host]
        return (host,) if host[-1].isdigit() else ("127.0.0.1",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a test of the gateway meets.

    Attributes:
        line: The relay behind the gateway.
        gateway: The gateway.
        authority: What the backend trusts; None for tunnels.
        origin: A remote server that speaks https.
        plain: A remote server that speaks http.
        names: What names resolve to.
        trusted: What trusts the origin's own authority.
        folder: Where the copies are, and the origin's certificate.
    """

    line: Line
    gateway: Gateway
    authority: Authority | None
    origin: SecureOrigin
    plain: Origin
    names: Names
    trusted: ssl.SSLContext
    folder: Path

    def forget(self) -> None:
        """Make the remote servers as if nobody had asked them."""
        self.names.given.clear()
        for origin in (self.origin, self.plain):
            origin.requests.clear()
            origin._routes.clear()
            origin._counts.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def trust(self) -> ssl.SSLContext:
        """What a backend trusts that was given our authority alone, or the origins' where we open nothing."""
        if self.authority is None:
            return self.trusted
        return ssl.create_default_context(cadata=self.authority.certificate_pem)

    @contextlib.asynccontextmanager
    async def backend(self, *, credentials: str = "") -> AsyncIterator[httpx.AsyncClient]:
        """Open a client that goes through the gateway."""
        proxy = f"http://{credentials}127.0.0.1:{self.gateway.port}"
        async with httpx.AsyncClient(proxy=proxy, verify=self.trust(), trust_env=False, timeout=20) as client:
            yield client

    async def get(self, url: str, **headers: str) -> httpx.Response:
        """Fetch through the gateway, on a connection of its own."""
        async with self.backend() as client:
            return await client.get(
                url, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )


@contextlib.asynccontextmanager
async def open_scene(
    dsn: str,
    folder: Path,
    *,
    opens_tls: bool = True,
    password: str = "",
    blocked: frozenset[str] = frozenset(),
    max_connections: int = 100,
    release_within: timedelta = timedelta(seconds=20),
    throughput_grace: timedelta = timedelta(seconds=5),
    clients: tuple[str, ...] = ("127.0.0.0/8",),
    more_ports: frozenset[int] = frozenset(),
    **settings: str,
) -> AsyncIterator[Scene]:
    """Open a gateway over a line of its own."""
    clock, names = SystemClock(), Names()
    root = certificates.Authority.create(clock.now())
    served = root.issue(
        "*.remote.example",
        begins=clock.now() - timedelta(hours=1),
        ends=clock.now() + timedelta(days=1),
        folder=folder,
    )
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        world = await enter(Fediverse(clock))
        line = await enter(open_line(dsn, **settings))
        plain = await world.open_origin()
        origin: SecureOrigin

        async def answer(request: WireRequest, writer: asyncio.StreamWriter) -> bool:
            return await origin.answer(request, writer)

        origin = SecureOrigin(NAME, await enter(open_server(answer, tls=served)), world)
        policy = FetchPolicy(
            allow_private=(LOOPBACK,),
            ports=frozenset(),
            refused=((ip_network("127.0.0.66/32")),),
            throughput_grace=throughput_grace,
        )
        trusted = root.trusted()
        client = await enter(open_guarded_client(policy, clock, tls=trusted, lookup=names.lookup))
        authority = create_authority(domain=OWN_DOMAIN, now=clock.now()) if opens_tls else None
        gateway = await enter(
            open_gateway(
                GatewaySettings(
                    host="127.0.0.1",
                    port=0,
                    access=Access(
                        clients=tuple(ip_network(one) for one in clients),
                        password=password,
                        blocked_hosts=blocked,
                        ports=frozenset((origin.port, plain.port)) | more_ports,
                    ),
                    max_connections=max_connections,
                    release_within=release_within,
                    copies=folder / "copies",
                ),
                tools=replace(line.tools, clock=clock),
                client=client,
                dialler=await enter(open_dialler(policy, lookup=names.lookup)),
                authority=authority,
            )
        )
        yield Scene(
            line=line,
            gateway=gateway,
            authority=authority,
            origin=origin,
            plain=plain,
            names=names,
            trusted=trusted,
            folder=folder,
        )
