"""What everything else stands on: database, keys, scanner, and the ways to others."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from relay import assembly
from relay.backends.adapters import open_adapter
from relay.backends.standin import open_standin
from relay.selftest import open_selftest_origin
from relay.services.opening import list_documents
from relay.tools.authority import require_authority
from relay.tools.database import open_owned_database
from relay.tools.fetching import open_guarded_client
from relay.tools.hash_lists import load_lists_into
from relay.tools.identity import Identity, IdentitySigner
from relay.tools.key_directory import KeyDirectory
from relay.tools.key_files import load_or_create_keys
from relay.tools.key_store import DatabaseKeyStore
from relay.tools.list_shelf import open_shelf
from relay.tools.scanning import open_scanning
from scanner.scan import open_scanner

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from ipaddress import IPv4Address, IPv6Address

    from db.pool import Database
    from relay.backends.abilities import BackendApi
    from relay.backends.standin import StandIn
    from relay.clock import Clock
    from relay.config import Settings
    from relay.metrics import Metrics
    from relay.selftest import SelftestOrigin
    from relay.tools.addresses import Endpoint
    from relay.tools.authority import Authority
    from relay.tools.fetching import GuardedClient
    from relay.tools.list_shelf import ListShelf
    from relay.tools.policy import FetchPolicy
    from relay.tools.scanning import Scanning

_INSTANCE_CHANCE_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What everything else stands on.

    Attributes:
        settings: The configuration.
        clock: The time.
        metrics: What is counted.
        name: The name of this process among those that share the database.
        authority: What the gateway opens TLS with; None where it opens none.
        database: The pool.
        database_place: Where that is, without its password.
        identity: Who the relay is.
        signer: Signs requests in its name.
        standin: The recorder in which self-tests end.
        origin: The remote server that the self-test plays.
        own: Where that listens.
        fetch_policy: The bounds on what is fetched.
        client: Fetches, within them.
        scanning: The scanner.
        shelf: What it knows of the hash lists.
        api: The backend's own API; None without a token.
        keys: The keys of others.
    """

    settings: Settings
    clock: Clock
    metrics: Metrics
    name: str
    authority: Authority | None
    database: Database
    database_place: str
    identity: Identity
    signer: IdentitySigner
    standin: StandIn
    origin: SelftestOrigin
    own: tuple[Endpoint, ...]
    fetch_policy: FetchPolicy
    client: GuardedClient
    scanning: Scanning
    shelf: ListShelf
    api: BackendApi | None
    keys: KeyDirectory


async def open_ground(stack: AsyncExitStack, settings: Settings, *, clock: Clock, metrics: Metrics) -> Ground:
    """Open it; the stack closes it.

    Raises:
        StartupError: A part could not be started.
    """
    enter = stack.enter_async_context
    data_dir = settings.server.data_dir
    opens_tls = settings.gateway.enabled and settings.gateway.opens_tls
    authority = require_authority(data_dir) if opens_tls else None
    opened = await enter(open_owned_database(settings))
    files = load_or_create_keys(data_dir)
    identity = Identity(
        base_url=settings.base_url,
        http_key=files.http_key,
        signing_key=files.signing_key,
        secret=files.secret,
        retired=files.retired,
        api_key=files.api_key,
    )
    signer = IdentitySigner(identity=identity, clock=clock)
    origin = await enter(open_selftest_origin())
    own = (_endpoint(origin.url),)
    shelf = open_shelf(data_dir, prunes=True)
    fetch_policy = assembly.build_fetch_policy(settings, own=own)
    client = await enter(open_guarded_client(fetch_policy, clock))
    return Ground(
        settings=settings,
        clock=clock,
        metrics=metrics,
        name=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(_INSTANCE_CHANCE_BYTES)}",
        authority=authority,
        database=opened.database,
        database_place=opened.place,
        identity=identity,
        signer=signer,
        standin=await enter(open_standin()),
        origin=origin,
        own=own,
        fetch_policy=fetch_policy,
        client=client,
        scanning=await _open_scanner(
            stack, settings, opened.database, shelf=shelf, secret=identity.secret, clock=clock
        ),
        shelf=shelf,
        api=await enter(open_adapter(settings.backend, domain=settings.domain)),
        keys=KeyDirectory(
            source=client, store=DatabaseKeyStore(database=opened.database), clock=clock, signer=signer
        ),
    )


async def _open_scanner(
    stack: AsyncExitStack,
    settings: Settings,
    database: Database,
    *,
    shelf: ListShelf,
    secret: bytes,
    clock: Clock,
) -> Scanning:
    scanner_settings = assembly.build_scanner_settings(settings)
    # Starting the decoder processes and loading models takes a second; the loop stays free meanwhile.
    scanner = await asyncio.to_thread(stack.enter_context, open_scanner(scanner_settings))
    threads = (scanner_settings.workers or len(os.sched_getaffinity(0))) * 2
    scanning = await stack.enter_async_context(
        open_scanning(
            scanner,
            threads=threads,
            secret=secret,
            now=clock.now(),
            services=list_documents(settings.services),
        )
    )
    await load_lists_into(scanning, database, now=clock.now(), shelf=shelf)
    return scanning


def _endpoint(url: str) -> tuple[IPv4Address | IPv6Address, int]:
    parts = urlsplit(url)
    return ip_address(parts.hostname or ""), parts.port or 0
