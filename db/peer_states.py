"""Keep what peers tell us in confidence of their scanners; none of it ever leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection


_PUT_PEER_STATE: Final = """-- put_peer_state
INSERT INTO peer_states (actor, state_digest, document, fetched_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (actor, state_digest) DO NOTHING
"""


async def put_peer_state(
    conn: Connection, actor: str, *, state_digest: bytes, document: dict[str, Any], now: datetime
) -> None:
    """Store a peer's description of its scanner; that it has this digest is the caller's to check."""
    await conn.execute(_PUT_PEER_STATE, actor, state_digest, document, now)


_FIND_PEER_STATE: Final = """-- find_peer_state
SELECT s.document FROM peer_states AS s WHERE s.actor = $1 AND s.state_digest = $2
"""


async def find_peer_state(conn: Connection, actor: str, state_digest: bytes) -> dict[str, Any] | None:
    """Find a peer's description of its scanner; None where it was not fetched."""
    document: dict[str, Any] | None = await conn.fetchval(_FIND_PEER_STATE, actor, state_digest)
    return document


_PURGE_PEER_STATES: Final = """-- purge_peer_states
DELETE FROM peer_states AS s
WHERE (s.actor, s.state_digest) IN (
    SELECT o.actor, o.state_digest FROM peer_states AS o
    WHERE o.fetched_at < $1
    ORDER BY o.fetched_at
    LIMIT $2
)
RETURNING 1 AS one
"""


async def purge_peer_states(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete what was fetched before a time; return how many."""
    return len(await conn.fetch(_PURGE_PEER_STATES, before, limit))
