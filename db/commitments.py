"""Keep what the commitments in our attestations are of, until nobody audits them any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection


_PUT_COMMITMENT: Final = """-- put_commitment
INSERT INTO commitments (digest, opening, ends_at) VALUES ($1, $2, $3)
ON CONFLICT (digest) DO NOTHING
"""


async def put_commitment(conn: Connection, *, digest: bytes, opening: bytes, ends_at: datetime) -> None:
    """Store the octets that a commitment is the digest of, with the end of the attestation that has it."""
    await conn.execute(_PUT_COMMITMENT, digest, opening, ends_at)


_FIND_OPENING: Final = """-- find_opening
SELECT c.opening FROM commitments AS c WHERE c.digest = $1
"""


async def find_opening(conn: Connection, digest: bytes) -> bytes | None:
    """Find what a commitment is of; only a peer that has the attestation knows the digest to ask for."""
    opening: bytes | None = await conn.fetchval(_FIND_OPENING, digest)
    return opening


_PURGE_COMMITMENTS: Final = """-- purge_commitments
DELETE FROM commitments AS c
WHERE c.digest IN (SELECT o.digest FROM commitments AS o WHERE o.ends_at < $1 ORDER BY o.ends_at LIMIT $2)
RETURNING 1 AS one
"""


async def purge_commitments(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete those whose attestations ended before a time; return how many."""
    return len(await conn.fetch(_PURGE_COMMITMENTS, before, limit))
