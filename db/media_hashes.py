"""Keep the hashes of seen media, to compare them with hash lists that come later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaHashes:
    """The hashes of seen media.

    Attributes:
        sha256: 32 bytes.
        sha1: 20 bytes.
        md5: 16 bytes.
        pictures: Its perceptual hashes, packed by the scanner; empty where there are none.
        lists_digest: The digest of the lists that it was last compared with, 32 bytes.
        seen_at: When it was last scanned.
    """

    sha256: bytes
    sha1: bytes
    md5: bytes
    pictures: bytes
    lists_digest: bytes
    seen_at: datetime


# A later scan does not count as the comparison: whoever compares also sees to what follows on the backend.
_PUT_HASHES: Final = """-- put_media_hashes
INSERT INTO media_hashes AS h (sha256, sha1, md5, pictures, lists_digest, seen_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (sha256) DO UPDATE
SET pictures = excluded.pictures, seen_at = excluded.seen_at
WHERE h.seen_at <= excluded.seen_at
"""


async def put_hashes(conn: Connection, hashes: MediaHashes) -> None:
    """Keep the hashes of some media in place of those of an earlier scan.

    What it was compared with stays as it was noted.
    """
    await conn.execute(
        _PUT_HASHES,
        hashes.sha256,
        hashes.sha1,
        hashes.md5,
        hashes.pictures,
        hashes.lists_digest,
        hashes.seen_at,
    )


# The newest first: they are on people's screens.
_LIST_STALE: Final = """-- list_stale_hashes
SELECT h.sha256, h.sha1, h.md5, h.pictures, h.lists_digest, h.seen_at
FROM media_hashes AS h
WHERE h.lists_digest <> $1 AND (h.seen_at, h.sha256) < ($2, $3) AND h.seen_at >= $5
ORDER BY h.seen_at DESC, h.sha256 DESC
LIMIT $4
"""


async def list_stale(
    conn: Connection, lists_digest: bytes, *, before: tuple[datetime, bytes], since: datetime, limit: int
) -> tuple[MediaHashes, ...]:
    """List media that was never compared with these lists, the newest first, from a place on.

    Args:
        conn: The connection.
        lists_digest: The lists.
        before: Time and digest of the last one of the page before.
        since: What was last scanned before this is left out.
        limit: The most that are returned.
    """
    rows = await conn.fetch(_LIST_STALE, lists_digest, *before, limit, since)
    return tuple(MediaHashes(**row) for row in rows)


_NOTE_COMPARED: Final = """-- note_compared
UPDATE media_hashes AS h SET lists_digest = $2
FROM unnest($1::bytea[], $3::bytea[]) AS c (sha256, lists_digest)
WHERE h.sha256 = c.sha256 AND h.lists_digest = c.lists_digest
"""


async def note_compared(conn: Connection, compared: Sequence[MediaHashes], lists_digest: bytes) -> None:
    """Note that some media was compared with these lists; what was scanned anew meanwhile stays as it is."""
    await conn.execute(
        _NOTE_COMPARED,
        [one.sha256 for one in compared],
        lists_digest,
        [one.lists_digest for one in compared],
    )


_COUNT_STALE: Final = """-- count_stale_hashes
SELECT count(*) FILTER (WHERE h.lists_digest <> $1) AS stale, count(*) AS kept FROM media_hashes AS h
"""


async def count_stale(conn: Connection, lists_digest: bytes) -> tuple[int, int]:
    """Count the media that was not yet compared with these lists, and all of it."""
    row = await conn.fetchrow(_COUNT_STALE, lists_digest)
    return (0, 0) if row is None else (row["stale"], row["kept"])


_PURGE_HASHES: Final = """-- purge_media_hashes
DELETE FROM media_hashes AS h
WHERE h.sha256 IN (SELECT o.sha256 FROM media_hashes AS o WHERE o.seen_at < $1 ORDER BY o.seen_at LIMIT $2)
RETURNING 1 AS one
"""


async def purge_hashes(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget the hashes of media that was last scanned before a time; return how many."""
    return len(await conn.fetch(_PURGE_HASHES, before, limit))
