"""Find what may be given out of our attestations, without what may not making any difference.

Every query here goes by `attestations_given`, an index in which what is withheld or restricted does not
exist. So neither the answer nor the work that it takes tells such bytes from bytes that were never seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection

# Enough for an estimate that is off by less than one in a hundred.
_SAMPLE: Final = 16_384
_DIGEST_BITS: Final = 256

# Word for word the condition of the index, so that it can be used.
_GIVEN: Final = "NOT a.is_withheld_share AND a.audience = 'public'"

_FIND_GIVEN: Final = f"""-- find_given
SELECT DISTINCT ON (a.sha256, a.profile) a.object FROM attestations AS a
WHERE a.sha256 = ANY($1::bytea[]) AND a.end_time > $2 AND {_GIVEN}
ORDER BY a.sha256, a.profile, a.published DESC, a.id DESC
"""  # noqa: S608 (the condition is a constant of this file)


async def find_given(conn: Connection, digests: Sequence[bytes], *, now: datetime) -> tuple[bytes, ...]:
    """Find the newest live attestation of each profile about any of these bytes: the signed objects."""
    return tuple(row["object"] for row in await conn.fetch(_FIND_GIVEN, list(digests), now))


_FIND_GIVEN_BETWEEN: Final = f"""-- find_given_between
SELECT DISTINCT ON (a.sha256, a.profile) a.object
FROM unnest($1::bytea[], $2::bytea[]) AS r (first, last)
CROSS JOIN LATERAL (
    SELECT a.sha256, a.profile, a.published, a.id, a.object FROM attestations AS a
    WHERE a.sha256 >= r.first AND a.sha256 <= r.last AND a.end_time > $3 AND {_GIVEN}
    ORDER BY a.sha256
    LIMIT $4
) AS a
ORDER BY a.sha256, a.profile, a.published DESC, a.id DESC
LIMIT $4
"""  # noqa: S608 (as above)


async def find_given_between(
    conn: Connection, ranges: Sequence[tuple[bytes, bytes]], *, now: datetime, limit: int
) -> tuple[bytes, ...]:
    """Find the same about all bytes with digests in any of these ranges, both ends included.

    Args:
        conn: A connection.
        ranges: The lowest and the highest digest of each.
        now: The time.
        limit: The most objects; where there are as many, there may be more.
    """
    first, last = [one for one, _ in ranges], [one for _, one in ranges]
    return tuple(row["object"] for row in await conn.fetch(_FIND_GIVEN_BETWEEN, first, last, now, limit))


_COUNT_SAMPLE: Final = f"""-- count_sample
SELECT count(*) AS count, (array_agg(s.sha256 ORDER BY s.sha256 DESC))[1] AS last
FROM (
    SELECT a.sha256 FROM attestations AS a WHERE a.end_time > $1 AND {_GIVEN} ORDER BY a.sha256 LIMIT $2
) AS s
"""  # noqa: S608 (as above)


async def estimate_given(conn: Connection, *, now: datetime) -> int:
    """Estimate how many live attestations may be given out; exact up to some thousands.

    Digests are spread evenly, so that how far the first of them reach says how many there are.
    """
    [row] = await conn.fetch(_COUNT_SAMPLE, now, _SAMPLE)
    count = int(row["count"])
    if count < _SAMPLE:
        return count
    return (count << _DIGEST_BITS) // (int.from_bytes(row["last"], "big") + 1)
