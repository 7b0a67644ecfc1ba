"""A relay whose gateway is open, and remote servers behind TLS that it trusts, or should not."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from db.pool import Database, open_database
from tests.e2e.process import RelayProcess, build_environment, free_ports, scratch_directory
from tests.fediverse import Fediverse, Origin, RecordingBackend
from tests.fediverse.wire import WireRequest, open_server
from tests.relay.tools.certificates import Authority

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.world import World

# The certificate check reads the machine's own clock, and nothing lets a test set it.
TODAY = datetime.now(UTC)  # noqa: TID251 (the certificates have to be valid while the test runs)
_MONTH = timedelta(days=30)


class TlsOrigin(Origin):
    """A remote server behind TLS."""

    def url(self, path: str) -> str:
        return super().url(path).replace("http://", "https://", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsWorld:
    """Remote servers with certificates.

    Attributes:
        good: It is who it says.
        expired: It was.
        misnamed: It is somebody else.
        unknown: Nobody vouches for it.
        authority: Where the certificate lies that vouches for all but the last.
    """

    good: TlsOrigin
    expired: TlsOrigin
    misnamed: TlsOrigin
    unknown: TlsOrigin
    authority: Path

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(one.port for one in (self.good, self.expired, self.misnamed, self.unknown))


@contextlib.asynccontextmanager
async def open_tls_world(folder: Path) -> AsyncIterator[TlsWorld]:
    """Open one server of each kind."""
    known, stranger = Authority.create(TODAY), Authority.create(TODAY)
    async with contextlib.AsyncExitStack() as stack:
        fediverse = await stack.enter_async_context(Fediverse())

        async def open_origin(host: str, context: ssl.SSLContext) -> TlsOrigin:
            origin: TlsOrigin

            async def answer(request: WireRequest, writer: asyncio.StreamWriter) -> bool:
                return await origin.answer(request, writer)

            port = await stack.enter_async_context(open_server(answer, host=host, tls=context))
            origin = TlsOrigin(host, port, fediverse)
            return origin

        def issue(name: str, *, by: Authority = known, ends: datetime = TODAY + _MONTH) -> ssl.SSLContext:
            return by.issue(name, begins=TODAY - _MONTH, ends=ends, folder=folder)

        path = folder / "authority.pem"
        path.write_bytes(known.certificate.public_bytes(Encoding.PEM))
        yield TlsWorld(
            good=await open_origin("127.0.2.1", issue("127.0.2.1")),
            expired=await open_origin("127.0.2.2", issue("127.0.2.2", ends=TODAY - timedelta(days=1))),
            misnamed=await open_origin("127.0.2.3", issue("127.0.2.4")),
            unknown=await open_origin("127.0.2.5", issue("127.0.2.5", by=stranger)),
            authority=path,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayScene:
    """A relay with its gateway open, and everything around it.

    Attributes:
        relay: The relay's process.
        world: Remote servers without TLS.
        tls: Remote servers with it.
        server: The instance behind the relay.
        trap: A proxy that the relay's own environment names, and that nothing may ever ask.
        gateway_port: Where the gateway listens.
        authority: The certificate that a backend has to trust.
        database: A pool of our own on the relay's database.
    """

    relay: RelayProcess
    world: World
    tls: TlsWorld
    server: RecordingBackend
    trap: RecordingBackend
    gateway_port: int
    authority: Path
    database: Database

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"


@contextlib.asynccontextmanager
async def open_gateway_scene(world: World, **settings: str) -> AsyncIterator[GatewayScene]:
    """Run a relay with its gateway open.

    Its environment names a proxy for everything, which it has to ignore, and the authority of the remote
    servers as that of the system.

    Args:
        world: The remote servers without TLS.
        settings: More settings by their names with an underscore for each dot.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_directory())
        tls = await stack.enter_async_context(open_tls_world(folder))
        server = await stack.enter_async_context(RecordingBackend.open())
        trap = await stack.enter_async_context(RecordingBackend.open())
        own = port, admin_port, gateway_port = free_ports(3)
        # What may be dialled is decided by the address alone: every port that matters is among these.
        ports = (80, 443, *own, server.port, *world.ports, *tls.ports)
        environ = build_environment(
            backend_url=server.url,
            ports=ports,
            fetch_connect_timeout_s="2",
            fetch_first_byte_timeout_s="4",
            gateway_enabled="true",
            gateway_port=str(gateway_port),
            gateway_ports=",".join(map(str, ports)),
            **settings,
        )
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            environ |= {name: trap.url, name.lower(): trap.url}
        environ["SSL_CERT_FILE"] = str(tls.authority)
        relay = RelayProcess(folder / "data", environ)
        relay.port, relay.admin_port = port, admin_port
        authority = folder / "gateway.pem"
        status, said = await relay.run_command(
            "keys", "ca", "--data-dir", str(relay.data_dir), "--export", str(authority)
        )
        assert status == 0, said
        stack.push_async_callback(relay.stop)
        await relay.start()
        database = await stack.enter_async_context(open_database(relay.dsn, min_size=1, max_size=2))
        yield GatewayScene(
            relay=relay,
            world=world,
            tls=tls,
            server=server,
            trap=trap,
            gateway_port=gateway_port,
            authority=authority,
            database=database,
        )
