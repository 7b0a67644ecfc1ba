"""Keep what our peers may read of us, in one order that no later row ever breaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import asyncpg

    from db.pool import Connection

CHANNEL: Final = "breakwater_feed"
"""Notified when something was added; long polls listen here."""


class FeedKind(StrEnum):
    """What a row of the feed is."""

    ATTESTATION = "attestation"
    REVOCATION = "revocation"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedItem:
    """A row of the feed: its place in the order, what it is, and the signed bytes."""

    seq: int
    kind: FeedKind
    object: bytes


_TAKE_BATCH: Final = """-- take_batch
UPDATE feed_counter SET batch_ends_at = CASE WHEN batch_ends_at > $1 THEN batch_ends_at ELSE $2 END
RETURNING batch_ends_at
"""


async def take_batch(conn: Connection, *, now: datetime, next_end: datetime) -> datetime:
    """Return when the batch ends that is being filled now.

    Args:
        conn: Inside of the transaction that adds to the feed; others wait for it to end.
        now: The time.
        next_end: When a new batch is to end, if the last one has.
    """
    ends_at: datetime = await conn.fetchval(_TAKE_BATCH, now, next_end)
    return ends_at


# The counter's row lock is held to the end of the transaction: whoever has a lower number has committed.
_TAKE_NUMBERS: Final = """-- take_numbers
UPDATE feed_counter SET next_seq = next_seq + $1 RETURNING next_seq - $1
"""

_ADD: Final = """-- add
INSERT INTO feed (seq, kind, peer, visible_at, created_at, object)
SELECT $1 + n - 1, $2, $3, $4, $5, o
FROM unnest($6::bytea[]) WITH ORDINALITY AS t (o, n)
"""


async def add(
    conn: Connection,
    kind: FeedKind,
    objects: Sequence[bytes],
    *,
    visible_at: datetime,
    now: datetime,
    peer: str | None = None,
) -> int:
    """Add signed objects and return the number of the first; the caller commits soon, for others wait.

    Args:
        conn: Inside of the transaction that stores what the objects speak of.
        kind: What they are.
        objects: The signed bytes.
        visible_at: When ordinary peers may see them; never before that of an earlier row.
        now: The time.
        peer: The actor that they are for alone; None for every peer.
    """
    first: int = await conn.fetchval(_TAKE_NUMBERS, len(objects))
    await conn.execute(_ADD, first, kind, peer, visible_at, now, list(objects))
    await conn.execute(f"NOTIFY {CHANNEL}")
    return first


_READ: Final = """-- read
SELECT f.seq, f.kind, f.object FROM feed AS f
WHERE f.seq > $1 AND (f.peer IS NULL OR f.peer = $2) AND ($3::timestamptz IS NULL OR f.visible_at <= $3)
ORDER BY f.seq
LIMIT $4
"""


async def read(
    conn: Connection, *, cursor: int, peer: str, visible_at: datetime | None, limit: int
) -> tuple[FeedItem, ...]:
    """Read what comes after a cursor for a peer.

    Args:
        conn: A connection.
        cursor: The last number that the peer has.
        peer: Its actor.
        visible_at: The time, for ordinary peers; None for allied ones, who see everything at once.
        limit: The most items.
    """
    return tuple(_build_item(row) for row in await conn.fetch(_READ, cursor, peer, visible_at, limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSpan:
    """How far the feed reaches.

    Attributes:
        oldest: The oldest number retained, or else the next one that is given.
        visible: The newest number that can be seen; one less than `oldest` if there is none.
        newest: The newest number that was given.
    """

    oldest: int
    visible: int
    newest: int


# From the end, where what cannot be seen yet is the work of a minute.
_FIND_SPAN: Final = """-- find_span
SELECT
    (SELECT min(f.seq) FROM feed AS f) AS oldest,
    (
        SELECT f.seq FROM feed AS f
        WHERE $1::timestamptz IS NULL OR f.visible_at <= $1
        ORDER BY f.seq DESC
        LIMIT 1
    ) AS visible,
    c.next_seq - 1 AS newest
FROM feed_counter AS c
"""


async def find_span(conn: Connection, *, visible_at: datetime | None) -> FeedSpan:
    """Find how far the feed reaches for ordinary peers at a time, or with None for allied ones."""
    [row] = await conn.fetch(_FIND_SPAN, visible_at)
    newest = int(row["newest"])
    oldest = newest + 1 if row["oldest"] is None else int(row["oldest"])
    visible = oldest - 1 if row["visible"] is None else int(row["visible"])
    return FeedSpan(oldest=oldest, visible=visible, newest=newest)


_FIND_NEXT_VISIBLE: Final = """-- find_next_visible
SELECT min(f.visible_at) FROM feed AS f
WHERE f.seq > $1 AND f.visible_at > $2 AND (f.peer IS NULL OR f.peer = $3)
"""


async def find_next_visible(conn: Connection, *, cursor: int, peer: str, now: datetime) -> datetime | None:
    """Find when a peer sees the next of what was added already; None if that is nothing."""
    found: datetime | None = await conn.fetchval(_FIND_NEXT_VISIBLE, cursor, now, peer)
    return found


_PURGE: Final = """-- purge
DELETE FROM feed AS f
WHERE f.seq IN (SELECT o.seq FROM feed AS o WHERE o.created_at < $1 ORDER BY o.seq LIMIT $2)
RETURNING f.seq
"""


async def purge_feed(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete what was added before a time; return how many. Readers with older cursors are told so."""
    return len(await conn.fetch(_PURGE, before, limit))


def _build_item(row: asyncpg.Record) -> FeedItem:
    return FeedItem(seq=int(row["seq"]), kind=FeedKind(row["kind"]), object=row["object"])
