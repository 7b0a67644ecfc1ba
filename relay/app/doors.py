"""Open the doors: which paths each has, and where it listens."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from relay import assembly
from relay.errors import StartupError
from relay.selftest import SelftestTools, run_selftest
from relay.tools.dialling import open_dialler
from relay.tools.door_secret import LOOKUP, PDQ, VALIDATE, find_door_secret
from relay.tools.flights import open_flights
from relay.web.admin import AdminPages
from relay.web.attestations import AttestationDoor
from relay.web.front.door import MediaFront, open_media_front
from relay.web.gateway.door import open_gateway
from relay.web.hash_endpoint import HashDoor
from relay.web.identity import IdentityPages
from relay.web.inbox import InboxDoor
from relay.web.local import LocalDoor, LocalDoors
from relay.web.lookup import LookupDoor
from relay.web.uploads import UploadDoor
from relay.web.validator import ValidatorDoor

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from relay.app.exchange import Answering
    from relay.app.ground import Ground
    from relay.config import Settings
    from relay.pipeline import Tools
    from relay.tools.fetching import GuardedClient
    from relay.tools.identity import Identity

# How long answers that are under way may take when the relay stops; both doors and the backend's last answers
# together still end before a service manager loses its patience.
_SHUTDOWN_S: Final = 4.0


async def open_doors(
    stack: AsyncExitStack, ground: Ground, tools: Tools, answering: Answering, *, upstream: GuardedClient
) -> None:
    """Open every door that the settings want open; the stack closes them.

    Raises:
        StartupError: A port cannot be used.
        ConfigError: The secret of the doors cannot be used.
    """
    settings, server = ground.settings, ground.settings.server
    await _serve(stack, _build_public(ground, tools, answering), server.host, server.port)
    # Whoever still waits goes home before the door closes.
    stack.callback(answering.bell.stop)
    await _serve(stack, _build_admin(_build_pages(ground)), server.admin_host, server.admin_port)
    if settings.doors.is_any_open:
        local = await _build_local_doors(stack, settings, tools, ground.identity)
        await _serve(stack, local, settings.doors.host, settings.doors_port)
    if settings.exchange.media_front:
        front = await stack.enter_async_context(
            open_media_front(
                assembly.build_front_settings(settings, secret=ground.identity.secret),
                tools=tools,
                client=upstream,
            )
        )
        await _serve(stack, _build_front(front), server.host, settings.front_port)
    if settings.gateway.enabled:
        await stack.enter_async_context(
            open_gateway(
                assembly.build_gateway_settings(settings, own=ground.own),
                tools=tools,
                client=ground.client,
                dialler=await stack.enter_async_context(open_dialler(ground.fetch_policy)),
                authority=ground.authority,
            )
        )


def _build_public(ground: Ground, tools: Tools, answering: Answering) -> web.Application:
    settings, identity = ground.settings, ground.identity
    trusted = settings.server.trusted_proxies
    inbox = InboxDoor(
        tools=tools,
        trusted_proxies=trusted,
        max_body_bytes=settings.server.max_body_bytes,
        hosts=assembly.build_hosts(settings),
    )
    pages = IdentityPages(identity=identity, domain=settings.domain, profile=settings.attest.profile)
    attestation_door = AttestationDoor(
        database=tools.database, keys=tools.keys, clock=tools.clock, trusted_proxies=trusted
    )
    base = urlsplit(settings.base_url).path.rstrip("/")
    doors = web.Application(client_max_size=settings.server.max_body_bytes)
    if settings.uploads.enabled:
        uploads = UploadDoor(
            database=tools.database,
            clock=tools.clock,
            secret=settings.uploads.secret.get_secret_value().encode(),
            examines_restricted=tools.examines_restricted,
            max_body_bytes=settings.server.max_body_bytes,
        )
        doors.add_routes([web.post(f"{base}/webhooks/mastodon", uploads.handle)])
    answering.add_routes(doors, base=base, api=urlsplit(identity.api_url).path)
    doors.add_routes(
        [
            web.get(f"{base}/actor", pages.actor),
            web.get(f"{base}/actor/outbox", pages.outbox),
            web.get(f"{base}/profiles/{{name}}", pages.scanning_profile),
            web.get(f"{base}/nodeinfo/2.1", pages.nodeinfo),
            web.get(f"{base}/attestations/{{id}}", attestation_door.handle),
            web.get("/.well-known/webfinger", pages.webfinger),
            web.get("/.well-known/nodeinfo", pages.nodeinfo_links),
            web.route("*", "/{path:.*}", inbox.handle),
        ]
    )
    return doors


def _build_pages(ground: Ground) -> AdminPages:
    settings = ground.settings
    selftest = SelftestTools(
        origin=ground.origin,
        standin=ground.standin,
        door_url=assembly.local_url(settings.server.host, settings.server.port),
        identity=ground.identity,
        profile=settings.attest.profile,
        database=ground.database,
        clock=ground.clock,
        doors=assembly.build_selftest_doors(
            settings, authority=ground.authority, installation_secret=ground.identity.secret
        ),
        enforces_media=settings.enforces_media,
    )
    return AdminPages(
        database=ground.database,
        metrics=ground.metrics,
        standin=ground.standin,
        run_selftest=lambda: run_selftest(selftest),
        selftest_lock=asyncio.Lock(),
    )


async def _build_local_doors(
    stack: AsyncExitStack, settings: Settings, tools: Tools, identity: Identity
) -> web.Application:
    doors: dict[str, LocalDoor] = {}
    if settings.doors.validator:
        doors[VALIDATE] = ValidatorDoor(
            tools=tools,
            flights=await stack.enter_async_context(open_flights()),
            within=timedelta(seconds=settings.doors.validate_within_s),
        )
    if settings.doors.hash_endpoint:
        doors[PDQ] = HashDoor(
            tools=tools,
            flights=await stack.enter_async_context(open_flights()),
            per_minute=settings.doors.hashes_per_minute,
        )
    if settings.doors.lookup:
        doors[LOOKUP] = LookupDoor(tools=tools)
    secret = find_door_secret(settings, installation_secret=identity.secret)
    return LocalDoors(secret=secret, doors=doors, metrics=tools.metrics).build()


def _build_front(front: MediaFront) -> web.Application:
    application = web.Application()
    application.add_routes([web.route("*", "/{path:.*}", front.handle)])
    return application


def _build_admin(pages: AdminPages) -> web.Application:
    admin = web.Application()
    admin.add_routes(
        [
            web.get("/livez", pages.livez),
            web.get("/readyz", pages.readyz),
            web.get("/metrics", pages.metrics_page),
            web.get("/standin", pages.standin_page),
            web.post("/selftest", pages.selftest),
        ]
    )
    return admin


async def _serve(stack: AsyncExitStack, application: web.Application, host: str, port: int) -> None:
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise StartupError(
            f"Port {port} on {host} cannot be used ({os.strerror(error.errno or 0)}). Another program "
            "listens there, or you may not. Stop it, or choose another port with --port or server.port."
        ) from error
