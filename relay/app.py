"""Build everything, run it, and take it down in the opposite order; the only place that does."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from relay import assembly
from relay.audits.audit import AuditTools
from relay.audits.worker import AuditWorker
from relay.backends.adapters import open_adapter
from relay.backends.choice import Backends
from relay.backends.client import open_backend
from relay.backends.standin import open_standin
from relay.errands.uploads import UploadTools
from relay.errands.worker import ErrandTools, ErrandWorkers
from relay.errors import StartupError
from relay.exchange.admission import PeerRefresher
from relay.exchange.alert_courier import AlertCourier, CourierTools
from relay.exchange.announcing import Announcer, AnnounceTools
from relay.exchange.client import PeerClient
from relay.exchange.courier import Courier
from relay.exchange.feed_pages import FeedBell, FeedDesk
from relay.exchange.lookups import BucketWidth
from relay.exchange.matching import AlertMatcher
from relay.exchange.notices import tell_doubt
from relay.exchange.peer_tools import PeerTools
from relay.exchange.reader import FeedReader, ReaderTools
from relay.exchange.receiving import FollowTools
from relay.exchange.signing import create_peer_signer
from relay.exchange.taking import FeedTaking
from relay.exchange.upkeep import PeerUpkeep
from relay.pipeline import Tools
from relay.selftest import SelftestTools, open_selftest_origin, run_selftest
from relay.stages.attest import AttestTools
from relay.stages.scan import ScanTools
from relay.tools.authority import require_authority
from relay.tools.database import open_owned_database
from relay.tools.dialling import open_dialler
from relay.tools.door_secret import PDQ, VALIDATE, find_door_secret
from relay.tools.fetching import open_guarded_client
from relay.tools.flights import open_flights
from relay.tools.hash_lists import ListWatch, load_lists_into
from relay.tools.identity import Identity, IdentitySigner
from relay.tools.key_directory import KeyDirectory
from relay.tools.key_files import load_or_create_keys
from relay.tools.key_limits import LOOKUPS_AT_ONCE, LOOKUPS_PER_SECOND
from relay.tools.key_store import DatabaseKeyStore
from relay.tools.limits import FairShare
from relay.tools.memory import MemoryBudget
from relay.tools.own_media import open_upstream_client
from relay.tools.politeness import PoliteClient
from relay.tools.scanning import open_scanning
from relay.tools.spool import open_spool
from relay.web.actor_inbox import ActorInboxDoor
from relay.web.admin import AdminPages
from relay.web.attestations import AttestationDoor
from relay.web.front.door import MediaFront, open_media_front
from relay.web.gateway.door import open_gateway
from relay.web.hash_endpoint import HashDoor
from relay.web.identity import IdentityPages
from relay.web.inbox import InboxDoor
from relay.web.local import LocalDoor, LocalDoors
from relay.web.peer_alerts import AlertDesk, add_alert_route
from relay.web.peer_api import PeerApi, add_peer_routes
from relay.web.peer_door import PeerDoor
from relay.web.uploads import UploadDoor
from relay.web.validator import ValidatorDoor
from relay.workers import Workers, WorkerSettings
from scanner.scan import open_scanner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from ipaddress import IPv4Address, IPv6Address

    from db.pool import Database
    from relay.clock import Clock
    from relay.config import Settings
    from relay.metrics import Metrics
    from relay.tools.scanning import Scanning

_log = logging.getLogger(__name__)

_INSTANCE_CHANCE_BYTES: Final = 4

# A worker mostly waits, for a remote server or for a decoder; more of them than this only take memory.
_WORKERS: Final = 8

# How long answers that are under way may take when the relay stops; both doors and the backend's last answers
# together still end before a service manager loses its patience.
_SHUTDOWN_S: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """A relay that runs.

    Attributes:
        door_url: Where deliveries come in, as reachable from this machine.
        admin_url: Where health, metrics and the self-test are.
        actor: The id of its actor.
        backend_url: Where deliveries go.
        is_standin: They go to the built-in stand-in, because no backend is configured.
        database_place: Where the database is, without its password.
        workers: What works through the queue.
        errands: What works through the list of errands.
        audits: What scans, now and then, what a peer's word has spared us.
        list_watch: What loads the hash lists again when they change.
        announcer: What takes back what was attested and does not hold any more.
        alert_courier: What sends warnings to peers.
        alert_matcher: What compares the warnings of peers with what was seen.
        courier: What delivers to other relays what we have to say to them.
        upkeep: What looks at our peers now and then.
        bell: What wakes the peers that wait for something new in our feed.
        reader: What reads the feeds of our peers; None where the admin does not want it.
    """

    door_url: str
    admin_url: str
    actor: str
    backend_url: str
    is_standin: bool
    database_place: str
    workers: Workers
    errands: ErrandWorkers
    audits: AuditWorker
    list_watch: ListWatch
    announcer: Announcer
    alert_courier: AlertCourier
    alert_matcher: AlertMatcher
    courier: Courier
    upkeep: PeerUpkeep
    bell: FeedBell
    reader: FeedReader | None


@asynccontextmanager
async def open_relay(settings: Settings, *, clock: Clock, metrics: Metrics) -> AsyncIterator[Relay]:
    """Start a relay: database, keys, scanner, client, workers, doors.

    Raises:
        StartupError: A part could not be started; what was started before is stopped again.
        ConfigError: The settings contradict each other.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        data_dir = settings.server.data_dir
        opens_tls = settings.gateway.enabled and settings.gateway.opens_tls
        authority = require_authority(data_dir) if opens_tls else None
        opened = await enter(open_owned_database(settings))
        database = opened.database
        keys = load_or_create_keys(data_dir)
        identity = Identity(
            base_url=settings.base_url,
            http_key=keys.http_key,
            signing_key=keys.signing_key,
            secret=keys.secret,
            retired=keys.retired,
            api_key=keys.api_key,
        )
        signer = IdentitySigner(identity=identity, clock=clock)
        standin = await enter(open_standin())
        origin = await enter(open_selftest_origin())
        own = (_endpoint(origin.url),)
        fetch_policy = assembly.build_fetch_policy(settings, own=own)
        client = await enter(open_guarded_client(fetch_policy, clock))
        scanning = await _open_scanner(stack, settings, database, secret=identity.secret, clock=clock)
        api = await enter(open_adapter(settings.backend, domain=settings.domain))
        name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(_INSTANCE_CHANCE_BYTES)}"
        key_directory = KeyDirectory(
            source=client, store=DatabaseKeyStore(database=database), clock=clock, signer=signer
        )
        peer_signer = create_peer_signer(identity, clock)
        peer_client = PeerClient(client=client, signer=peer_signer, clock=clock)
        refresher = PeerRefresher(database=database, client=client, clock=clock)
        peer_tools = PeerTools(
            database=database,
            clock=clock,
            steps=assembly.build_steps(settings),
            asker=peer_client,
            refetch=refresher,
            costly=scanning.costly_detectors,
            profiles=assembly.build_profile_rule(settings),
            retained=open_spool(data_dir / "audits", max_bytes=settings.exchange.audit_bytes),
            gathering=await enter(open_flights()),
            beginning=await enter(open_flights()),
            on_doubt=partial(tell_doubt, identity=identity),
            allow_http=assembly.allows_http_peers(settings),
        )
        tools = Tools(
            database=database,
            client=PoliteClient(client, clock),
            memory=MemoryBudget(),
            signer=signer,
            keys=key_directory,
            lookups=FairShare(per_second=LOOKUPS_PER_SECOND, burst=LOOKUPS_AT_ONCE),
            authentication=assembly.build_authentication_policy(settings),
            scans=ScanTools(
                scanning=scanning,
                flights=await enter(open_flights()),
                database=database,
                clock=clock,
                worker=name,
            ),
            spool=open_spool(data_dir / "spool", max_bytes=settings.hold.spool_bytes),
            backends=Backends(
                main=await enter(
                    open_backend(settings.backend.url or standin.url, timeout_s=settings.backend.timeout_s)
                ),
                standin=await enter(open_backend(standin.url, timeout_s=settings.backend.timeout_s)),
                selftest_actor=origin.actor,
            ),
            policy=assembly.build_policy(settings),
            acting=assembly.build_acting(settings, abilities=frozenset() if api is None else api.abilities),
            hold=assembly.build_hold_policy(settings),
            releasing=assembly.build_release_tools(settings, signer=signer, resolver=api),
            vouching=AttestTools(
                is_enabled=settings.attest.enabled,
                identity=identity,
                database=database,
                scanning=scanning,
                profile=settings.attest.profile,
                life=assembly.attestation_life(settings, has_lists=True),
                withheld_permille=settings.attest.withhold_share_permille,
            ),
            metrics=metrics,
            clock=clock,
            max_media_bytes=settings.fetch.max_media_bytes,
            examines_restricted=settings.legal.scan_restricted,
            peers=peer_tools,
        )
        upstream = await enter(open_upstream_client(clock))
        workers = Workers(
            tools,
            WorkerSettings(
                name=name,
                count=_WORKERS,
                withheld_kept=assembly.withheld_kept(settings),
                feed_kept=assembly.feed_kept(settings),
            ),
        )
        errands = ErrandWorkers(
            ErrandTools(
                database=database,
                api=api,
                uploads=UploadTools(
                    line=tools,
                    hosts=assembly.build_media_hosts(settings),
                    source=assembly.build_media_source(settings, inside=upstream, outside=tools.client),
                ),
                metrics=metrics,
                clock=clock,
                name=name,
            )
        )
        await workers.take_stock()
        door_url = assembly.local_url(settings.server.host, settings.server.port)
        selftest = SelftestTools(
            origin=origin,
            standin=standin,
            door_url=door_url,
            identity=identity,
            profile=settings.attest.profile,
            database=database,
            clock=clock,
            doors=assembly.build_selftest_doors(
                settings, authority=authority, installation_secret=identity.secret
            ),
            enforces_media=settings.enforces_media,
        )
        actor_inbox = ActorInboxDoor(
            tools=FollowTools(
                identity=identity,
                database=database,
                client=client,
                clock=clock,
                follows_per_hour=settings.exchange.follows_per_hour,
            ),
            keys=key_directory,
            trusted_proxies=settings.server.trusted_proxies,
        )
        bell = FeedBell(database)
        peer_api = PeerApi(
            database=database,
            clock=clock,
            desk=FeedDesk(database=database, clock=clock, bell=bell),
            width=BucketWidth(database),
            lookups=assembly.build_lookup_share(settings),
        )
        alert_desk = AlertDesk(
            database=database,
            clock=clock,
            recipient=identity.actor,
            refetch=refresher,
            allow_http=assembly.allows_http_peers(settings),
        )
        announcer = Announcer(
            AnnounceTools(
                database=database,
                identity=identity,
                scanning=scanning,
                profile=settings.attest.profile,
                clock=clock,
            )
        )
        peer_door = PeerDoor(
            database=database,
            clock=clock,
            signer=peer_signer,
            base_url=identity.base_url,
            trusted_proxies=settings.server.trusted_proxies,
            refresh=refresher,
        )
        await _serve(
            stack,
            _build_doors(
                settings,
                tools,
                identity,
                peer_api=peer_api,
                alert_desk=alert_desk,
                peer_door=peer_door,
                actor_inbox=actor_inbox,
            ),
            settings.server.host,
            settings.server.port,
        )
        # Whoever still waits goes home before the door closes.
        stack.callback(bell.stop)
        await _serve(
            stack,
            _build_admin(
                AdminPages(
                    database=database,
                    metrics=metrics,
                    standin=standin,
                    run_selftest=lambda: run_selftest(selftest),
                    selftest_lock=asyncio.Lock(),
                )
            ),
            settings.server.admin_host,
            settings.server.admin_port,
        )
        if settings.doors.validator or settings.doors.hash_endpoint:
            local = await _build_local_doors(stack, settings, tools, identity)
            await _serve(stack, local, settings.doors.host, settings.doors_port)
        if settings.exchange.media_front:
            front = await enter(
                open_media_front(assembly.build_front_settings(settings), tools=tools, client=upstream)
            )
            await _serve(stack, _build_front(front), settings.server.host, settings.front_port)
        if settings.gateway.enabled:
            await enter(
                open_gateway(
                    assembly.build_gateway_settings(settings, own=own),
                    tools=tools,
                    client=client,
                    dialler=await enter(open_dialler(fetch_policy)),
                    authority=authority,
                )
            )
        yield Relay(
            door_url=door_url,
            admin_url=assembly.local_url(settings.server.admin_host, settings.server.admin_port),
            actor=identity.actor,
            backend_url=settings.backend.url or standin.url,
            is_standin=not settings.backend.url,
            database_place=opened.place,
            workers=workers,
            errands=errands,
            audits=AuditWorker(AuditTools(line=tools, peers=peer_tools, name=name)),
            list_watch=ListWatch(scanning=scanning, database=database, clock=clock, on_change=announcer.wake),
            announcer=announcer,
            alert_courier=AlertCourier(
                CourierTools(
                    database=database,
                    identity=identity,
                    client=peer_client,
                    clock=clock,
                )
            ),
            alert_matcher=AlertMatcher(database=database, clock=clock),
            courier=Courier(database=database, client=client, signer=signer, clock=clock),
            upkeep=PeerUpkeep(database=database, refresher=refresher),
            bell=bell,
            reader=FeedReader(
                ReaderTools(
                    database=database,
                    client=peer_client,
                    clock=clock,
                    refresh=refresher,
                    take=FeedTaking(
                        database=database, refetch=refresher, allow_http=assembly.allows_http_peers(settings)
                    ),
                    allow_http=assembly.allows_http_peers(settings),
                )
            )
            if settings.exchange.uses_feed
            else None,
        )


async def run_relay(relay: Relay, *, stop: asyncio.Event) -> None:
    """Work until told to stop."""
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(relay.list_watch.run())
        group.create_task(relay.workers.run())
        group.create_task(relay.errands.run())
        group.create_task(relay.audits.run())
        group.create_task(relay.announcer.run())
        group.create_task(relay.alert_courier.run())
        group.create_task(relay.alert_matcher.run())
        group.create_task(relay.courier.run())
        group.create_task(relay.upkeep.run())
        group.create_task(relay.bell.run())
        if relay.reader is not None:
            group.create_task(relay.reader.run())
        await stop.wait()
        relay.announcer.stop()
        relay.alert_courier.stop()
        relay.alert_matcher.stop()
        relay.upkeep.stop()
        relay.courier.stop()
        if relay.reader is not None:
            relay.reader.stop()
        relay.bell.stop()
        relay.workers.stop()
        relay.errands.stop()
        relay.audits.stop()
        watching.cancel()


async def _open_scanner(
    stack: AsyncExitStack, settings: Settings, database: Database, *, secret: bytes, clock: Clock
) -> Scanning:
    scanner_settings = assembly.build_scanner_settings(settings)
    # Starting the decoder processes and loading models takes a second; the loop stays free meanwhile.
    scanner = await asyncio.to_thread(stack.enter_context, open_scanner(scanner_settings))
    threads = (scanner_settings.workers or len(os.sched_getaffinity(0))) * 2
    scanning = await stack.enter_async_context(
        open_scanning(scanner, threads=threads, secret=secret, now=clock.now())
    )
    await load_lists_into(scanning, database, now=clock.now())
    return scanning


def _build_doors(
    settings: Settings,
    tools: Tools,
    identity: Identity,
    *,
    peer_api: PeerApi,
    alert_desk: AlertDesk,
    peer_door: PeerDoor,
    actor_inbox: ActorInboxDoor,
) -> web.Application:
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
    api_path = urlsplit(identity.api_url).path
    add_peer_routes(doors, peer_api, door=peer_door, path=api_path)
    add_alert_route(doors, alert_desk, door=peer_door, path=api_path)
    doors.add_routes(
        [
            web.get(f"{base}/actor", pages.actor),
            web.get(f"{base}/actor/outbox", pages.outbox),
            web.post(f"{base}/actor/inbox", actor_inbox.handle),
            web.get(f"{base}/profiles/{{name}}", pages.scanning_profile),
            web.get(f"{base}/nodeinfo/2.1", pages.nodeinfo),
            web.get(f"{base}/attestations/{{id}}", attestation_door.handle),
            web.get("/.well-known/webfinger", pages.webfinger),
            web.get("/.well-known/nodeinfo", pages.nodeinfo_links),
            web.route("*", "/{path:.*}", inbox.handle),
        ]
    )
    return doors


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


def _endpoint(url: str) -> tuple[IPv4Address | IPv6Address, int]:
    parts = urlsplit(url)
    return ip_address(parts.hostname or ""), parts.port or 0
