"""Two relays that know each other: we, with a database, and a peer of whom only the keys are at hand."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from db import mirror, peer_keys, peers, reliance, standings
from db.mirror import MirroredAttestation
from db.peer_keys import PeerKey
from db.peers import Peer, Tier
from db.standings import StoredStanding
from signatures.revocation import RevocationBody, Scope, build_revocation
from tests.fediverse.clock import START
from tests.relay.exchange.neighbours import build_identity

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Database
    from db.reliance import Reliance
    from relay.tools.identity import Identity

US = build_identity("https://us.example", 9)
PEER = build_identity("https://peer.example", 1)
OTHER = build_identity("https://other.example", 2)
STATE = bytes([7] * 32)


def profile_of(identity: Identity) -> str:
    return identity.profile("image-1")


async def know(database: Database, identity: Identity = PEER, *, tier: Tier = Tier.TRUSTED) -> Peer:
    """Admit a peer with the key that it signs with, and measure it."""
    api_key = identity.api_key
    assert api_key is not None
    peer = Peer(
        actor=identity.actor,
        domain=identity.base_url.removeprefix("https://"),
        tier=tier,
        added_at=START,
        updated_at=START,
        key_id=f"{identity.actor}#{api_key.public.to_multikey()}",
        multikey=api_key.public.to_multikey(),
        api_url=identity.api_url,
    )
    async with database.transaction() as conn:
        await peers.put_peer(conn, peer)
        await peer_keys.put_peer_key(
            conn,
            PeerKey(
                key_id=identity.verification_method,
                actor=identity.actor,
                multikey=identity.signing_key.public.to_multikey(),
                admitted_at=START,
            ),
        )
        await standings.put_standing(
            conn,
            StoredStanding(
                actor=identity.actor,
                profile=profile_of(identity),
                key_id=identity.verification_method,
                tier=tier,
                log_ratio=0.0,
                credit=200.0,
                audits=200,
                agreements=200,
                scrutiny=0,
                updated_at=START,
            ),
        )
    return peer


async def rely(
    database: Database,
    number: int,
    *,
    identity: Identity = PEER,
    state: bytes = STATE,
    received_at: datetime = START,
    relied_at: datetime = START,
) -> None:
    """Let bytes go on the word of a peer, whose coin said that they are not audited."""
    word = MirroredAttestation(
        id=f"{identity.base_url}/attestations/{number}",
        issuer=identity.actor,
        key_id=identity.verification_method,
        sha256=bytes([number] * 32),
        profile=profile_of(identity),
        state_digest=state,
        as_of=START,
        published=START,
        end_time=START + timedelta(days=1),
        received_at=received_at,
        object=b"{}",
    )
    async with database.connection() as conn:
        await mirror.put_mirrored(conn, [word])
        await reliance.note_reliance(
            conn,
            sha256=word.sha256,
            issuer=word.issuer,
            profile=word.profile,
            key_id=word.key_id,
            attestation_id=word.id,
            url="",
            audit_rate=0.1,
            due_at=None,
            now=relied_at,
        )


async def relied(database: Database, number: int) -> Reliance:
    async with database.connection() as conn:
        (found,) = await reliance.find_reliance(conn, bytes([number] * 32))
    return found


async def is_mirrored(database: Database, number: int, *, identity: Identity = PEER) -> bool:
    async with database.connection() as conn:
        found = await mirror.list_mirrored(conn, [f"{identity.base_url}/attestations/{number}"])
    return bool(found)


def revoke(
    scope: Scope,
    target: str,
    *,
    by: Identity = PEER,
    published: datetime = START,
    name: str = "1",
) -> bytes:
    return build_revocation(
        RevocationBody(
            id=f"{by.base_url}/revocations/{name}",
            issuer=by.actor,
            audience=by.peers_collection,
            published=published,
            scope=scope,
            object=target,
        ),
        key=by.signing_key,
        verification_method=by.verification_method,
    )
