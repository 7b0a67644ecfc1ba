"""Keep who doubted whom, and when last: each teller counts once in a while for an issuer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from db.pool import Connection

_NOTE_DOUBT: Final = """-- note_doubt
INSERT INTO doubts AS d (teller, issuer, told_at) VALUES ($1, $2, $3)
ON CONFLICT (teller, issuer) DO UPDATE SET told_at = excluded.told_at WHERE d.told_at <= $4
RETURNING d.teller
"""


async def note_doubt(
    conn: Connection, *, teller: str, issuer: str, interval: timedelta, now: datetime
) -> bool:
    """Note that a relay doubts another; False if it did so within the interval."""
    return await conn.fetchval(_NOTE_DOUBT, teller, issuer, now, now - interval) is not None


_PURGE_DOUBTS: Final = """-- purge_doubts
DELETE FROM doubts AS d
WHERE (d.teller, d.issuer) IN (
    SELECT o.teller, o.issuer FROM doubts AS o WHERE o.told_at < $1 ORDER BY o.told_at LIMIT $2
)
RETURNING d.teller
"""


async def purge_doubts(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget doubts from before a time; return how many."""
    return len(await conn.fetch(_PURGE_DOUBTS, before, limit))
