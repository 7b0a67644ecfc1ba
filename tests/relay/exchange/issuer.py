"""Another relay that attests, as far as its words go: a key, an actor, and what it signs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

from db import attestations, peer_keys, peers, standings
from db.attestations import StoredRevocation
from db.peer_keys import PeerKey
from db.peers import Peer, Tier
from relay.exchange.standings import build_stored
from relay.trust import Standing
from signatures.attestation import AttestationBody, Coverage, build_attestation
from signatures.keys import generate_ed25519
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from db.pool import Database
    from signatures.keys import PrivateKey

PROFILE = "image-1"
STATE = hashlib.sha256(b"state").digest()
_numbers: Iterator[int] = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A relay that attests.

    Attributes:
        domain: Its own, under which it has its actor.
        server: The server that it stands for, if that is another.
    """

    domain: str = "alpha.example"
    server: str = ""
    key: PrivateKey = field(default_factory=generate_ed25519)

    @property
    def base_url(self) -> str:
        return f"https://relay.{self.domain}"

    @property
    def actor(self) -> str:
        return f"{self.base_url}/actor"

    @property
    def key_id(self) -> str:
        return f"{self.actor}#{self.key.public.to_multikey()}"

    @property
    def profile(self) -> str:
        return f"{self.base_url}/profiles/{PROFILE}"

    def body(self, data: bytes, **changes: object) -> AttestationBody:
        made = AttestationBody(
            id=f"{self.base_url}/attestations/{next(_numbers)}",
            issuer=self.actor,
            audience=f"{self.actor}/peers",
            published=START,
            end_time=START + timedelta(days=1),
            salt=bytes(16),
            sha256=hashlib.sha256(data).digest(),
            size=len(data),
            media_type="image/png",
            coverage=Coverage.FULL,
            profile=self.profile,
            state_as_of=START - timedelta(days=1),
            state_sha256=STATE,
        )
        return replace(made, **changes)  # type: ignore[arg-type]  # the tests name the fields

    def attest(self, data: bytes, **changes: object) -> bytes:
        return self.sign(self.body(data, **changes))

    def sign(self, body: AttestationBody) -> bytes:
        return build_attestation(body, key=self.key, verification_method=self.key_id)

    async def introduce(self, database: Database, *, tier: Tier = Tier.PROBATION) -> None:
        """Make it a peer, with its key."""
        async with database.connection() as conn:
            await peers.put_peer(
                conn,
                Peer(
                    actor=self.actor,
                    domain=self.server or self.domain,
                    tier=tier,
                    added_at=START,
                    updated_at=START,
                    trust_group=self.domain,
                    api_url=f"{self.base_url}/api/v1",
                ),
            )
        await self.admit_key(database)

    async def admit_key(
        self, database: Database, *, expires_at: datetime | None = None, revoked_at: datetime | None = None
    ) -> None:
        async with database.connection() as conn:
            await peer_keys.put_peer_key(
                conn,
                PeerKey(
                    key_id=self.key_id,
                    actor=self.actor,
                    multikey=self.key.public.to_multikey(),
                    admitted_at=START,
                    expires_at=expires_at,
                    revoked_at=revoked_at,
                ),
            )

    async def stand(self, database: Database, standing: Standing) -> None:
        """Say how far it has come."""
        async with database.connection() as conn:
            await standings.put_standing(
                conn, build_stored(standing, actor=self.actor, profile=self.profile, key_id=self.key_id)
            )

    async def find_standing(self, database: Database) -> standings.StoredStanding | None:
        async with database.connection() as conn:
            return await standings.find_standing(conn, self.actor, self.profile, self.key_id)

    async def find_tier(self, database: Database) -> Tier:
        async with database.connection() as conn:
            peer = await peers.find_peer(conn, self.actor)
        assert peer is not None
        return peer.tier

    async def take_back(
        self, database: Database, *, scope: str, subject: str, published: datetime = START
    ) -> None:
        """Revoke, as it is stored once it was verified."""
        async with database.connection() as conn:
            await attestations.put_revocation(
                conn,
                StoredRevocation(
                    id=f"{self.base_url}/revocations/{next(_numbers)}",
                    issuer=self.actor,
                    scope=scope,
                    subject=subject,
                    published=published,
                    received_at=published,
                    object=b"{}",
                ),
            )


def trusted(*, credit: float = 200.0) -> Standing:
    """Build the standing of a peer that has earned its trust."""
    return Standing(
        tier=Tier.TRUSTED, updated_at=START, credit=credit, audits=int(credit), agreements=int(credit)
    )
