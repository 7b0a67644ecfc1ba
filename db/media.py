"""Remember which bytes were seen, what was decided on each reference, and who looks at what now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db.delivery_rows import storable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from db.pool import Connection

# Notified with the hexadecimal digest when an examination ends, for those who wait for its verdict.
EXAMINATIONS_CHANNEL: Final = "examinations"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMedia:
    """Bytes that were seen.

    Attributes:
        sha256: Their digest, 32 bytes.
        size: How many there are.
        media_type: What they were recognised as; None if as nothing.
        first_seen: When they were first seen.
        last_seen: When they were last seen.
    """

    sha256: bytes
    size: int
    media_type: str | None
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryMedia:
    """A media reference of a delivery and what was decided on it.

    Attributes:
        delivery_id: The delivery.
        ordinal: The place among its references, from 0.
        url: Where it pointed.
        location: Where in the activity it stood.
        sha256: The digest of the bytes; None if none were seen.
        verdict: What the scan found; None if there was none.
        decision: release, withhold or block.
        category: The category that decided; None if nothing matched.
        failure: Why there are no bytes; None if there are.
    """

    delivery_id: int
    ordinal: int
    url: str
    location: str
    sha256: bytes | None
    verdict: str | None
    decision: str
    category: str | None
    failure: str | None


_RECORD_MEDIA: Final = """-- record_media
INSERT INTO media AS m (sha256, size, media_type, first_seen, last_seen)
VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (sha256) DO UPDATE
SET media_type = COALESCE(excluded.media_type, m.media_type),
    last_seen = GREATEST(m.last_seen, excluded.last_seen)
"""


async def record_media(
    conn: Connection, *, sha256: bytes, size: int, media_type: str | None, now: datetime
) -> None:
    """Record that bytes were seen."""
    await conn.execute(_RECORD_MEDIA, sha256, size, media_type, now)


_FIND_MEDIA: Final = """-- find_media
SELECT m.sha256, m.size, m.media_type, m.first_seen, m.last_seen FROM media AS m WHERE m.sha256 = $1
"""


async def find_media(conn: Connection, sha256: bytes) -> SeenMedia | None:
    """Find what is known of bytes that were seen."""
    row = await conn.fetchrow(_FIND_MEDIA, sha256)
    return None if row is None else SeenMedia(**row)


_ERASE_DELIVERY_MEDIA: Final = """-- erase_delivery_media
DELETE FROM delivery_media AS m WHERE m.delivery_id = $1
"""

_PUT_DELIVERY_MEDIA: Final = """-- put_delivery_media
INSERT INTO delivery_media (
    delivery_id, ordinal, url, location, sha256, verdict, decision, category, failure
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


async def put_delivery_media(conn: Connection, delivery_id: int, media: Sequence[DeliveryMedia]) -> None:
    """Store what was decided on a delivery's references in place of what was stored before.

    Raises:
        ValueError: A row belongs to another delivery.
    """
    if any(one.delivery_id != delivery_id for one in media):
        raise ValueError("all rows must belong to the delivery")
    async with conn.transaction():
        await conn.execute(_ERASE_DELIVERY_MEDIA, delivery_id)
        await conn.executemany(
            _PUT_DELIVERY_MEDIA,
            [
                (
                    one.delivery_id,
                    one.ordinal,
                    storable(one.url),
                    one.location,
                    one.sha256,
                    one.verdict,
                    one.decision,
                    one.category,
                    one.failure,
                )
                for one in media
            ],
        )


_LIST_DELIVERY_MEDIA: Final = """-- list_delivery_media
SELECT
    m.delivery_id, m.ordinal, m.url, m.location, m.sha256, m.verdict, m.decision, m.category, m.failure
FROM delivery_media AS m
WHERE m.delivery_id = $1
ORDER BY m.ordinal
"""


async def list_delivery_media(conn: Connection, delivery_id: int) -> tuple[DeliveryMedia, ...]:
    """List what was decided on a delivery's references."""
    return tuple(DeliveryMedia(**row) for row in await conn.fetch(_LIST_DELIVERY_MEDIA, delivery_id))


_LIST_URLS_OF: Final = """-- list_urls_of
SELECT m.url FROM delivery_media AS m
WHERE m.sha256 = $1 AND m.url LIKE 'http%'
GROUP BY m.url ORDER BY max(m.delivery_id) DESC LIMIT $2
"""


async def list_urls_of(conn: Connection, sha256: bytes, *, limit: int) -> tuple[str, ...]:
    """List where deliveries said that these bytes can be had, the newest first."""
    return tuple(row["url"] for row in await conn.fetch(_LIST_URLS_OF, sha256, limit))


_WAS_PUBLIC: Final = """-- was_public
SELECT EXISTS (
    SELECT 1 FROM delivery_media AS m
    JOIN deliveries AS d ON d.id = m.delivery_id
    WHERE m.sha256 = $1 AND d.audience = 'public'
)
"""


async def was_public(conn: Connection, sha256: bytes) -> bool:
    """Tell whether a post that everybody may read is known to have pointed at these bytes."""
    return bool(await conn.fetchval(_WAS_PUBLIC, sha256))


_FIND_DELIVERIES_WITH: Final = """-- find_deliveries_with
SELECT DISTINCT m.delivery_id FROM delivery_media AS m WHERE m.sha256 = $1 ORDER BY m.delivery_id LIMIT $2
"""


async def find_deliveries_with(conn: Connection, sha256: bytes, *, limit: int) -> tuple[int, ...]:
    """List the ids of deliveries that referred to these bytes, oldest first."""
    return tuple(row["delivery_id"] for row in await conn.fetch(_FIND_DELIVERIES_WITH, sha256, limit))


_PURGE_MEDIA: Final = """-- purge_media
DELETE FROM media AS m
WHERE m.sha256 IN (SELECT o.sha256 FROM media AS o WHERE o.last_seen < $1 ORDER BY o.last_seen LIMIT $2)
RETURNING m.sha256
"""


async def purge_media(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget bytes that were last seen before a time; return how many."""
    return len(await conn.fetch(_PURGE_MEDIA, before, limit))


_CLAIM_EXAMINATION: Final = """-- claim_examination
INSERT INTO examinations AS e (sha256, worker, lease_until)
VALUES ($1, $2, $3)
ON CONFLICT (sha256) DO UPDATE
SET worker = excluded.worker, lease_until = excluded.lease_until
WHERE e.lease_until <= $4 OR e.worker = excluded.worker
RETURNING e.sha256
"""


async def claim_examination(
    conn: Connection, sha256: bytes, *, worker: str, lease: timedelta, now: datetime
) -> bool:
    """Become the only one who examines these bytes, or extend that; False if another one is at it.

    A worker's name stands for one process, which keeps its own callers apart by itself.
    """
    return await conn.fetchval(_CLAIM_EXAMINATION, sha256, worker, now + lease, now) is not None


_FINISH_EXAMINATION: Final = """-- finish_examination
WITH finished AS (
    DELETE FROM examinations AS e WHERE e.sha256 = $1 AND e.worker = $2 RETURNING e.sha256
)
SELECT sha256, pg_notify('examinations', encode(sha256, 'hex')) FROM finished
"""


async def finish_examination(conn: Connection, sha256: bytes, *, worker: str) -> bool:
    """Let go of bytes after their verdict was put; False if the lease was lost to another one."""
    return await conn.fetchval(_FINISH_EXAMINATION, sha256, worker) is not None
