"""Tell what of our attestations was given to whom, so that one can be taken back where it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection

_NOTE_SERVED: Final = """-- note_served
UPDATE peers AS p
SET served_from = least(coalesce(p.served_from, $2), $2), served_to = greatest(coalesce(p.served_to, $2), $2)
WHERE p.actor = $1 AND (p.served_from IS NULL OR p.served_from > $2 OR p.served_to < $2)
"""


async def note_served(conn: Connection, actor: str, *, cursor: int) -> None:
    """Note how far a peer says that it has read our feed; where it began is the least that it ever said."""
    await conn.execute(_NOTE_SERVED, actor, cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A peer with the part of our feed that it has received: after the first number, up to the second."""

    actor: str
    served_from: int
    served_to: int


_LIST_READERS: Final = """-- list_readers
SELECT p.actor, p.served_from, p.served_to FROM peers AS p
WHERE p.they_follow = 'accepted' AND p.tier <> 'quarantined' AND p.served_from < p.served_to
ORDER BY p.actor
"""


async def list_readers(conn: Connection) -> tuple[Reader, ...]:
    """List the peers that read our feed and have received something."""
    return tuple(Reader(**row) for row in await conn.fetch(_LIST_READERS))


# The feed is found by when it was written, which is the second of the attestation.
_LIST_BLOCKED: Final = """-- list_blocked
SELECT a.id, (
    SELECT min(f.seq) FROM feed AS f
    WHERE f.created_at >= a.published AND f.created_at < a.published + interval '1 second'
        AND f.object = a.object
) AS seq
FROM attestations AS a
WHERE a.end_time > $1 AND NOT a.is_withheld_share AND a.audience = 'public'
    AND EXISTS (SELECT 1 FROM rulings AS r WHERE r.sha256 = a.sha256 AND r.ruling = 'block')
LIMIT $2
"""


async def list_blocked(conn: Connection, *, now: datetime, limit: int) -> tuple[tuple[str, int | None], ...]:
    """List what was given out about bytes that a person has blocked since, with its number in the feed."""
    return tuple((row["id"], row["seq"]) for row in await conn.fetch(_LIST_BLOCKED, now, limit))


_DRAW_DECOYS: Final = """-- draw_decoys
SELECT f.object FROM feed AS f
WHERE f.seq > $1 AND f.seq <= $2 AND f.kind = 'attestation' AND f.peer IS NULL
ORDER BY random()
LIMIT $3
"""


async def draw(conn: Connection, reader: Reader, *, count: int) -> tuple[bytes, ...]:
    """Draw attestations that a peer has received, at random; a million rows take a second."""
    rows = await conn.fetch(_DRAW_DECOYS, reader.served_from, reader.served_to, count)
    return tuple(row["object"] for row in rows)


_KEEP_HARMLESS: Final = """-- keep_harmless
SELECT a.id FROM attestations AS a
WHERE a.id = ANY($1::text[]) AND a.end_time > $2
    AND NOT EXISTS (SELECT 1 FROM rulings AS r WHERE r.sha256 = a.sha256 AND r.ruling = 'block')
"""


async def keep_harmless(conn: Connection, ids: Sequence[str], *, now: datetime) -> tuple[str, ...]:
    """Keep those of these attestations that hold, about bytes that nobody blocked."""
    return tuple(row["id"] for row in await conn.fetch(_KEEP_HARMLESS, list(ids), now))


_END: Final = """-- end_attestations
UPDATE attestations AS a SET end_time = $2 WHERE a.id = ANY($1::text[]) AND a.end_time > $2
"""


async def end(conn: Connection, ids: Sequence[str], *, now: datetime) -> None:
    """End attestations, so that they are answered no more."""
    await conn.execute(_END, list(ids), now)
