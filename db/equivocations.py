"""Keep the pairs of statements by which a peer was found to say two things under one name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection

MOST_KEPT: Final = 16
"""How many pairs are kept of one peer: one proves it, and each may take 16 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivocation:
    """Two different statements under one name, both signed by the keys that we admitted for their issuer.

    Attributes:
        issuer: The actor that made both.
        attestation_id: The name that both bear.
        first: The signed bytes that came first.
        first_key_id: The key that they are signed with.
        first_multikey: That key.
        second: The signed bytes that came later.
        second_key_id: The key that they are signed with.
        second_multikey: That key.
        found_at: When the second came.
    """

    issuer: str
    attestation_id: str
    first: bytes
    first_key_id: str
    first_multikey: str
    second: bytes
    second_key_id: str
    second_multikey: str
    found_at: datetime


_KEEP_EQUIVOCATION: Final = """-- keep_equivocation
INSERT INTO equivocations (
    issuer, attestation_id, first, first_key_id, first_multikey, second, second_key_id, second_multikey,
    found_at
)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
WHERE (SELECT count(*) FROM equivocations AS e WHERE e.issuer = $1) < $10
ON CONFLICT (issuer, attestation_id) DO NOTHING
RETURNING attestation_id
"""


async def keep_equivocation(conn: Connection, pair: Equivocation) -> bool:
    """Keep a pair; False where one of that name is kept, or enough of that peer.

    The caller owes: the peer's row is locked, or its number is no bound.
    """
    return (
        await conn.fetchval(
            _KEEP_EQUIVOCATION,
            pair.issuer,
            pair.attestation_id,
            pair.first,
            pair.first_key_id,
            pair.first_multikey,
            pair.second,
            pair.second_key_id,
            pair.second_multikey,
            pair.found_at,
            MOST_KEPT,
        )
        is not None
    )


_LIST_EQUIVOCATIONS: Final = """-- list_equivocations
SELECT
    e.issuer, e.attestation_id, e.first, e.first_key_id, e.first_multikey, e.second, e.second_key_id,
    e.second_multikey, e.found_at
FROM equivocations AS e
WHERE e.issuer = $1
ORDER BY e.found_at, e.attestation_id
"""


async def list_equivocations(conn: Connection, issuer: str) -> tuple[Equivocation, ...]:
    """List what is kept of one peer, a handful at the most, the oldest first."""
    return tuple(Equivocation(**row) for row in await conn.fetch(_LIST_EQUIVOCATIONS, issuer))
