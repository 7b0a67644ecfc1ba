"""Keep since when somebody has been met, by a digest of the name, and forget who stays away."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection

# That somebody was met again is written down once a day: reading is all that most media cost here.
_REFRESH: Final = timedelta(days=1)

_FIND_FIRST_MET: Final = """-- find_first_met
SELECT a.who, a.first_met, a.last_met FROM acquaintances AS a WHERE a.who = ANY($1::bytea[])
"""

# In one order, so that two that meet the same wait for each other and not for ever.
_NOTE_MET: Final = """-- note_met
INSERT INTO acquaintances AS a (who, first_met, last_met)
SELECT g.who, $2, $2 FROM unnest($1::bytea[]) AS g (who) ORDER BY g.who
ON CONFLICT (who) DO UPDATE SET last_met = greatest(a.last_met, excluded.last_met)
"""


async def meet(conn: Connection, names: Sequence[bytes], *, now: datetime) -> dict[bytes, datetime]:
    """Note that these are met, and tell since when each has been; now for who never was.

    Args:
        conn: The connection.
        names: Their digests, 16 bytes each.
        now: The time.
    """
    rows = await conn.fetch(_FIND_FIRST_MET, names)
    since: dict[bytes, datetime] = {row["who"]: row["first_met"] for row in rows}
    fresh = {row["who"] for row in rows if row["last_met"] > now - _REFRESH}
    stale = sorted(set(names) - fresh)
    if stale:
        await conn.execute(_NOTE_MET, stale, now)
    return {name: since.get(name, now) for name in names}


_PURGE_ACQUAINTANCES: Final = """-- purge_acquaintances
DELETE FROM acquaintances AS a
WHERE a.who IN (SELECT o.who FROM acquaintances AS o WHERE o.last_met < $1 ORDER BY o.last_met LIMIT $2)
RETURNING a.who
"""


async def purge_acquaintances(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget who was not met since a time; return how many."""
    return len(await conn.fetch(_PURGE_ACQUAINTANCES, before, limit))
