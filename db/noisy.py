"""Keep what listed hashes were found near, and which of them fit too many different pictures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from db.hashlists import CHANNEL

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection


class NoiseState(StrEnum):
    """What was decided about a noisy entry."""

    ALARM = "alarm"
    """It is matched as before, and a person is to look at it."""
    SUSPENDED = "suspended"
    """It is not matched until a person says otherwise."""
    KEPT = "kept"
    """A person looked at it and has it matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyEntry:
    """A listed hash that fits many different pictures.

    Attributes:
        list_name: The list.
        entry: The scanner's name of the hash.
        state: What was decided.
        unlike: How many pictures that look unlike each other it fitted.
        noticed_at: When that was noticed.
        decided_by: Who decided.
    """

    list_name: str
    entry: str
    state: NoiseState
    unlike: int
    noticed_at: datetime
    decided_by: str


_PUT_NEAR: Final = """-- put_near_match
INSERT INTO near_matches (list_name, entry, sha256, bits, seen_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (list_name, entry, sha256) DO UPDATE SET seen_at = excluded.seen_at
"""


async def put_near(
    conn: Connection, list_name: str, entry: str, *, sha256: bytes, bits: bytes, now: datetime
) -> None:
    """Remember that a file looks like what is listed."""
    await conn.execute(_PUT_NEAR, list_name, entry, sha256, bits, now)


_LIST_SUSPECTS: Final = """-- list_noise_suspects
SELECT m.list_name, m.entry, l.category
FROM near_matches AS m
JOIN hash_lists AS l ON l.name = m.list_name
WHERE m.seen_at >= $1
    AND NOT EXISTS (
        SELECT 1 FROM noisy_entries AS n WHERE n.list_name = m.list_name AND n.entry = m.entry
    )
GROUP BY m.list_name, m.entry, l.category
HAVING count(*) >= $2
ORDER BY m.list_name, m.entry
LIMIT $3
"""


async def list_suspects(
    conn: Connection, *, since: datetime, files: int, limit: int
) -> tuple[tuple[str, str, str], ...]:
    """List what was found near so many files: list, entry and the list's category."""
    return tuple(tuple(row) for row in await conn.fetch(_LIST_SUSPECTS, since, files, limit))


_LIST_BITS: Final = """-- list_near_bits
SELECT m.bits FROM near_matches AS m
WHERE m.list_name = $1 AND m.entry = $2 AND m.seen_at >= $3
ORDER BY m.seen_at DESC
LIMIT $4
"""


async def list_bits(
    conn: Connection, list_name: str, entry: str, *, since: datetime, limit: int
) -> tuple[bytes, ...]:
    """List the hashes of the files that an entry was found near, the latest first."""
    return tuple(row["bits"] for row in await conn.fetch(_LIST_BITS, list_name, entry, since, limit))


_PUT_NOISY: Final = """-- put_noisy
INSERT INTO noisy_entries AS n (list_name, entry, state, unlike, noticed_at, decided_by)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (list_name, entry) DO UPDATE
SET state = excluded.state, unlike = GREATEST(n.unlike, excluded.unlike), noticed_at = excluded.noticed_at,
    decided_by = excluded.decided_by
"""

_PUT_NOTICED: Final = """-- put_noticed
INSERT INTO noisy_entries (list_name, entry, state, unlike, noticed_at, decided_by)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (list_name, entry) DO NOTHING
RETURNING entry
"""


async def put_noticed(conn: Connection, noisy: NoisyEntry) -> bool:
    """Store what the relay decided by itself; False where something was decided already, by a person say."""
    values = (noisy.list_name, noisy.entry, noisy.state, noisy.unlike, noisy.noticed_at, noisy.decided_by)
    if await conn.fetchval(_PUT_NOTICED, *values) is None:
        return False
    await conn.execute(_NOTIFY, CHANNEL, noisy.list_name)
    return True


_NOTIFY: Final = """-- notify_noisy
SELECT pg_notify($1, $2)
"""


async def put_noisy(conn: Connection, noisy: NoisyEntry) -> None:
    """Store a decision in place of an earlier one, and have every relay load the list anew."""
    await conn.execute(
        _PUT_NOISY,
        noisy.list_name,
        noisy.entry,
        noisy.state,
        noisy.unlike,
        noisy.noticed_at,
        noisy.decided_by,
    )
    await conn.execute(_NOTIFY, CHANNEL, noisy.list_name)


_LIST_NOISY: Final = """-- list_noisy
SELECT n.list_name, n.entry, n.state, n.unlike, n.noticed_at, n.decided_by
FROM noisy_entries AS n
ORDER BY n.list_name, n.noticed_at DESC, n.entry
"""


async def list_noisy(conn: Connection) -> tuple[NoisyEntry, ...]:
    """List every decision; they are few."""
    rows = await conn.fetch(_LIST_NOISY)
    return tuple(NoisyEntry(**{**row, "state": NoiseState(row["state"])}) for row in rows)


_PURGE_NEAR: Final = """-- purge_near_matches
DELETE FROM near_matches AS m
WHERE m.ctid IN (SELECT o.ctid FROM near_matches AS o WHERE o.seen_at < $1 ORDER BY o.seen_at LIMIT $2)
RETURNING 1 AS one
"""


async def purge_near(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget what was found near before a time; return how much."""
    return len(await conn.fetch(_PURGE_NEAR, before, limit))
