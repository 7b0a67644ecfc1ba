"""Keep what scans found: one verdict for each pair of bytes and scanner state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVerdict:
    """A verdict as it was put.

    Attributes:
        sha256: The digest of the bytes, 32 bytes.
        state_digest: The digest of the scanner's state, 32 bytes.
        verdict: match, no-match or unscannable.
        reason: Why unscannable; None otherwise.
        report: The report in its JSON form, without floats outside the range of a double.
        scanned_at: When the scan was made.
    """

    sha256: bytes
    state_digest: bytes
    verdict: str
    reason: str | None
    report: dict[str, Any]
    scanned_at: datetime


_PUT_VERDICT: Final = """-- put_verdict
INSERT INTO verdicts AS v (sha256, state_digest, verdict, reason, report, scanned_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (sha256, state_digest) DO UPDATE
SET verdict = excluded.verdict, reason = excluded.reason, report = excluded.report,
    scanned_at = excluded.scanned_at
WHERE v.scanned_at <= excluded.scanned_at
"""


async def put_verdict(conn: Connection, verdict: StoredVerdict) -> None:
    """Store a verdict; of two for the same bytes and state the later scan stays."""
    await conn.execute(
        _PUT_VERDICT,
        verdict.sha256,
        verdict.state_digest,
        verdict.verdict,
        verdict.reason,
        verdict.report,
        verdict.scanned_at,
    )


_FIND_VERDICT: Final = """-- find_verdict
SELECT v.sha256, v.state_digest, v.verdict, v.reason, v.report, v.scanned_at
FROM verdicts AS v
WHERE v.sha256 = $1 AND v.state_digest = $2
"""


async def find_verdict(conn: Connection, sha256: bytes, state_digest: bytes) -> StoredVerdict | None:
    """Find what the scanner in exactly this state found in these bytes."""
    row = await conn.fetchrow(_FIND_VERDICT, sha256, state_digest)
    return None if row is None else _build_verdict(row)


_FIND_LATEST: Final = """-- find_latest
SELECT v.sha256, v.state_digest, v.verdict, v.reason, v.report, v.scanned_at
FROM verdicts AS v
WHERE v.sha256 = $1
ORDER BY v.scanned_at DESC, v.state_digest
LIMIT 1
"""


async def find_latest(conn: Connection, sha256: bytes) -> StoredVerdict | None:
    """Find the latest verdict on these bytes in whatever state; it says nothing about the present state."""
    row = await conn.fetchrow(_FIND_LATEST, sha256)
    return None if row is None else _build_verdict(row)


_PURGE_VERDICTS: Final = """-- purge_verdicts
DELETE FROM verdicts AS v
WHERE (v.sha256, v.state_digest) IN (
    SELECT o.sha256, o.state_digest FROM verdicts AS o
    WHERE o.scanned_at < $1
    ORDER BY o.scanned_at
    LIMIT $2
)
RETURNING 1 AS one
"""


async def purge_verdicts(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete verdicts of scans before a time; return how many."""
    return len(await conn.fetch(_PURGE_VERDICTS, before, limit))


def _build_verdict(row: asyncpg.Record) -> StoredVerdict:
    return StoredVerdict(**row)
