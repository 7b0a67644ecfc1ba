"""Count the requests to each service on each day, over all relays on one database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import date, datetime

    from db.pool import Connection

_SPEND: Final = """-- spend
INSERT INTO service_usage AS u (service, day, used)
SELECT $1::text, $2::date, $3::integer WHERE $3 <= $4
ON CONFLICT (service, day) DO UPDATE
SET used = u.used + excluded.used
WHERE u.used + excluded.used <= $4
RETURNING u.used
"""


async def spend(conn: Connection, service: str, day: date, *, requests: int, limit: int) -> int | None:
    """Take requests out of a day's budget; return how many were taken in all, None where too few are left."""
    used: int | None = await conn.fetchval(_SPEND, service, day, requests, limit)
    return used


_PURGE_USAGE: Final = """-- purge_usage
DELETE FROM service_usage AS u
WHERE (u.service, u.day) IN (
    SELECT o.service, o.day FROM service_usage AS o WHERE o.day < $1::date ORDER BY o.day LIMIT $2
)
RETURNING u.day
"""


async def purge_usage(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget the counts of days before that of a time; return how many."""
    return len(await conn.fetch(_PURGE_USAGE, before.date(), limit))


_FIND_USED: Final = """-- find_used
SELECT u.used FROM service_usage AS u WHERE u.service = $1 AND u.day = $2
"""


async def find_used(conn: Connection, service: str, day: date) -> int:
    """Find how many requests were made to a service on a day."""
    return await conn.fetchval(_FIND_USED, service, day) or 0
