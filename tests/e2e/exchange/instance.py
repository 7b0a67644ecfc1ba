"""Instances with their relays, all in this process, as their admins would set them up for each other."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from db import feed, mirror, peers, reliance, standings
from db.hashlists import NewHashList, import_list
from db.peers import Following, Peer, Tier
from db.pool import notify, open_database
from relay.app import Relay, open_relay, run_relay
from relay.cli import peers_work
from relay.cli.peers_tools import open_peer_tools
from relay.config import load_settings
from relay.exchange.batches import LONGEST_DELAY
from relay.exchange.discovery import SERVICE_REL
from relay.exchange.standings import build_stored
from relay.metrics import Metrics
from relay.trust import Standing
from tests.e2e.exchange.model import MODEL, Model
from tests.e2e.inside import InsideRelay, ShiftedClock
from tests.e2e.process import build_environment, free_ports, scratch_directory
from tests.e2e.world import Scene, wait_until
from tests.fediverse import RecordingBackend, behaviours, send, shapes, webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import timedelta
    from pathlib import Path

    from db.delivery_rows import StoredDelivery
    from db.feed import FeedKind
    from db.mirror import MirroredAttestation
    from db.reliance import Reliance
    from relay.config import Settings
    from relay.line import Tools
    from relay.tools.identity import Identity
    from tests.e2e.world import World
    from tests.fediverse import Origin

SECRET: Final = "what the server shows for this webhook"
PROFILE: Final = "image-1"
ADMIN: Final = "admin"
_hosts = itertools.count()
CREDIT: Final = 200.0
"""Audits in a row that held: enough for the lowest rate at which anybody is audited."""

_NEVER: Final = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What an instance keeps between two starts of its relay."""

    directory: Path
    dsn: str
    host: str
    port: int
    admin_port: int
    front_port: int


class Instance:
    """A server that federates, and the relay beside it, which also serves the server's media.

    Attributes:
        server: Where its people, its WebFinger and, behind the front, its media are.
        model: The costly detector of its scanner.
        clock: The time as its relay has it.
        settings: How its relay is set up.
    """

    def __init__(
        self, world: World, place: Place, *, ports: Sequence[int], backend: RecordingBackend, **more: str
    ) -> None:
        self.server: Origin = world.take_origin()
        self.model = Model()
        self.clock = ShiftedClock()
        self._world, self._place, self._backend = world, place, backend
        self.settings: Settings = load_settings(
            None,
            build_environment(
                backend_url=backend.url,
                ports=(*world.ports, *ports),
                database_url=place.dsn,
                identity_base_url=f"http://{place.host}:{place.port}/breakwater",
                server_host=place.host,
                server_port=str(place.port),
                server_admin_host=place.host,
                server_admin_port=str(place.admin_port),
                server_data_dir=str(place.directory / "data"),
                scanner_workers="1",
                uploads_enabled="true",
                uploads_secret=SECRET,
                uploads_media_hosts=place.host,
                exchange_media_front="true",
                exchange_media_upstream=self.server.url(""),
                exchange_media_paths="/system/",
                exchange_front_port=str(place.front_port),
                # A busy machine takes its time; what is tested is not how long it takes.
                **{"exchange_ask_within_ms": "5000", **more},
            ),
        )
        self.alice = self.server.create_actor("alice")
        self._scene: Scene | None = None
        self._identity: Identity | None = None
        self._stop = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._running: asyncio.Task[None] | None = None
        self._posts = 0
        links = [{"rel": SERVICE_REL, "type": "application/activity+json", "href": self.actor}]
        self.server.on(
            "/.well-known/webfinger", behaviours.serve_json({"links": links}, "application/jrd+json")
        )

    @property
    def actor(self) -> str:
        return f"{self.settings.base_url}/actor"

    @property
    def domain(self) -> str:
        """The server's, under which its relay is known to others."""
        return f"{self.server.host}:{self.server.port}"

    @property
    def scene(self) -> Scene:
        assert self._scene is not None
        return self._scene

    @property
    def identity(self) -> Identity:
        assert self._identity is not None
        return self._identity

    @property
    def parts(self) -> Relay:
        relay = self.scene.relay
        assert isinstance(relay, InsideRelay)
        return relay.parts

    @property
    def tools(self) -> Tools:
        return self.parts.workers._tools

    # Starting and stopping.

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Start its relay, and wait until it runs."""
        self._stop.clear()
        self._group = group
        started = asyncio.Event()
        self._running = group.create_task(self._run(started))
        await started.wait()

    async def stop(self) -> None:
        """Stop its relay, and wait until it has."""
        self._stop.set()
        if self._running is not None:
            await self._running

    async def start_again(self) -> None:
        """Start its relay after it was stopped, on the same data."""
        assert self._group is not None
        await self.start(self._group)

    async def _run(self, started: asyncio.Event) -> None:
        # A task has variables of its own, which its threads inherit: this is its model and no other's.
        MODEL.set(self.model)
        metrics = Metrics()
        async with (
            open_relay(self.settings, clock=self.clock, metrics=metrics) as opened,
            open_database(self._place.dsn, min_size=1, max_size=2) as database,
            open_peer_tools(self.settings) as tools,
        ):
            relay = InsideRelay(parts=opened, clock=self.clock, counts=metrics, dsn=self._place.dsn)
            self._scene = Scene(world=self._world, backend=self._backend, relay=relay, database=database)
            self._identity = tools.identity
            self.toss(lambda: _NEVER)
            async with asyncio.TaskGroup() as group:
                group.create_task(run_relay(opened, stop=self._stop))
                started.set()

    def toss(self, chance: Callable[[], float]) -> None:
        """Let the coin of audits, which is a secret elsewhere, fall as a test wants; by default never."""
        peer_tools = self.tools.peers
        assert peer_tools is not None
        object.__setattr__(peer_tools, "chance", chance)

    # What its people do.

    def serve(self, name: str, picture: bytes, content_type: str = "image/png") -> str:
        """Keep a picture, and return where the world finds it."""
        self.server.serve_media(f"/system/{name}", picture, content_type)
        return self.url_of(name)

    def url_of(self, name: str) -> str:
        """Return where the world finds a picture: at the media front."""
        return f"http://{self._place.host}:{self._place.front_port}/system/{name}"

    async def publish(self, *urls: str, visibility: str = "public") -> None:
        """Let its server tell its relay of a post with these media."""
        self._posts += 1
        media = [webhooks.attachment("x", url=url) for url in urls]
        body = webhooks.encode(
            webhooks.event(webhooks.status(number=self._posts, media=media, visibility=visibility))
        )
        async with httpx.AsyncClient(base_url=self.scene.relay.door, trust_env=False) as http:
            answer = await http.post(
                "/breakwater/webhooks/mastodon", content=body, headers=webhooks.sign(body, SECRET)
            )
        assert answer.status_code == 202

    async def attest(self, name: str, picture: bytes) -> str:
        """Publish a picture, wait until it is attested, and return where it is."""
        url = self.serve(name, picture)
        await self.publish(url)
        await self.scene.wait_for_attestation(picture)
        return url

    def create(self, *urls: str) -> shapes.Document:
        """Build a public post of its own with these media."""
        return shapes.mastodon_create(self.alice, list(urls))

    async def carry_inline(self, activity: shapes.Document, picture: bytes) -> None:
        """Put what it attests of a picture beside it, as a server may do before it signs."""
        stored = await self.scene.wait_for_attestation(picture)
        put_inline(activity, stored.object)

    async def receive(self, sender: Instance, *urls: str) -> StoredDelivery:
        """Take in a public post of somebody elsewhere, and wait until it is decided upon."""
        return await self.receive_activity(sender, sender.create(*urls))

    async def receive_activity(self, sender: Instance, activity: shapes.Document) -> StoredDelivery:
        """Take in an activity, and wait until it is decided upon."""
        message = self.scene.sign(sender.alice, activity)
        answer = await send(message, host=self._place.host, port=self._place.port)
        assert answer.status == 202
        return await self.scene.wait_for_state(activity)

    # What its admin does.

    async def add(self, other: Instance) -> None:
        """Add another instance's relay as a peer, as `breakwater peers add` does."""
        async with open_peer_tools(self.settings) as tools:
            await peers_work.add(tools, other.server.url(""), group=None, note="", follows=True, by=ADMIN)

    async def approve(self, other: Instance, *, is_ally: bool = False) -> None:
        """Approve a peer, as `breakwater peers approve` does."""
        async with open_peer_tools(self.settings) as tools:
            await peers_work.approve(tools, other.actor, is_ally=is_ally, follows_back=True, by=ADMIN)

    async def find_peer(self, other: Instance) -> Peer:
        """What it knows of another."""
        async with self.scene.database.connection() as conn:
            found = await peers.find_peer(conn, other.actor)
        assert found is not None
        return found

    async def trust(self, other: Instance, *, credit: float = CREDIT) -> None:
        """Stand where a hundred and more audits of another would have led."""
        standing = Standing(
            tier=Tier.TRUSTED,
            updated_at=self.clock.now(),
            credit=credit,
            audits=int(credit),
            agreements=int(credit),
        )
        stored = build_stored(
            standing,
            actor=other.actor,
            profile=other.identity.profile(PROFILE),
            key_id=other.identity.verification_method,
        )
        async with self.scene.database.transaction() as conn:
            before = await peers.lock_peer(conn, other.actor)
            assert before is not None
            await peers.set_tier(
                conn, other.actor, expected=before.tier, to=Tier.TRUSTED, now=self.clock.now()
            )
            await standings.put_standing(conn, stored)

    async def find_standing(self, other: Instance) -> standings.StoredStanding:
        """How far it relies on another."""
        async with self.scene.database.connection() as conn:
            found = await standings.find_standing(
                conn,
                other.actor,
                other.identity.profile(PROFILE),
                other.identity.verification_method,
            )
        assert found is not None
        return found

    async def list_mirrored(self, picture: bytes) -> tuple[MirroredAttestation, ...]:
        """What it has received about a picture."""
        async with self.scene.database.connection() as conn:
            return await mirror.find_mirrored(conn, hashlib.sha256(picture).digest(), now=self.clock.now())

    # What its relay does by itself, sooner.

    async def read_feed(self, other: Instance) -> None:
        """Read on in another's feed to its end, as the reader does all day."""
        reader = self.parts.reader
        assert reader is not None
        while True:
            before = await self.find_peer(other)
            turn = await reader.read_page(other.actor, wait_s=0)
            assert turn is not None
            assert not turn.is_failure
            after = await self.find_peer(other)
            if not turn.is_more and after.feed_cursor == before.feed_cursor:
                return

    def advance(self, by: timedelta) -> None:
        """Let time pass for its relay."""
        relay = self.scene.relay
        assert isinstance(relay, InsideRelay)
        relay.advance(by)
        self.parts.audits.wake()

    async def wait_for_published(self, kind: FeedKind) -> None:
        """Wait until its feed has something of a kind, whoever may see it yet."""

        async def find() -> bool | None:
            async with self.scene.database.connection() as conn:
                items = await feed.read(conn, cursor=0, peer="", visible_at=None, limit=500)
            return True if any(one.kind is kind for one in items) else None

        await wait_until(find, f"a {kind} in the feed")

    async def wait_for_scan(self, *pictures: bytes) -> None:
        """Wait until its costly detector was asked about each of these."""

        async def find() -> bool | None:
            return True if all(self.model.count(one) for one in pictures) else None

        await wait_until(find, "a scan of its own")

    async def find_reliance(self, picture: bytes) -> tuple[Reliance, ...]:
        """What it let go on somebody's word."""
        async with self.scene.database.connection() as conn:
            return await reliance.find_reliance(conn, hashlib.sha256(picture).digest())

    async def import_list(self, *pictures: bytes, name: str = "drawn", version: str = "1") -> None:
        """Import a list of known pictures, and wait until the scanner has it."""
        scanning = self.tools.scans.scanning
        before = scanning.state_digest
        digests = sorted(hashlib.sha256(one).digest() for one in pictures)
        new = NewHashList(
            name=name,
            version=version,
            category="spam",
            distance=31,
            min_quality=50,
            is_dihedral=False,
            digest=hashlib.sha256(b"".join(digests)).digest(),
            label="drawn",
            is_advisory=False,
        )
        async with self.scene.database.connection() as conn:
            await import_list(conn, new, {"sha256": b"".join(digests)}, now=self.clock.now())

        async def find() -> bool | None:
            return True if scanning.state_digest != before else None

        await wait_until(find, "the new list")


def put_inline(activity: shapes.Document, attestation: bytes) -> None:
    """Put an attestation beside the first attachment of a post."""
    note = activity["object"]
    assert isinstance(note, dict)
    note["attachment"][0]["scanAttestation"] = json.loads(attestation)


def _choose_host() -> str:
    """Choose an address of loopback that no other relay has, in this process or another that runs tests."""
    number = next(_hosts)
    return f"127.{100 + number % 100}.{os.getpid() // 256 % 256}.{os.getpid() % 256}"


@contextlib.asynccontextmanager
async def open_instances(
    world: World, dsns: Sequence[str], **settings: str
) -> AsyncIterator[tuple[Instance, ...]]:
    """Open an instance on each database, all at peace with loopback.

    Args:
        world: The remote servers.
        dsns: New databases with the schema.
        settings: More settings by their names with an underscore for each dot.
    """
    async with contextlib.AsyncExitStack() as stack:
        ports = free_ports(3 * len(dsns))
        instances: list[Instance] = []
        for number, dsn in enumerate(dsns):
            port, admin_port, front_port = ports[3 * number : 3 * number + 3]
            place = Place(
                directory=stack.enter_context(scratch_directory()),
                dsn=dsn,
                host=_choose_host(),
                port=port,
                admin_port=admin_port,
                front_port=front_port,
            )
            backend = await stack.enter_async_context(RecordingBackend.open())
            instances.append(Instance(world, place, ports=ports, backend=backend, **settings))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for one in instances:
            stack.callback(one._stop.set)
            await one.start(group)
        yield tuple(instances)


async def befriend(one: Instance, other: Instance, *, is_ally: bool = False) -> None:
    """Let two instances read each other's feeds, over HTTP and with both admins' approval."""
    await one.add(other)
    await wait_for_follow(other, one, Following.ASKED)
    await other.approve(one, is_ally=is_ally)
    await wait_for_follow(one, other, Following.ASKED)
    await one.approve(other, is_ally=is_ally)
    await _wait_for_accept(one, other)
    await _wait_for_accept(other, one)


async def wait_for_follow(side: Instance, other: Instance, state: Following) -> None:
    """Wait until a follow of another has come as far as that."""

    async def find() -> bool | None:
        async with side.scene.database.connection() as conn:
            peer = await peers.find_peer(conn, other.actor)
        return True if peer is not None and peer.they_follow is state else None

    await wait_until(find, f"a follow that is {state}")


async def _wait_for_accept(side: Instance, other: Instance) -> None:
    async def find() -> bool | None:
        return True if (await side.find_peer(other)).we_follow is Following.ACCEPTED else None

    await wait_until(find, "an accepted follow")


async def end_batches(*instances: Instance) -> None:
    """Let the time pass after which everything that was issued can be seen by every peer."""
    for one in instances:
        one.advance(LONGEST_DELAY)
    for one in instances:
        async with one.scene.database.connection() as conn:
            await notify(conn, feed.CHANNEL)
