"""Cut the values of a list into rows, and write a change into those rows alone that it touches.

Within a list and a kind the values rise bytewise within a row and from row to row. A change of a thousand
values in a list of millions writes the rows around those thousand.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db.delivery_rows import storable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence

    from db.pool import Connection

# Bytes a value. Source: FIPS 180-4, RFC 1321, the PDQ paper; a video is named by a SHA-256.
KIND_WIDTHS: Final[dict[str, int]] = {"sha256": 32, "sha1": 20, "md5": 16, "pdq": 32, "vpdq": 32}

BLOCK_VALUES: Final = 512
"""A row has at most 16 KiB of hashes when it is cut: what one changed value costs to write."""

_MAX_VALUES: Final = 2 * BLOCK_VALUES  # A row that has grown beyond this is cut again.
_ROWS_AT_ONCE: Final = 256  # At most 8 MiB of hashes are changed between two statements.

Row = tuple[int, str, bytes, bytes, "list[str | None] | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a change came to: values that were not listed before, and values that no longer are."""

    added: int
    removed: int


async def cut_blocks(
    list_id: int, kind: str, data: bytes, labels: Mapping[tuple[str, bytes], str]
) -> AsyncIterator[Row]:
    """Cut concatenated values into rows.

    Raises:
        ValueError: They are unsorted or repeated.
    """
    width = KIND_WIDTHS[kind]
    previous = b""
    for start in range(0, len(data), width * BLOCK_VALUES):
        block = data[start : start + width * BLOCK_VALUES]
        values = _split(block, width)
        for value in values:
            if value <= previous:
                raise ValueError("the values are unsorted or repeated")
            previous = value
        words = [labels.get((kind, value)) for value in values]
        yield _build_row(list_id, kind, values, words)
        await asyncio.sleep(0)  # Millions of values must not keep the doors from answering.


def find_value(data: bytes | bytearray, value: bytes) -> int | None:
    """Find the row of a value among concatenated, sorted ones of its width by halving."""
    width = len(value)
    low, high = 0, len(data) // width
    while low < high:
        middle = (low + high) // 2
        if data[middle * width : (middle + 1) * width] < value:
            low = middle + 1
        else:
            high = middle
    return low if data[low * width : (low + 1) * width] == value else None


_LIST_FIRST_VALUES: Final = """-- list_first_values
SELECT b.first_value FROM hash_blocks AS b WHERE b.list_id = $1 AND b.kind = $2 ORDER BY b.first_value
"""

_LOAD_BLOCKS: Final = """-- load_some_hash_blocks
SELECT b.first_value, b.hash_values, b.labels FROM hash_blocks AS b
WHERE b.list_id = $1 AND b.kind = $2 AND b.first_value = ANY ($3::bytea[])
ORDER BY b.first_value
"""

_DELETE_BLOCKS: Final = """-- delete_some_hash_blocks
DELETE FROM hash_blocks AS b WHERE b.list_id = $1 AND b.kind = $2 AND b.first_value = ANY ($3::bytea[])
"""


async def change_blocks(
    conn: Connection,
    list_id: int,
    kind: str,
    *,
    added: Mapping[bytes, str | None],
    removed: Collection[bytes],
) -> Changed:
    """Add and remove values of one kind, writing only the rows that hold or come to hold them.

    Adding what is listed and removing what is not change nothing, so that a change may be made twice.

    Args:
        conn: The connection, in a transaction that holds the lock of the list.
        list_id: The list.
        kind: The kind of all values.
        added: The values to list, with the maker's ids.
        removed: The values to take out; one that is also in `added` is listed.

    Raises:
        ValueError: A value has another width than its kind.
    """
    width = KIND_WIDTHS[kind]
    if any(len(value) != width for value in (*added, *removed)):
        raise ValueError("values of another width")
    firsts = [row["first_value"] for row in await conn.fetch(_LIST_FIRST_VALUES, list_id, kind)]
    # By the row that each value belongs to; what lies before all rows belongs to the first.
    concerned: dict[int, set[bytes]] = {}
    for value in {*added, *removed}:
        concerned.setdefault(max(bisect_right(firsts, value) - 1, 0), set()).add(value)
    total = Changed(added=0, removed=0)
    for places in _portions(sorted(concerned)):
        done = await _change_rows(
            conn,
            list_id,
            kind,
            firsts=[firsts[place] for place in places if place < len(firsts)],
            changes=[concerned[place] for place in places],
            added=added,
        )
        total = Changed(added=total.added + done.added, removed=total.removed + done.removed)
        await asyncio.sleep(0)
    return total


async def _change_rows(
    conn: Connection,
    list_id: int,
    kind: str,
    *,
    firsts: Sequence[bytes],
    changes: Sequence[set[bytes]],
    added: Mapping[bytes, str | None],
) -> Changed:
    width = KIND_WIDTHS[kind]
    stored = await conn.fetch(_LOAD_BLOCKS, list_id, kind, firsts) if firsts else []
    rows: list[Row] = []
    replaced: list[bytes] = []
    gained = lost = 0
    for place, values in enumerate(changes):
        old = stored[place] if stored else None
        listed: dict[bytes, str | None] = {}
        if old is not None:
            held = _split(old["hash_values"], width)
            listed = dict(zip(held, old["labels"] or [None] * len(held), strict=True))
        news = {value for value in values if value in added and value not in listed}
        gone = {value for value in values if value not in added and value in listed}
        if not news and not gone:
            continue
        gained, lost = gained + len(news), lost + len(gone)
        listed.update({value: added[value] for value in news})
        for value in gone:
            del listed[value]
        if old is not None:
            replaced.append(old["first_value"])
        rows += _cut(list_id, kind, listed)
    if replaced:
        await conn.execute(_DELETE_BLOCKS, list_id, kind, replaced)
    if rows:
        await conn.copy_records_to_table(
            "hash_blocks", columns=["list_id", "kind", "first_value", "hash_values", "labels"], records=rows
        )
    return Changed(added=gained, removed=lost)


def _cut(list_id: int, kind: str, listed: Mapping[bytes, str | None]) -> Iterator[Row]:
    values = sorted(listed)
    step = BLOCK_VALUES if len(values) > _MAX_VALUES else max(len(values), 1)
    for start in range(0, len(values), step):
        part = values[start : start + step]
        yield _build_row(list_id, kind, part, [listed[value] for value in part])


def _build_row(list_id: int, kind: str, values: Sequence[bytes], words: Sequence[str | None]) -> Row:
    named = [None if word is None else storable(word) for word in words]
    return list_id, kind, values[0], b"".join(values), named if any(named) else None


def _split(data: bytes, width: int) -> list[bytes]:
    return [data[place : place + width] for place in range(0, len(data), width)]


def _portions(places: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(places), _ROWS_AT_ONCE):
        yield places[start : start + _ROWS_AT_ONCE]
