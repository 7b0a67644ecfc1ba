"""Keep how far each peer is relied on, under each profile and key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db.peers import Tier

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStanding:
    """A standing as `relay.trust` computes it; the meaning of the numbers is explained there."""

    actor: str
    profile: str
    key_id: str
    tier: Tier
    log_ratio: float
    credit: float
    audits: int
    agreements: int
    scrutiny: int
    updated_at: datetime


_STANDING: Final = """
    s.actor, s.profile, s.key_id, s.tier, s.log_ratio, s.credit, s.audits, s.agreements, s.scrutiny,
    s.updated_at
"""

_FIND_STANDING: Final = f"""-- find_standing
SELECT {_STANDING} FROM standings AS s WHERE s.actor = $1 AND s.profile = $2 AND s.key_id = $3
"""  # noqa: S608 (the columns are a constant of this file)


async def find_standing(conn: Connection, actor: str, profile: str, key_id: str) -> StoredStanding | None:
    """Find a standing; None for a peer that nothing is known of under this profile and key."""
    row = await conn.fetchrow(_FIND_STANDING, actor, profile, key_id)
    return None if row is None else _build_standing(row)


_LOCK_STANDING: Final = f"""-- lock_standing
SELECT {_STANDING} FROM standings AS s WHERE s.actor = $1 AND s.profile = $2 AND s.key_id = $3 FOR UPDATE
"""  # noqa: S608 (the columns are a constant of this file)


async def lock_standing(conn: Connection, actor: str, profile: str, key_id: str) -> StoredStanding | None:
    """Find a standing and keep others from changing it until the caller's transaction ends."""
    row = await conn.fetchrow(_LOCK_STANDING, actor, profile, key_id)
    return None if row is None else _build_standing(row)


_LIST_STANDINGS: Final = f"""-- list_standings
SELECT {_STANDING} FROM standings AS s
WHERE $1::text IS NULL OR s.actor = $1
ORDER BY s.actor, s.profile, s.updated_at DESC
"""  # noqa: S608 (the columns are a constant of this file)


async def list_standings(conn: Connection, actor: str | None = None) -> tuple[StoredStanding, ...]:
    """List the standings of one peer, or of all; each peer has a handful."""
    return tuple(_build_standing(row) for row in await conn.fetch(_LIST_STANDINGS, actor))


_PUT_STANDING: Final = """-- put_standing
INSERT INTO standings (
    actor, profile, key_id, tier, log_ratio, credit, audits, agreements, scrutiny, updated_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (actor, profile, key_id) DO UPDATE
SET tier = excluded.tier, log_ratio = excluded.log_ratio, credit = excluded.credit, audits = excluded.audits,
    agreements = excluded.agreements, scrutiny = excluded.scrutiny, updated_at = excluded.updated_at
"""


async def put_standing(conn: Connection, standing: StoredStanding) -> None:
    """Store a standing in place of the earlier one; lock it before it is read to be changed."""
    await conn.execute(
        _PUT_STANDING,
        standing.actor,
        standing.profile,
        standing.key_id,
        standing.tier,
        standing.log_ratio,
        standing.credit,
        standing.audits,
        standing.agreements,
        standing.scrutiny,
        standing.updated_at,
    )


_SET_TIERS: Final = """-- set_tiers
UPDATE standings AS s
SET tier = $2, log_ratio = 0, credit = 0, scrutiny = 0, updated_at = $3
WHERE s.actor = $1
RETURNING s.actor
"""


async def set_tiers(conn: Connection, actor: str, *, to: Tier, now: datetime) -> int:
    """Set every standing of a peer to a tier by hand, its credit to nothing; return how many."""
    return len(await conn.fetch(_SET_TIERS, actor, to, now))


def _build_standing(row: asyncpg.Record) -> StoredStanding:
    return StoredStanding(**{**row, "tier": Tier(row["tier"])})
