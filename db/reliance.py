"""Keep which scans a peer's word has spared us, which of them to audit, and what audits found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliance:
    """One scan that was spared.

    Attributes:
        id: Its number.
        sha256: The digest of the bytes, 32 bytes.
        issuer: Whose word it was.
        profile: Under which profile.
        key_id: Signed with which key.
        attestation_id: In which attestation.
        url: Where the bytes can be had again; empty where they came without one.
        relied_at: When.
        audit_rate: The rate at which the coin was tossed, in [0, 1].
        due_at: When to audit; None where the coin said no.
        is_urgent: What is new about the media chose it: it is made whoever else has scanned the bytes.
        asked_at: Since when the issuer is asked for what it owes us about its word; None if it was not yet.
    """

    id: int
    sha256: bytes
    issuer: str
    profile: str
    key_id: str
    attestation_id: str
    url: str
    relied_at: datetime
    audit_rate: float
    due_at: datetime | None
    is_urgent: bool
    asked_at: datetime | None


_RELIANCE: Final = """
    r.id, r.sha256, r.issuer, r.profile, r.key_id, r.attestation_id, r.url, r.relied_at, r.audit_rate,
    r.due_at, r.is_urgent, r.asked_at
"""

_NOTE_RELIANCE: Final = """-- note_reliance
INSERT INTO reliance (
    sha256, issuer, profile, key_id, attestation_id, url, relied_at, audit_rate, due_at, is_urgent
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (sha256, issuer, profile) DO NOTHING
RETURNING id
"""


async def note_reliance(
    conn: Connection,
    *,
    sha256: bytes,
    issuer: str,
    profile: str,
    key_id: str,
    attestation_id: str,
    url: str,
    audit_rate: float,
    due_at: datetime | None,
    now: datetime,
    is_urgent: bool = False,
) -> int | None:
    """Note that a scan was spared; None where the same word about the same bytes was noted before."""
    found: int | None = await conn.fetchval(
        _NOTE_RELIANCE,
        sha256,
        issuer,
        profile,
        key_id,
        attestation_id,
        url,
        now,
        audit_rate,
        due_at,
        is_urgent,
    )
    return found


_RENEW_RELIANCE: Final = """-- renew_reliance
UPDATE reliance AS r
SET key_id = $4, attestation_id = $5, url = $6, relied_at = $7, audit_rate = $8, due_at = $9,
    is_urgent = $10, asked_at = NULL, worker = NULL, outcome = NULL, finished_at = NULL, ground = NULL
WHERE r.sha256 = $1 AND r.issuer = $2 AND r.profile = $3
    AND r.finished_at IS NOT NULL AND r.attestation_id <> $5
RETURNING r.id
"""


async def renew_reliance(
    conn: Connection,
    *,
    sha256: bytes,
    issuer: str,
    profile: str,
    key_id: str,
    attestation_id: str,
    url: str,
    audit_rate: float,
    due_at: datetime | None,
    now: datetime,
    is_urgent: bool = False,
) -> int | None:
    """Note that a scan was spared by a new attestation after an earlier one was audited; None otherwise."""
    found: int | None = await conn.fetchval(
        _RENEW_RELIANCE,
        sha256,
        issuer,
        profile,
        key_id,
        attestation_id,
        url,
        now,
        audit_rate,
        due_at,
        is_urgent,
    )
    return found


_NOTE_AUDITED: Final = """-- note_audited
INSERT INTO reliance AS r (
    sha256, issuer, profile, key_id, attestation_id, url, relied_at, audit_rate, outcome, finished_at, ground
)
VALUES ($1, $2, $3, $4, $5, '', $7, 1, $6, $7, $8)
ON CONFLICT (sha256, issuer, profile) DO UPDATE
SET outcome = excluded.outcome, finished_at = excluded.finished_at, ground = excluded.ground
WHERE r.finished_at IS NULL
RETURNING r.id
"""


async def note_audited(
    conn: Connection,
    *,
    sha256: bytes,
    issuer: str,
    profile: str,
    key_id: str,
    attestation_id: str,
    outcome: str,
    now: datetime,
    ground: str = "scan",
) -> bool:
    """Note what a scan of our own says about a peer's word, relied on or not; False if that was known.

    The same word about the same bytes is so weighed once, however often they are scanned.
    """
    return (
        await conn.fetchval(
            _NOTE_AUDITED, sha256, issuer, profile, key_id, attestation_id, outcome, now, ground
        )
        is not None
    )


_MAKE_DUE: Final = """-- make_due
UPDATE reliance AS r SET due_at = least(r.due_at, $2) WHERE r.sha256 = $1 AND r.finished_at IS NULL
RETURNING r.id
"""


async def make_due(conn: Connection, sha256: bytes, *, now: datetime) -> int:
    """Make everything that was relied on about some bytes due for an audit; return how much."""
    return len(await conn.fetch(_MAKE_DUE, sha256, now))


_PUT_OFF: Final = """-- put_off
UPDATE reliance AS r SET due_at = $2, asked_at = coalesce(r.asked_at, $3)
WHERE r.id = $1 AND r.finished_at IS NULL
RETURNING r.id
"""


async def put_off(
    conn: Connection, reliance_id: int, *, until: datetime, asked_at: datetime | None = None
) -> bool:
    """Put an audit off, and note since when its issuer is asked; False if it was finished meanwhile."""
    return await conn.fetchval(_PUT_OFF, reliance_id, until, asked_at) is not None


_NEXT_AUDIT: Final = """-- next_audit
SELECT min(r.due_at) FROM reliance AS r WHERE r.due_at IS NOT NULL AND r.finished_at IS NULL
"""


async def next_audit(conn: Connection) -> datetime | None:
    """Tell when the next audit is due; None if none is."""
    due: datetime | None = await conn.fetchval(_NEXT_AUDIT)
    return due


_FIND_RELIANCE: Final = f"""-- find_reliance
SELECT {_RELIANCE} FROM reliance AS r WHERE r.sha256 = $1 ORDER BY r.id
"""  # noqa: S608 (the columns are a constant of this file)


async def find_reliance(conn: Connection, sha256: bytes) -> tuple[Reliance, ...]:
    """Find on whose word these bytes were let go."""
    return tuple(Reliance(**row) for row in await conn.fetch(_FIND_RELIANCE, sha256))


_CLAIM_AUDIT: Final = f"""-- claim_audit
UPDATE reliance AS r
SET worker = $1, due_at = $3
WHERE r.id = (
    SELECT o.id FROM reliance AS o
    WHERE o.due_at <= $2 AND o.finished_at IS NULL
    ORDER BY o.due_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING {_RELIANCE}
"""  # noqa: S608 (the columns are a constant of this file)


async def claim_audit(
    conn: Connection, *, worker: str, now: datetime, lease_until: datetime
) -> Reliance | None:
    """Claim the audit that is due for the longest; it is due again when the lease ends unfinished."""
    row = await conn.fetchrow(_CLAIM_AUDIT, worker, now, lease_until)
    return None if row is None else Reliance(**row)


_FINISH_AUDIT: Final = """-- finish_audit
UPDATE reliance AS r SET outcome = $2, finished_at = $3
WHERE r.id = $1 AND r.finished_at IS NULL
RETURNING r.id
"""


async def finish_audit(conn: Connection, reliance_id: int, *, outcome: str, now: datetime) -> bool:
    """Note what an audit found (the words of the table's check); False if it was finished before."""
    return await conn.fetchval(_FINISH_AUDIT, reliance_id, outcome, now) is not None


_RESCAN_ALL: Final = """-- rescan_all
UPDATE reliance AS r SET due_at = $2, audit_rate = 1
WHERE r.issuer = $1
    AND r.finished_at IS NULL
    AND ($3::text IS NULL OR r.profile = $3)
    AND ($4::text IS NULL OR r.key_id = $4)
    AND ($5::timestamptz IS NULL OR r.relied_at >= $5)
RETURNING r.id
"""


async def rescan_all(
    conn: Connection,
    *,
    issuer: str,
    now: datetime,
    profile: str | None = None,
    key_id: str | None = None,
    relied_from: datetime | None = None,
) -> int:
    """Make everything that was let go on an issuer's word due for a scan of our own; return how much."""
    return len(await conn.fetch(_RESCAN_ALL, issuer, now, profile, key_id, relied_from))


_PURGE_RELIANCE: Final = """-- purge_reliance
DELETE FROM reliance AS r
WHERE r.id IN (SELECT o.id FROM reliance AS o WHERE o.relied_at < $1 ORDER BY o.relied_at LIMIT $2)
RETURNING r.id
"""


async def purge_reliance(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete what was relied on before a time; return how many."""
    return len(await conn.fetch(_PURGE_RELIANCE, before, limit))


_COUNT_OUTCOMES: Final = """-- count_outcomes
SELECT coalesce(r.outcome, CASE WHEN r.due_at IS NULL THEN 'not_audited' ELSE 'due' END) AS outcome,
    count(*) AS count
FROM reliance AS r
WHERE r.issuer = $1
GROUP BY 1
"""


async def count_outcomes(conn: Connection, issuer: str) -> dict[str, int]:
    """Count what was let go on an issuer's word, by what an audit found, 'due' or 'not_audited'."""
    return {row["outcome"]: int(row["count"]) for row in await conn.fetch(_COUNT_OUTCOMES, issuer)}


_COUNT_GROUNDS: Final = """-- count_grounds
SELECT r.ground, count(*) AS count
FROM reliance AS r
WHERE r.issuer = $1 AND r.outcome IN ('disagrees', 'contradicts') AND r.ground IS NOT NULL
GROUP BY 1
"""


async def count_grounds(conn: Connection, issuer: str) -> dict[str, int]:
    """Count the audits that went against an issuer, by what they rest on (the words of the table's check)."""
    return {row["ground"]: int(row["count"]) for row in await conn.fetch(_COUNT_GROUNDS, issuer)}
