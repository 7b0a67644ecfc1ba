"""Two relays that exchange: one that answers on a real port, and one that asks; both keep to one database.

They touch different rows: what we attested and our feed on the one side, cursors and the mirror on the other.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from db import attestations, peer_keys, peering, peers
from db.feed import FeedKind
from db.peers import Following, Peer, Tier
from relay.exchange.client import PeerClient
from relay.exchange.feed_pages import FeedBell, FeedDesk
from relay.exchange.lookups import BucketWidth
from relay.exchange.publisher import publish_objects
from relay.exchange.signing import create_peer_signer
from relay.tools.fetching import open_guarded_client
from relay.tools.limits import FairShare
from relay.web.peer_alerts import AlertDesk, add_alert_route
from relay.web.peer_api import PeerApi, add_peer_routes
from relay.web.peer_door import PeerDoor
from signatures.attestation import AttestationBody, Coverage, build_attestation
from tests.e2e.process import free_ports
from tests.fediverse import send
from tests.fediverse.clock import START
from tests.relay.exchange.conftest import POLICY
from tests.relay.exchange.neighbours import build_identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.pool import Database
    from relay.tools.identity import Identity
    from signatures.message import RequestMessage
    from tests.fediverse import FrozenClock, WireResponse

LIFE = timedelta(days=1)


def digest_of(number: int) -> bytes:
    """Return a digest of made-up bytes; they are spread as real ones are, and the same in every run."""
    return (number * 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95 % 2**256).to_bytes(
        32, "big"
    )


def attest(identity: Identity, number: int, *, name: str = "", profile: str = "image-1") -> bytes:
    """Sign that nothing was found in the bytes of a number."""
    return build_attestation(
        AttestationBody(
            id=f"{identity.base_url}/attestations/{name or number}",
            issuer=identity.actor,
            audience=identity.peers_collection,
            published=START,
            end_time=START + LIFE,
            salt=number.to_bytes(16, "big"),
            sha256=digest_of(number),
            size=number + 1,
            media_type="image/png",
            coverage=Coverage.FULL,
            profile=identity.profile(profile),
            state_as_of=START,
            state_sha256=bytes(32),
        ),
        key=identity.signing_key,
        verification_method=identity.verification_method,
    )


def keep(
    identity: Identity, number: int, *, is_withheld_share: bool = False, audience: str = "public"
) -> attestations.StoredAttestation:
    """Sign the same, as it is stored."""
    return attestations.StoredAttestation(
        id=str(number),
        sha256=digest_of(number),
        profile=identity.profile("image-1"),
        state_digest=bytes(32),
        published=START,
        end_time=START + LIFE,
        is_withheld_share=is_withheld_share,
        audience=audience,
        object=attest(identity, number),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both of them.

    Attributes:
        us: Who answers.
        them: Who asks.
        peer: Who answers, as the one who asks knows it.
        client: Asks.
        api: Answers.
        bell: Wakes who waits for an answer.
    """

    database: Database
    clock: FrozenClock
    us: Identity
    them: Identity
    peer: Peer
    client: PeerClient
    api: PeerApi
    bell: FeedBell

    async def publish(self, *objects: bytes, kind: FeedKind = FeedKind.ATTESTATION) -> None:
        """Put objects into our feed, now."""
        async with self.database.transaction() as conn:
            await publish_objects(conn, kind, objects, now=self.clock.now())

    async def store(self, *kept: attestations.StoredAttestation) -> None:
        """Store what we attested."""
        async with self.database.connection() as conn:
            for one in kept:
                assert await attestations.insert_attestation(conn, one)

    async def promote(self, tier: Tier) -> None:
        """Let us see the one who asks differently."""
        async with self.database.connection() as conn:
            found = await peers.find_peer(conn, self.them.actor)
            assert found is not None
            await peers.set_tier(conn, found.actor, expected=found.tier, to=tier, now=START)

    async def send(self, message: RequestMessage) -> WireResponse:
        """Send a request as it is."""
        parts = urlsplit(self.us.base_url)
        return await send(message, host=parts.hostname or "", port=parts.port or 0)

    async def find_peer(self) -> Peer:
        """Return what the one who asks knows now of who answers."""
        async with self.database.connection() as conn:
            found = await peers.find_peer(conn, self.us.actor)
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def open_sides(
    database: Database, clock: FrozenClock, *, lookups: FairShare | None = None
) -> AsyncIterator[Sides]:
    """Serve one of them, and let it know the other as a follower that it accepted."""
    (port,) = free_ports(1)
    us = build_identity(f"http://127.0.0.1:{port}/breakwater", 1)
    them = build_identity("http://them.example/breakwater", 2)
    async with contextlib.AsyncExitStack() as stack:
        bell = FeedBell(database)
        api = PeerApi(
            database=database,
            clock=clock,
            desk=FeedDesk(database=database, clock=clock, bell=bell),
            width=BucketWidth(database),
            lookups=lookups or FairShare(per_second=10, burst=600),
        )
        door = PeerDoor(
            database=database,
            clock=clock,
            signer=create_peer_signer(us, clock),
            base_url=us.base_url,
            trusted_proxies=(),
        )
        application = web.Application()
        add_peer_routes(application, api, door=door, path="/breakwater/api/v1")
        desk = AlertDesk(database=database, clock=clock, recipient=us.actor, allow_http=True)
        add_alert_route(application, desk, door=door, path="/breakwater/api/v1")
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        stack.callback(bell.stop)
        client = await stack.enter_async_context(open_guarded_client(POLICY, clock))
        await _introduce(database, us, they_follow=Following.NO, we_follow=Following.ACCEPTED)
        await _introduce(database, them, they_follow=Following.ACCEPTED, we_follow=Following.NO)
        async with database.connection() as conn:
            peer = await peers.find_peer(conn, us.actor)
        assert peer is not None
        yield Sides(
            database=database,
            clock=clock,
            us=us,
            them=them,
            peer=peer,
            client=PeerClient(client=client, signer=create_peer_signer(them, clock), clock=clock),
            api=api,
            bell=bell,
        )


async def _introduce(
    database: Database, identity: Identity, *, they_follow: Following, we_follow: Following
) -> None:
    assert identity.api_key is not None
    api_key, key = identity.api_key.public.to_multikey(), identity.signing_key.public.to_multikey()
    async with database.connection() as conn:
        await peers.put_peer(
            conn,
            Peer(
                actor=identity.actor,
                domain=urlsplit(identity.actor).netloc,
                tier=Tier.PROBATION,
                added_at=START,
                updated_at=START,
                key_id=f"{identity.actor}#{api_key}",
                multikey=api_key,
                api_url=identity.api_url,
            ),
        )
        await peer_keys.put_peer_key(
            conn,
            peer_keys.PeerKey(
                key_id=identity.verification_method, actor=identity.actor, multikey=key, admitted_at=START
            ),
        )
        await peering.set_they_follow(conn, identity.actor, to=they_follow, follow_id="", now=START)
        await peering.set_we_follow(conn, identity.actor, to=we_follow, follow_id="", now=START)
