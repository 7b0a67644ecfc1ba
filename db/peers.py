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


class Following(StrEnum):
    """How far one side has come with reading the other's feed."""

    NO = "no"
    ASKED = "asked"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another relay.

    Attributes:
        actor: The id of its actor.
        domain: The domain that the admin knows it by.
        tier: How far it is relied on.
        key_id: The id of the key that signs what it asks and answers; None until it is fetched. The keys that
            sign attestations are in `db.peer_keys`.
        multikey: That key; None until it is fetched.
        added_at: When it was added.
        updated_at: When its record last changed.
        note: The admin's own words.
        inbox: Where it takes activities.
        api_url: Where its API is; empty until it is discovered.
        trust_group: Operator, registrable domain and network: what is counted once where votes are counted.
        they_follow: Whether it asked to read our feed, and may.
        their_follow: The id of its Follow.
        we_follow: Whether we asked to read its feed, and may.
        our_follow: The id of our Follow.
        feed_cursor: Up to where its feed was read; None before the first time.
        feed_read_at: When that was.
        lost_past_at: When it lost a part of its past, as one does that was set up anew from a copy; once in a
            month at the most.
        alerts: The categories for which alerts are exchanged.
        alert_key: The key of the pair that they are sealed with, 32 bytes.
    """

    actor: str
    domain: str
    tier: Tier
    added_at: datetime
    updated_at: datetime
    key_id: str | None = None
    multikey: str | None = None
    note: str = ""
    inbox: str = ""
    api_url: str = ""
    trust_group: str = ""
    they_follow: Following = Following.NO
    their_follow: str = ""
    we_follow: Following = Following.NO
    our_follow: str = ""
    feed_cursor: int | None = None
    feed_read_at: datetime | None = None
    lost_past_at: datetime | None = None
    alerts: tuple[str, ...] = ()
    alert_key: bytes | None = None


_PEER: Final = """
    p.actor, p.domain, p.tier, p.key_id, p.multikey, p.added_at, p.updated_at, p.note, p.inbox, p.api_url,
    p.trust_group, p.they_follow, p.their_follow, p.we_follow, p.our_follow, p.feed_cursor, p.feed_read_at,
    p.lost_past_at, p.alerts, p.alert_key
"""

_PUT_PEER: Final = """-- put_peer
INSERT INTO peers (
    actor, domain, tier, key_id, multikey, added_at, updated_at, note, inbox, api_url, trust_group
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (actor) DO UPDATE
SET domain = excluded.domain, tier = excluded.tier, key_id = excluded.key_id,
    multikey = excluded.multikey, updated_at = excluded.updated_at, note = excluded.note,
    inbox = excluded.inbox, api_url = excluded.api_url, trust_group = excluded.trust_group
"""


async def put_peer(conn: Connection, peer: Peer) -> None:
    """Store what was found out about a peer; when it was added, follows, cursor and alerts stay."""
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
        peer.inbox,
        peer.api_url,
        peer.trust_group,
    )


_FIND_PEER: Final = f"""-- find_peer
SELECT {_PEER} FROM peers AS p WHERE p.actor = $1
"""  # noqa: S608 (the columns are a constant of this file)


async def find_peer(conn: Connection, actor: str) -> Peer | None:
    """Find a peer by its actor."""
    row = await conn.fetchrow(_FIND_PEER, actor)
    return None if row is None else _build_peer(row)


_LOCK_PEER: Final = f"""-- lock_peer
SELECT {_PEER} FROM peers AS p WHERE p.actor = $1 FOR UPDATE
"""  # noqa: S608 (the columns are a constant of this file)


async def lock_peer(conn: Connection, actor: str) -> Peer | None:
    """Find a peer and keep others from changing it until the caller's transaction ends."""
    row = await conn.fetchrow(_LOCK_PEER, actor)
    return None if row is None else _build_peer(row)


_LIST_PEERS: Final = f"""-- list_peers
SELECT {_PEER} FROM peers AS p ORDER BY p.domain, p.actor
"""  # noqa: S608 (the columns are a constant of this file)


async def list_peers(conn: Connection) -> tuple[Peer, ...]:
    """List the peers by domain; an admin adds each by hand, so they are few."""
    return tuple(_build_peer(row) for row in await conn.fetch(_LIST_PEERS))


_LIST_APPROVED: Final = f"""-- list_approved
SELECT {_PEER} FROM peers AS p WHERE p.tier IN ('probation', 'trusted', 'allied') ORDER BY p.actor
"""  # noqa: S608 (the columns are a constant of this file)


async def list_approved(conn: Connection) -> tuple[Peer, ...]:
    """List the peers whose word is worth something, or may come to be."""
    return tuple(_build_peer(row) for row in await conn.fetch(_LIST_APPROVED))


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
    return Peer(
        **{
            **row,
            "tier": Tier(row["tier"]),
            "they_follow": Following(row["they_follow"]),
            "we_follow": Following(row["we_follow"]),
            "alerts": tuple(row["alerts"]),
        }
    )
