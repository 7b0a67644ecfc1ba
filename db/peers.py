"""Keep the other relays that we know, and how far we rely on each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from db.pool import Connection


class Tier(StrEnum):
    """How far a peer is relied on."""

    UNKNOWN = "unknown"
    PROBATION = "probation"
    TRUSTED = "trusted"
    ALLIED = "allied"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another relay.

    Attributes:
        actor: The id of its actor.
        domain: The domain that the admin knows it by.
        tier: How far it is relied on.
        key_id: The id of the key that signs its attestations; None until it is fetched.
        multikey: That key; None until it is fetched.
        added_at: When it was added.
        updated_at: When its record last changed.
        note: The admin's own words.
    """

    actor: str
    domain: str
    tier: Tier
    added_at: datetime
    updated_at: datetime
    key_id: str | None = None
    multikey: str | None = None
    note: str = ""


_PUT_PEER: Final = """-- put_peer
INSERT INTO peers (actor, domain, tier, key_id, multikey, added_at, updated_at, note)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (actor) DO UPDATE
SET domain = excluded.domain, tier = excluded.tier, key_id = excluded.key_id,
    multikey = excluded.multikey, updated_at = excluded.updated_at, note = excluded.note
"""


async def put_peer(conn: Connection, peer: Peer) -> None:
    """Store a peer; when it was added stays as first stored."""
    await conn.execute(
        _PUT_PEER,
        peer.actor,
        peer.domain,
        peer.tier,
        peer.key_id,
        peer.multikey,
        peer.added_at,
        peer.updated_at,
        peer.note,
    )


_FIND_PEER: Final = """-- find_peer
SELECT p.actor, p.domain, p.tier, p.key_id, p.multikey, p.added_at, p.updated_at, p.note
FROM peers AS p
WHERE p.actor = $1
"""


async def find_peer(conn: Connection, actor: str) -> Peer | None:
    """Find a peer by its actor."""
    row = await conn.fetchrow(_FIND_PEER, actor)
    return None if row is None else _build_peer(row)


_LIST_PEERS: Final = """-- list_peers
SELECT p.actor, p.domain, p.tier, p.key_id, p.multikey, p.added_at, p.updated_at, p.note
FROM peers AS p
ORDER BY p.domain, p.actor
"""


async def list_peers(conn: Connection) -> tuple[Peer, ...]:
    """List the peers by domain; an admin adds each by hand, so they are few."""
    return tuple(_build_peer(row) for row in await conn.fetch(_LIST_PEERS))


_SET_TIER: Final = """-- set_tier
UPDATE peers AS p SET tier = $3, updated_at = $4 WHERE p.actor = $1 AND p.tier = $2 RETURNING p.actor
"""


async def set_tier(conn: Connection, actor: str, *, expected: Tier, to: Tier, now: datetime) -> bool:
    """Move a peer to another tier if it is in the expected one, and tell whether it was."""
    return await conn.fetchval(_SET_TIER, actor, expected, to, now) is not None


_DELETE_PEER: Final = """-- delete_peer
DELETE FROM peers AS p WHERE p.actor = $1 RETURNING p.actor
"""


async def delete_peer(conn: Connection, actor: str) -> bool:
    """Forget a peer; False if it was not known."""
    return await conn.fetchval(_DELETE_PEER, actor) is not None


def _build_peer(row: asyncpg.Record) -> Peer:
    return Peer(**{**row, "tier": Tier(row["tier"])})
