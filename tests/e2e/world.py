"""What stands around the relays of the end-to-end tests: remote servers in front, a backend behind."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import resource
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from db import attestations, cases, deliveries, delivery_lists
from db.delivery_rows import WORKING_STATES
from db.pool import notify, open_database
from relay.clock import SystemClock
from relay.lifecycle import FINAL, State
from tests.e2e.process import open_relay_process
from tests.fediverse import Fediverse, RecordingBackend, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from db.delivery_rows import StoredDelivery
    from db.pool import Database
    from signatures.message import RequestMessage
    from tests.e2e.inside import InsideRelay
    from tests.e2e.process import RelayProcess
    from tests.fediverse import Actor, Origin, WireRequest, WireResponse

T = TypeVar("T")

PATIENCE_SECONDS: Final = 30
"""Nothing here takes a second on an idle machine; a busy one may need many."""

_POLL_SECONDS: Final = 0.02

_ORIGINS: Final = 750
"""More than the tests take; a listening socket costs nothing but its descriptor."""

_A_NET: Final = 250
_DESCRIPTORS: Final = 4 * _ORIGINS

RESTING: Final = FINAL | {State.HELD}
"""Where a delivery stands until a person or its author moves it."""


class World:
    """Remote servers whose ports are known before any relay starts, each on an address of its own.

    Attributes:
        fediverse: Signs by the machine's clock, as a real process checks by it.
        ports: Where the servers listen.
    """

    def __init__(self, fediverse: Fediverse, origins: list[Origin]) -> None:
        self.fediverse = fediverse
        self._origins = origins
        self.ports = tuple(sorted({origin.port for origin in origins}))

    @staticmethod
    @contextlib.asynccontextmanager
    async def open() -> AsyncIterator[World]:
        """Open all servers."""
        _allow_descriptors()
        async with Fediverse(SystemClock()) as fediverse:
            hosts = (f"127.{n // _A_NET + 1}.1.{n % _A_NET + 1}" for n in range(_ORIGINS))
            origins = [await fediverse.open_origin(host=host) for host in hosts]
            yield World(fediverse, origins)

    def take_origin(self) -> Origin:
        """Return a server that no other test uses."""
        return self._origins.pop()


def _allow_descriptors() -> None:
    """Ask for as many descriptors as the servers and their connections may take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _DESCRIPTORS:
        most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A relay with everything around it.

    Attributes:
        world: The remote servers.
        backend: The server behind the relay.
        relay: The relay's process.
        database: A pool of our own on the relay's database.
    """

    world: World
    backend: RecordingBackend
    relay: RelayProcess | InsideRelay
    database: Database

    def take_origin(self) -> Origin:
        """Return a server that no other test uses."""
        return self.world.take_origin()

    def sign(self, actor: Actor, activity: object, *, target: str = "/inbox") -> RequestMessage:
        """Build a delivery, signed now; `activity` may be the bytes of one."""
        return self.world.fediverse.sign_and_build(actor, activity, self.relay.door + target)

    async def send(self, message: RequestMessage) -> WireResponse:
        """Send a request to the relay byte for byte."""
        return await send(message, host="127.0.0.1", port=self.relay.port)

    async def deliver(self, actor: Actor, activity: object, *, target: str = "/inbox") -> WireResponse:
        """Deliver an activity, signed now."""
        return await self.send(self.sign(actor, activity, target=target))

    async def wait_for_backend(self, body: object) -> WireRequest:
        """Wait until the backend got a delivery of this document, or of these bytes."""
        wanted = body if isinstance(body, bytes) else json.dumps(body).encode()
        await wait_for_bodies(self.backend, wanted)
        return next(request for request in self.backend.requests if request.body == wanted)

    def has_reached_backend(self, body: object) -> bool:
        """Tell whether the backend got a delivery of this document, or of these bytes."""
        return (body if isinstance(body, bytes) else json.dumps(body).encode()) in self.backend.bodies

    async def wait_for_state(self, activity: object, *states: State) -> StoredDelivery:
        """Wait until the newest delivery of an activity is in one of the states; at rest by default."""
        return await wait_for_state(self.database, activity, *states)

    async def cases_of(self, stored: StoredDelivery) -> tuple[cases.Case, ...]:
        """List the cases of a delivery."""
        async with self.database.connection() as conn:
            return await cases.list_cases_of(conn, stored.id)

    async def wait_for_attestation(self, data: bytes) -> attestations.StoredAttestation:
        """Wait until there is an attestation for these bytes."""

        async def find() -> attestations.StoredAttestation | None:
            return await self.find_attestation(data)

        return await wait_until(find, "an attestation")

    async def find_attestation(self, data: bytes) -> attestations.StoredAttestation | None:
        """Find the newest attestation for these bytes."""
        digest, profile = hashlib.sha256(data).digest(), f"{self.relay.base_url}/profiles/image-1"
        async with self.database.connection() as conn:
            return await attestations.find_newest(conn, digest, profile)


@contextlib.asynccontextmanager
async def open_scene(world: World, **settings: str) -> AsyncIterator[Scene]:
    """Run a relay with a backend of its own."""
    async with (
        RecordingBackend.open() as backend,
        open_relay_process(backend_url=backend.url, ports=world.ports, **settings) as relay,
        open_database(relay.dsn, min_size=1, max_size=2) as database,
    ):
        yield Scene(world=world, backend=backend, relay=relay, database=database)


async def wait_until(find: Callable[[], Awaitable[T | None]], what: str) -> T:
    """Ask until there is an answer."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = await find()
                if found is not None:
                    return found
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}") from None


async def wait_for_bodies(backend: RecordingBackend, *bodies: bytes) -> None:
    """Wait until the backend got a delivery with each of these bodies."""
    async with asyncio.timeout(PATIENCE_SECONDS), backend._arrived:
        await backend._arrived.wait_for(lambda: set(bodies) <= set(backend.bodies))


async def wait_for_state(database: Database, activity: object, *states: State) -> StoredDelivery:
    """Wait until the newest delivery of an activity is in one of the states; at rest by default."""
    wanted = states or tuple(RESTING)
    assert isinstance(activity, dict)

    async def find() -> StoredDelivery | None:
        async with database.connection() as conn:
            stored = await delivery_lists.find_by_activity(conn, activity["id"])
        return stored if stored is not None and stored.state in wanted else None

    return await wait_until(find, f"a delivery in {sorted(wanted)}")


async def expire_leases(database: Database) -> None:
    """End the leases that a killed process left behind, as if their time had passed."""
    async with database.connection() as conn:
        for state in WORKING_STATES:
            for summary in await delivery_lists.list_deliveries(conn, state, limit=1000):
                stored = await delivery_lists.find_delivery(conn, summary.id)
                assert stored is not None
                assert stored.worker is not None
                await deliveries.extend_lease(
                    conn, stored.id, worker=stored.worker, lease=timedelta(), now=SystemClock().now()
                )
        await notify(conn, deliveries.CHANNEL)
