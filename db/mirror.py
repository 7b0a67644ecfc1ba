"""Keep what peers attest, as they signed it, to be found by the digest of the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroredAttestation:
    """A peer's attestation, verified when it came in.

    Attributes:
        id: Its address.
        issuer: The actor that issued it.
        key_id: The key that verified it.
        sha256: The digest of the bytes it speaks of, 32 bytes.
        profile: The policy it was made under.
        state_digest: The digest of the issuer's salted state, 32 bytes.
        as_of: Since when that state holds.
        published: When its issuer says that it was issued.
        end_time: When it ends.
        received_at: When we had it: the only time that a stolen key cannot change.
        object: The signed bytes, never re-serialized.
    """

    id: str
    issuer: str
    key_id: str
    sha256: bytes
    profile: str
    state_digest: bytes
    as_of: datetime
    published: datetime
    end_time: datetime
    received_at: datetime
    object: bytes


_MIRRORED: Final = """
    m.id, m.issuer, m.key_id, m.sha256, m.profile, m.state_digest, m.as_of, m.published, m.end_time,
    m.received_at, m.object
"""

_COLUMNS: Final = (
    "id",
    "issuer",
    "key_id",
    "sha256",
    "profile",
    "state_digest",
    "as_of",
    "published",
    "end_time",
    "received_at",
    "object",
)

_PUT_MIRRORED: Final = """-- put_mirrored
INSERT INTO mirror (
    id, issuer, key_id, sha256, profile, state_digest, as_of, published, end_time, received_at, object
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::bytea[], $7::timestamptz[],
    $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::bytea[]
)
ON CONFLICT (id) DO NOTHING
RETURNING id
"""


async def put_mirrored(conn: Connection, attestations: Sequence[MirroredAttestation]) -> int:
    """Store verified attestations; what is there already stays as it is. Return how many were new."""
    columns = [[getattr(one, name) for one in attestations] for name in _COLUMNS]
    return len(await conn.fetch(_PUT_MIRRORED, *columns))


_FIND_MIRRORED: Final = f"""-- find_mirrored
SELECT {_MIRRORED} FROM mirror AS m
WHERE m.sha256 = $1 AND m.end_time > $2
ORDER BY m.published DESC, m.id
LIMIT $3
"""  # noqa: S608 (the columns are a constant of this file)


async def find_mirrored(
    conn: Connection, sha256: bytes, *, now: datetime, limit: int = 32
) -> tuple[MirroredAttestation, ...]:
    """Find what has not ended yet about some bytes, newest first.

    Whether it was revoked, and whether its issuer is relied on, is not checked here.
    """
    return tuple(MirroredAttestation(**row) for row in await conn.fetch(_FIND_MIRRORED, sha256, now, limit))


_LIST_MIRRORED: Final = f"""-- list_mirrored
SELECT {_MIRRORED} FROM mirror AS m WHERE m.id = ANY($1::text[])
"""  # noqa: S608 (the columns are a constant of this file)


async def list_mirrored(conn: Connection, ids: Sequence[str]) -> tuple[MirroredAttestation, ...]:
    """List those of these ids that were received before, ended or not."""
    return tuple(MirroredAttestation(**row) for row in await conn.fetch(_LIST_MIRRORED, list(ids)))


_COUNT_MIRRORED: Final = """-- count_mirrored
SELECT m.issuer, count(*) AS count FROM mirror AS m WHERE m.end_time > $1 GROUP BY m.issuer
"""


async def count_mirrored(conn: Connection, *, now: datetime) -> dict[str, int]:
    """Count what has not ended yet, by issuer."""
    return {row["issuer"]: int(row["count"]) for row in await conn.fetch(_COUNT_MIRRORED, now)}


_COUNT_RECEIVED: Final = """-- count_received
SELECT date_trunc('hour', m.received_at, 'UTC') AS hour, count(*) AS count
FROM mirror AS m
WHERE m.issuer = $1 AND m.received_at > $2
GROUP BY hour
"""


async def count_received(conn: Connection, *, issuer: str, since: datetime) -> dict[datetime, int]:
    """Count what came from an issuer since a time, by the hour in which it came."""
    rows = await conn.fetch(_COUNT_RECEIVED, issuer, since)
    return {row["hour"]: int(row["count"]) for row in rows}


_FIND_LAST_RECEIVED: Final = """-- find_last_received
SELECT max(m.received_at) FROM mirror AS m WHERE m.issuer = $1
"""


async def find_last_received(conn: Connection, issuer: str) -> datetime | None:
    """Find when an issuer was last heard of, by whatever way; None if it never was."""
    last: datetime | None = await conn.fetchval(_FIND_LAST_RECEIVED, issuer)
    return last


_COUNT_ALL: Final = """-- count_all
SELECT count(*) FROM (SELECT FROM mirror LIMIT $1) AS m
"""


async def count_all(conn: Connection, *, limit: int) -> int:
    """Count everything, ended or not, up to a limit."""
    count: int = await conn.fetchval(_COUNT_ALL, limit)
    return count


_DELETE_MIRRORED: Final = """-- delete_mirrored
DELETE FROM mirror AS m
WHERE m.id IN (
    SELECT o.id FROM mirror AS o
    WHERE o.issuer = $1
        AND ($2::text IS NULL OR o.key_id = $2)
        AND ($3::timestamptz IS NULL OR o.received_at >= $3)
    LIMIT $4
)
RETURNING m.id
"""


async def delete_mirrored(
    conn: Connection,
    *,
    issuer: str,
    limit: int,
    key_id: str | None = None,
    received_from: datetime | None = None,
) -> int:
    """Delete what an issuer attested, of one key or since a time if so asked; return how many."""
    return len(await conn.fetch(_DELETE_MIRRORED, issuer, key_id, received_from, limit))


_PURGE_MIRRORED: Final = """-- purge_mirrored
DELETE FROM mirror AS m
WHERE m.id IN (SELECT o.id FROM mirror AS o WHERE o.end_time < $1 ORDER BY o.end_time LIMIT $2)
RETURNING m.id
"""


async def purge_mirrored(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete what ended before a time; return how many."""
    return len(await conn.fetch(_PURGE_MIRRORED, before, limit))
