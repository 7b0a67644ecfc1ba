"""Our own side of the exchange, served as the relay serves it: who we are, and our actor's inbox."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from aiohttp import web

from relay.cli.peers_tools import PeerTools
from relay.exchange.courier import Courier
from relay.exchange.receiving import FollowTools
from relay.tools.fetching import open_guarded_client
from relay.tools.identity import IdentitySigner
from relay.tools.key_directory import KeyDirectory
from relay.tools.key_store import DatabaseKeyStore
from relay.web.actor_inbox import ActorInboxDoor
from relay.web.identity import IdentityPages
from tests.e2e.process import free_ports
from tests.relay.exchange.conftest import POLICY
from tests.relay.exchange.neighbours import build_identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.pool import Database
    from relay.clock import Clock


@contextlib.asynccontextmanager
async def open_own_side(database: Database, clock: Clock, *, number: int) -> AsyncIterator[PeerTools]:
    """Serve an identity, and yield what the commands about its peers work with."""
    (port,) = free_ports(1)
    identity = build_identity(f"http://127.0.0.1:{port}/breakwater", number)
    async with open_guarded_client(POLICY, clock) as client:
        pages = IdentityPages(identity=identity, domain="", profile="image-1")
        door = ActorInboxDoor(
            tools=FollowTools(
                identity=identity, database=database, client=client, clock=clock, follows_per_hour=60
            ),
            keys=KeyDirectory(source=client, store=DatabaseKeyStore(database=database), clock=clock),
            trusted_proxies=(),
        )
        application = web.Application()
        application.add_routes(
            [
                web.get("/breakwater/actor", pages.actor),
                web.post("/breakwater/actor/inbox", door.handle),
                web.get("/.well-known/webfinger", pages.webfinger),
                web.get("/.well-known/nodeinfo", pages.nodeinfo_links),
            ]
        )
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield PeerTools(
                database=database,
                client=client,
                identity=identity,
                courier=Courier(
                    database=database,
                    client=client,
                    signer=IdentitySigner(identity=identity, clock=clock),
                    clock=clock,
                ),
                clock=clock,
            )
        finally:
            await runner.cleanup()
