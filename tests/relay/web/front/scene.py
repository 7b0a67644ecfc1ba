"""A media front over a line, and the instance's own server behind it."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

import httpx
from aiohttp import web

from db import attestations
from relay.clock import SystemClock
from relay.model import Decision, DeliveryDecision, Door, Location, Media, MediaReference
from relay.pipeline import examine_bytes
from relay.stages.attest import attest
from relay.tools.own_media import open_upstream_client
from relay.tools.urls import parse_url
from relay.web.front.door import FrontSettings, open_media_front
from tests.e2e.process import free_ports
from tests.fediverse import Fediverse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from db.attestations import StoredAttestation
    from relay.line import Tools
    from tests.fediverse import Origin

PATHS = ("/system/", "/pictrs/")
VIA = "the front of this test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a test of the media front meets.

    Attributes:
        tools: What the front works with, on the machine's own clock.
        server: The instance's server.
        port: Where the front listens.
        folder: Where its copies are.
    """

    tools: Tools
    server: Origin
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Make the server as if nobody had asked it."""
        self.server.requests.clear()
        self.server._routes.clear()
        self.server._counts.clear()

    async def get(self, path: str, *, method: str = "GET", **headers: str) -> httpx.Response:
        """Ask the front, on a connection of its own."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=20) as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, headers=named)

    async def attest(self, data: bytes, *, ago: timedelta = timedelta()) -> None:
        """Examine and attest bytes as those of a post that everybody may see."""
        media = Media(data=data, sha256=hashlib.sha256(data).digest(), content_type="image/png")
        reference = MediaReference(url="", location=Location.UPLOAD)
        outcome = await examine_bytes(media, reference, door=Door.UPLOADS, tools=self.tools)
        decision = Decision(delivery=DeliveryDecision.FORWARD, outcomes=(outcome,), reason="uploads")
        now = self.tools.clock.now() - ago
        assert await attest(decision, tools=self.tools.vouching, now=now) == 1

    async def find_attestation(self, data: bytes) -> StoredAttestation | None:
        """Find the newest attestation of bytes."""
        vouching = self.tools.vouching
        async with self.tools.database.connection() as conn:
            return await attestations.find_newest(
                conn, hashlib.sha256(data).digest(), vouching.identity.profile(vouching.profile)
            )


@contextlib.asynccontextmanager
async def open_scene(
    tools: Tools, folder: Path, *, upstream: str = "", via: str = VIA
) -> AsyncIterator[Scene]:
    """Open a media front.

    Args:
        tools: What it works with.
        folder: Where its copies go.
        upstream: Where the server is, if not on its own address; PORT stands for the front's.
        via: The name that its own requests carry.
    """
    clock = SystemClock()
    (port,) = free_ports(1)
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(Fediverse(clock))
        server = await world.open_origin()
        settings = FrontSettings(
            upstream=parse_url(upstream.replace("PORT", str(port)) or server.url("/")),
            paths=PATHS,
            trusted_proxies=(ip_network("127.0.0.0/8"),),
            copies=folder / "copies",
            via=via,
        )
        own = replace(tools, clock=clock)
        client = await stack.enter_async_context(open_upstream_client(clock))
        front = await stack.enter_async_context(open_media_front(settings, tools=own, client=client))
        application = web.Application()
        application.add_routes([web.route("*", "/{path:.*}", front.handle)])
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield Scene(tools=own, server=server, port=port, folder=folder)
