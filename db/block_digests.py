"""Read the blocks of a hash list piece by piece: what they hold, or only whether it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db.pool import snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from db.pool import Connection

_PREFETCH_ROWS: Final = 16  # At most 2 MiB of hashes travel at a time.
_READ_TIMEOUT: Final = "10min"  # Ten million values take some seconds; the disk may be busy.


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDigest:
    """One block of a list.

    Attributes:
        kind: Of the hashes.
        first_value: The lowest of them.
        digest: SHA-256 over all of them, concatenated.
    """

    kind: str
    first_value: bytes
    digest: bytes


_SET_TIMEOUT: Final = f"""-- set_read_timeout
SET LOCAL statement_timeout = '{_READ_TIMEOUT}'
"""

_LIST_DIGESTS: Final = """-- list_block_digests
SELECT b.kind, b.first_value, sha256(b.hash_values) AS digest FROM hash_blocks AS b
WHERE b.list_id = $1
ORDER BY b.kind, b.first_value
"""


async def list_block_digests(conn: Connection, list_id: int) -> tuple[BlockDigest, ...]:
    """List the blocks of a list in their order; the database hashes them, so that no value travels."""
    async with snapshot(conn):
        await conn.execute(_SET_TIMEOUT)
        return tuple(BlockDigest(**row) for row in await conn.fetch(_LIST_DIGESTS, list_id))


_READ_BLOCKS: Final = """-- read_hash_blocks
SELECT b.kind, b.first_value, b.hash_values FROM hash_blocks AS b
WHERE b.list_id = $1
ORDER BY b.kind, b.first_value
"""

_READ_SOME_BLOCKS: Final = """-- read_some_hash_blocks
SELECT b.kind, b.first_value, b.hash_values FROM hash_blocks AS b
JOIN unnest($2::text [], $3::bytea []) AS wanted (kind, first_value)
    ON b.kind = wanted.kind AND b.first_value = wanted.first_value
WHERE b.list_id = $1
ORDER BY b.kind, b.first_value
"""


async def read_blocks(
    conn: Connection, list_id: int, wanted: Sequence[BlockDigest] | None = None
) -> AsyncIterator[tuple[str, bytes, bytes]]:
    """Go through the blocks of a list in their order: kind, first value, and all values concatenated.

    Args:
        conn: In a transaction.
        list_id: The list.
        wanted: Only these blocks; None for all.
    """
    await conn.execute(_SET_TIMEOUT)
    if wanted is None:
        rows = conn.cursor(_READ_BLOCKS, list_id, prefetch=_PREFETCH_ROWS)
    else:
        keys = [one.kind for one in wanted], [one.first_value for one in wanted]
        rows = conn.cursor(_READ_SOME_BLOCKS, list_id, *keys, prefetch=_PREFETCH_ROWS)
    async for row in rows:
        yield row["kind"], row["first_value"], row["hash_values"]


_LIST_WITHDRAWALS: Final = """-- list_withdrawals
SELECT w.kind, w.hash_value FROM hash_withdrawals AS w
WHERE w.list_id = $1
ORDER BY w.kind, w.hash_value
"""


async def list_withdrawals(conn: Connection, list_id: int) -> tuple[tuple[str, bytes], ...]:
    """List the values of a list that this instance does not want, by kind."""
    return tuple((row["kind"], row["hash_value"]) for row in await conn.fetch(_LIST_WITHDRAWALS, list_id))
