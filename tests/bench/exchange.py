"""What relays ask each other: a whole feed taken over, and single look-ups in a table of a million.

The relay that answers is a process of its own with the embedded database, its fsync on, as an admin would
run it. The one that asks is the same reader and client that relays run, in this process, on another such
database. Everything goes over HTTP on this machine, signed and verified on both sides; every attestation
differs from all others, and its signature is verified by itself before it is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

from db import mirror, peer_keys, peering, peers
from db.embedded import open_postgres
from db.migrate import migrate
from db.peers import Following, Peer, Tier
from db.pool import open_database
from relay.clock import SystemClock
from relay.exchange.client import PeerClient
from relay.exchange.reader import FeedReader, ReaderTools
from relay.exchange.signing import create_peer_signer
from relay.tools.fetching import open_guarded_client
from relay.tools.identity import Identity
from relay.tools.key_files import load_or_create_keys
from relay.tools.policy import FetchPolicy
from signatures.attestation import AttestationBody, Coverage, build_attestation
from signatures.keys import generate_ed25519, generate_rsa
from tests.bench.line_relay import RelayProcess, open_relay_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from datetime import datetime

    from db.feed import FeedItem
    from db.pool import Connection, Database

NAMES: Final = ("feed_mirror_s", "lookup_p99_ms")

FEED_OBJECTS: Final = 100_000
FEED_TARGET_S: Final = 60.0
LIVE: Final = 1_000_000
LOOKUP_TARGET_MS: Final = 20.0
LOOKUPS: Final = 2_000
WARM_UP: Final = 200
# So many ask at once, as a relay does for the attachments of a few deliveries.
AT_ONCE: Final = 2

_LOOK_EVERY_S: Final = 0.25
_LIFE: Final = timedelta(days=7)
_POLICY: Final = FetchPolicy(allow_http=True, ports=None, allow_private=(ip_network("127.0.0.0/8"),))
_SETTINGS: Final = {"BREAKWATER_EXCHANGE_LOOKUPS_PER_MINUTE": "1000000"}


def run() -> Iterator[dict[str, object]]:
    """Measure both."""
    yield asyncio.run(measure_feed())
    yield asyncio.run(measure_lookups())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two relays that know each other.

    Attributes:
        answering: Who the one is that answers.
        answers_from: A connection to its database.
        database: That of the one that asks.
        client: Asks.
        peer: The one that answers, as the other knows it.
    """

    answering: Identity
    answers_from: asyncpg.Connection[asyncpg.Record]
    database: Database
    client: PeerClient
    peer: Peer


async def measure_feed() -> dict[str, object]:
    """Let one relay take over the feed of another, and say how long it took until all was stored."""
    async with open_pair() as pair:
        now = SystemClock().now().replace(microsecond=0)
        await fill_feed(pair, build_attestations(pair.answering, FEED_OBJECTS, now=now), now=now)
        reader = FeedReader(
            ReaderTools(
                database=pair.database,
                client=pair.client,
                clock=SystemClock(),
                refresh=_find_no_new_keys,
                take=_expect_none,
                allow_http=True,
            )
        )
        seconds = await time_until_mirrored(pair.database, reader)
    return {
        "name": "feed_mirror_s",
        "value": round(seconds, 1),
        "unit": "s",
        "target": f"<= {FEED_TARGET_S:.0f} s for {FEED_OBJECTS:,} objects",
        "holds": seconds <= FEED_TARGET_S,
        "objects_per_s": round(FEED_OBJECTS / seconds),
    }


async def time_until_mirrored(database: Database, reader: FeedReader) -> float:
    """Run a reader from the first page to the last object, and return the seconds."""
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(reader.run())
        try:
            async with asyncio.timeout(FEED_TARGET_S * 10), database.connection() as conn:
                while await mirror.count_all(conn, limit=FEED_OBJECTS) < FEED_OBJECTS:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_EVERY_S)
            return time.perf_counter() - began
        finally:
            reader.stop()


def build_attestations(identity: Identity, count: int, *, now: datetime) -> list[bytes]:
    """Sign so many attestations about different bytes."""
    return [
        build_attestation(
            AttestationBody(
                id=f"{identity.base_url}/attestations/{number:026d}",
                issuer=identity.actor,
                audience=identity.peers_collection,
                published=now,
                end_time=now + _LIFE,
                salt=number.to_bytes(16, "big"),
                sha256=digest_of(number),
                size=number + 1,
                media_type="image/jpeg",
                coverage=Coverage.FULL,
                profile=identity.profile("image-1"),
                state_as_of=now,
                state_sha256=bytes(32),
            ),
            key=identity.signing_key,
            verification_method=identity.verification_method,
        )
        for number in range(count)
    ]


def digest_of(number: int) -> bytes:
    """Return the digest of made-up bytes."""
    return hashlib.sha256(str(number).encode()).digest()


async def fill_feed(pair: Pair, objects: Sequence[bytes], *, now: datetime) -> None:
    """Put objects into the feed of the relay that answers, visible already."""
    rows = [(number, "attestation", None, now, now, one) for number, one in enumerate(objects, start=1)]
    async with pair.answers_from.transaction():
        await pair.answers_from.copy_records_to_table(
            "feed", records=rows, columns=("seq", "kind", "peer", "visible_at", "created_at", "object")
        )
        await pair.answers_from.execute("UPDATE feed_counter SET next_seq = $1", len(objects) + 1)


async def measure_lookups() -> dict[str, object]:
    """Ask for single digests, half of which are known, and say how long the slowest hundredth takes."""
    async with open_pair() as pair:
        await fill_table(pair)
        durations: list[float] = []
        numbers = iter(range(WARM_UP + LOOKUPS))

        async def ask() -> None:
            for number in numbers:
                # Every other one is unknown; the known ones lie all over the table.
                digest = digest_of(number * 997 % LIVE + LIVE * (number % 2))
                began = time.perf_counter()
                found = await pair.client.lookup(pair.peer, [digest])
                durations.append(time.perf_counter() - began)
                if not isinstance(found, tuple) or len(found) != 1 - number % 2:
                    raise AssertionError(f"look-up {number} was answered with {found}")

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(ask())
    measured = sorted(durations[WARM_UP:])
    p99 = measured[len(measured) * 99 // 100] * 1_000
    return {
        "name": "lookup_p99_ms",
        "value": round(p99, 2),
        "unit": "ms",
        "target": f"<= {LOOKUP_TARGET_MS:.0f} ms at {LIVE:,} live attestations",
        "holds": p99 <= LOOKUP_TARGET_MS,
        "p50_ms": round(statistics.median(measured) * 1_000, 2),
    }


# One real object for all rows: nothing reads it on this side, and every row is as long as in real life.
_FILL: Final = """
INSERT INTO attestations (
    id, sha256, profile, state_digest, published, end_time, is_withheld_share, audience, object
)
SELECT n::text, sha256(n::text::bytea), $1, $2, $3, $4, false, 'public', $5
FROM generate_series(0, $6::bigint - 1) AS n
"""


async def fill_table(pair: Pair) -> None:
    """Store so many live attestations with the relay that answers."""
    now = SystemClock().now().replace(microsecond=0)
    (signed,) = build_attestations(pair.answering, 1, now=now)
    profile = pair.answering.profile("image-1")
    await pair.answers_from.execute(_FILL, profile, bytes(32), now, now + _LIFE, signed, LIVE, timeout=900)
    # What autovacuum would have done meanwhile, had they come one by one.
    await pair.answers_from.execute("VACUUM ANALYZE attestations", timeout=900)


@contextlib.asynccontextmanager
async def open_pair() -> AsyncIterator[Pair]:
    """Open a relay that answers and the side of one that asks, as accepted followers of each other."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        relay = await enter(open_relay_process(backend_url="http://127.0.0.1:9", settings=_SETTINGS))
        answering = read_identity(relay)
        asking = Identity(
            base_url="http://127.0.0.1:9/breakwater",
            http_key=generate_rsa(),
            signing_key=generate_ed25519(),
            api_key=generate_ed25519(),
            secret=bytes(32),
        )
        answers_from = await asyncpg.connect(relay.dsn)
        stack.push_async_callback(answers_from.close)
        await introduce(answers_from, asking, they_follow=Following.ACCEPTED, we_follow=Following.NO)
        directory = stack.enter_context(make_directory())
        database = await enter(open_database(await enter(open_postgres(directory))))
        async with database.connection() as conn:
            await migrate(conn)
            await introduce(conn, answering, they_follow=Following.NO, we_follow=Following.ACCEPTED)
            peer = await peers.find_peer(conn, answering.actor)
        if peer is None:
            raise AssertionError("the peer was just added")
        clock = SystemClock()
        client = await enter(open_guarded_client(_POLICY, clock))
        yield Pair(
            answering=answering,
            answers_from=answers_from,
            database=database,
            client=PeerClient(client=client, signer=create_peer_signer(asking, clock), clock=clock),
            peer=peer,
        )


@contextlib.contextmanager
def make_directory() -> Iterator[Path]:
    """Make a directory that the database server's unprivileged user can enter, too."""
    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory


def read_identity(relay: RelayProcess) -> Identity:
    """Take a relay's identity from its data directory."""
    keys = load_or_create_keys(relay.data_dir)
    return Identity(
        base_url=f"http://127.0.0.1:{relay.port}/breakwater",
        http_key=keys.http_key,
        signing_key=keys.signing_key,
        secret=keys.secret,
        api_key=keys.api_key,
    )


async def introduce(
    conn: Connection, identity: Identity, *, they_follow: Following, we_follow: Following
) -> None:
    """Let a relay know another one as an admin's approval would."""
    if identity.api_key is None:
        raise AssertionError("the relay that answers has made its keys")
    now = SystemClock().now()
    multikey = identity.api_key.public.to_multikey()
    await peers.put_peer(
        conn,
        Peer(
            actor=identity.actor,
            domain="peer.example",
            tier=Tier.PROBATION,
            added_at=now,
            updated_at=now,
            key_id=f"{identity.actor}#{multikey}",
            multikey=multikey,
            api_url=identity.api_url,
        ),
    )
    await peer_keys.put_peer_key(
        conn,
        peer_keys.PeerKey(
            key_id=identity.verification_method,
            actor=identity.actor,
            multikey=identity.signing_key.public.to_multikey(),
            admitted_at=now,
        ),
    )
    await peering.set_they_follow(conn, identity.actor, to=they_follow, follow_id="", now=now)
    await peering.set_we_follow(conn, identity.actor, to=we_follow, follow_id="", now=now)


async def _find_no_new_keys(_actor: str) -> bool:
    return False


async def _expect_none(_peer: Peer, item: FeedItem, *, now: datetime) -> None:
    raise AssertionError(f"{item.kind} at {now} in a feed of attestations alone")
