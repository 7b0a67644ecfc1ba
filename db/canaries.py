"""Keep which canaries we drew, and find who attested one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A harmless picture of our own drawing, with bytes that nobody else has until it is shown.

    Attributes:
        sha256: The digest of its bytes, 32 bytes.
        note: What it was drawn for, in the admin's words.
        drawn_by: Who had it drawn.
        drawn_at: When.
    """

    sha256: bytes
    note: str
    drawn_by: str
    drawn_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedCanary:
    """An attestation that says that nothing was found in a canary, and that was not weighed yet."""

    sha256: bytes
    issuer: str
    profile: str
    key_id: str
    attestation_id: str


_PUT_CANARY: Final = """-- put_canary
INSERT INTO canaries (sha256, note, drawn_by, drawn_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (sha256) DO NOTHING
"""


async def put_canary(conn: Connection, canary: Canary) -> None:
    """Store a canary before it is shown to anybody."""
    await conn.execute(_PUT_CANARY, canary.sha256, canary.note, canary.drawn_by, canary.drawn_at)


_LIST_CANARIES: Final = """-- list_canaries
SELECT c.sha256, c.note, c.drawn_by, c.drawn_at FROM canaries AS c ORDER BY c.drawn_at DESC LIMIT $1
"""


async def list_canaries(conn: Connection, *, limit: int) -> tuple[Canary, ...]:
    """List the newest canaries."""
    return tuple(Canary(**row) for row in await conn.fetch(_LIST_CANARIES, limit))


_IS_CANARY: Final = """-- is_canary
SELECT EXISTS (SELECT 1 FROM canaries AS c WHERE c.sha256 = $1)
"""


async def is_canary(conn: Connection, sha256: bytes) -> bool:
    """Tell whether these bytes are a canary of ours."""
    found: bool = await conn.fetchval(_IS_CANARY, sha256)
    return found


# An admin draws each canary by hand, so that they are few.
_LIST_ATTESTED: Final = """-- list_attested
SELECT DISTINCT ON (m.sha256, m.issuer, m.profile)
    m.sha256, m.issuer, m.profile, m.key_id, m.id AS attestation_id
FROM canaries AS c
JOIN mirror AS m ON m.sha256 = c.sha256
WHERE NOT EXISTS (
    SELECT 1 FROM reliance AS r
    WHERE r.sha256 = m.sha256 AND r.issuer = m.issuer AND r.profile = m.profile
)
ORDER BY m.sha256, m.issuer, m.profile, m.published
LIMIT $1
"""


async def list_attested(conn: Connection, *, limit: int) -> tuple[AttestedCanary, ...]:
    """List who attested canaries, each issuer once for each canary and profile."""
    return tuple(AttestedCanary(**row) for row in await conn.fetch(_LIST_ATTESTED, limit))


_LIST_ISSUERS: Final = """-- list_issuers
SELECT r.issuer AS issuer FROM reliance AS r WHERE r.sha256 = $1
UNION
SELECT m.issuer FROM mirror AS m WHERE m.sha256 = $1
ORDER BY issuer
"""


async def list_issuers(conn: Connection, sha256: bytes) -> tuple[str, ...]:
    """List who attested a canary, honest or not."""
    return tuple(row["issuer"] for row in await conn.fetch(_LIST_ISSUERS, sha256))
