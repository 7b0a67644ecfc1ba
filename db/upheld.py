"""Keep what people upheld, for the instance's own lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class NewlyUpheld:
    """Bytes that a person upheld and that are in no own list yet.

    Attributes:
        sha256: Their digest, 32 bytes.
        category: That of the case.
        pictures: Their perceptual hashes, packed by the scanner; None where they are not kept any more.
    """

    sha256: bytes
    category: str
    pictures: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upheld:
    """What an own list says of some bytes.

    Attributes:
        sha256: Their digest, 32 bytes.
        category: What a match means.
        pdq: PDQ hashes, one after the other; empty where their looks are not listed.
    """

    sha256: bytes
    category: str
    pdq: bytes


_LIST_NEW: Final = """-- list_newly_upheld
SELECT r.sha256, c.category, h.pictures
FROM rulings AS r
JOIN LATERAL (
    SELECT o.category FROM cases AS o
    WHERE o.sha256 = r.sha256 AND o.state = 'upheld'
    ORDER BY o.ruled_at DESC, o.id DESC
    LIMIT 1
) AS c ON TRUE
LEFT JOIN media_hashes AS h ON h.sha256 = r.sha256
WHERE r.ruling = 'block' AND NOT EXISTS (SELECT 1 FROM upheld AS u WHERE u.sha256 = r.sha256)
ORDER BY r.sha256
LIMIT $1
"""


async def list_new(conn: Connection, *, limit: int) -> tuple[NewlyUpheld, ...]:
    """List what was upheld since the last time."""
    return tuple(NewlyUpheld(**row) for row in await conn.fetch(_LIST_NEW, limit))


_PUT: Final = """-- put_upheld
INSERT INTO upheld (sha256, category, pdq, noted_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (sha256) DO NOTHING
"""


async def put(conn: Connection, upheld: Upheld, *, now: datetime) -> None:
    """Keep what was upheld."""
    await conn.execute(_PUT, upheld.sha256, upheld.category, upheld.pdq, now)


_DROP_OVERRULED: Final = """-- drop_overruled
DELETE FROM upheld AS u
WHERE NOT EXISTS (SELECT 1 FROM rulings AS r WHERE r.sha256 = u.sha256 AND r.ruling = 'block')
RETURNING u.sha256
"""


async def drop_overruled(conn: Connection) -> int:
    """Forget what a person has thought better of since; return how much."""
    return len(await conn.fetch(_DROP_OVERRULED))


# As in list_newly_upheld: the latest case that was upheld says what it is.
_FOLLOW_CASES: Final = """-- follow_cases
UPDATE upheld AS u SET category = c.category
FROM (
    SELECT DISTINCT ON (o.sha256) o.sha256, o.category FROM cases AS o
    WHERE o.state = 'upheld' AND o.sha256 IN (SELECT k.sha256 FROM upheld AS k)
    ORDER BY o.sha256, o.ruled_at DESC, o.id DESC
) AS c
WHERE u.sha256 = c.sha256 AND u.category <> c.category
RETURNING u.sha256
"""


async def follow_cases(conn: Connection) -> int:
    """Give what was upheld again in another category that category; return how much."""
    return len(await conn.fetch(_FOLLOW_CASES))


_LIST_ALL: Final = """-- list_upheld
SELECT u.sha256, u.category, u.pdq FROM upheld AS u ORDER BY u.category, u.sha256
"""


async def list_all(conn: Connection) -> tuple[Upheld, ...]:
    """List everything that own lists are made of."""
    return tuple(Upheld(**row) for row in await conn.fetch(_LIST_ALL))
