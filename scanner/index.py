"""Find every listed PDQ hash within a distance, exactly.

The index cuts the 256 bits of a hash into 16 slots of 16 bits, keeps for every slot the rows in the order of
that slot's value, and looks a query up in each slot with a small radius.

**Why nothing is missed.** Let slot i be searched with radius s_i, where all s_i + 1 add up to D + 1, and let
a listed hash differ from the query in d_i bits of slot i, at most D in all. Write y_i = d_i - (s_i + 1); the
y_i add up to -1 or less. Think of the slots as a ring and start right behind the last slot at which the
running sum of the y_i is highest: from there on every running sum, once around, is below zero. (Until the
end of the row the sum stays under its maximum; beyond the end it gains the total, which is negative, over
values that are at most the maximum.) So there is a slot i with

* y_i < 0, that is d_i <= s_i: the search of slot i opens the bucket of the listed hash, and
* y_i + y_(i+1) < 0, that is d_i + d_(i+1) <= s_i + s_(i+1) + 1: the listed hash survives a look at the slot
  that follows, whose value is kept beside the row's number.

Verification with the full distance removes what is too far, so the answer is exactly the rows within D. A
slot with radius -1 is not searched. At D = 31 every slot has radius 1 (16 times 2 is 32); the bounds are
tight, which is why the tests plant neighbours whose differing bits are spread evenly over the slots: random
plants reveal nothing.

**Why it is fast.** All buckets of all queries are gathered at once, in words of four neighbouring values, so
that numpy's overhead is paid once and one XOR and one count of bits test four rows. The words at a bucket's
ends hold values of its neighbours, too: that adds candidates, which verification refuses, and loses none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import numpy as np

from scanner.flatscan import PDQ_BITS, PDQ_BYTES, Hits, check_queries, scan_flat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SLOTS: Final = 16
SLOT_BITS: Final = PDQ_BITS // SLOTS
SLOT_VALUES: Final = 1 << SLOT_BITS
MAX_INDEXED_DISTANCE: Final = 62
"""Beyond it reading every row in order is faster than jumping to the candidates (at 62 and a million rows it
is not yet); from 63 on a slot would open 2,517 buckets."""
MAX_ROWS: Final = (1 << 24) - 1
"""Row numbers are kept in three bytes: at ten million rows that saves 160 MB."""
WORD_ROWS: Final = 4
"""Values of a slot, 16 bits each, that are compared as one word."""
_WORD_SHIFT: Final = np.uint32(2)
_BATCH_WORDS: Final = 1 << 15
"""Words gathered at once; with the work on them they stay in a second-level cache of one megabyte."""
_SPREAD: Final = np.uint64(0x0001_0001_0001_0001)


class Allocate(Protocol):
    """Where the arrays of an index are put: into memory, or into files that become mapped."""

    def __call__(self, name: str, size: int, dtype: type[np.generic], /) -> NDArray[Any]:
        """Make an array of one axis."""


def _in_memory(_name: str, size: int, dtype: type[np.generic]) -> NDArray[Any]:
    return np.empty(size, dtype=dtype)


def _masks(radius: int) -> NDArray[np.uint16]:
    """List every 16-bit pattern with at most `radius` bits set, as uint16 [K]."""
    bits = [1 << bit for bit in range(SLOT_BITS)]
    return np.array(
        [sum(chosen) for size in range(radius + 1) for chosen in combinations(bits, size)], dtype=np.uint16
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plan:
    """Which buckets to open for a distance.

    Attributes:
        slots: For every bucket the slot that is searched, rising.
        masks: For every bucket what to XOR onto the slot's value, with the slot's number in the upper half.
        allowed: For every bucket how many bits of the following slot may differ.
        used: The slots that are searched at all.
        firsts: For every used slot its first bucket.
    """

    slots: NDArray[np.intp]
    masks: NDArray[np.int64]
    allowed: NDArray[np.uint16]
    used: NDArray[np.intp]
    firsts: NDArray[np.intp]


@cache
def _plan(distance: int) -> _Plan:
    """Choose the radii for a distance and list the buckets."""
    # D + 1 = 16 * share + rest: `rest` slots take radius `share`, the others one less; all s_i + 1 are D + 1.
    share, rest = divmod(distance + 1, SLOTS)
    radii = np.where(np.arange(SLOTS) < rest, share, share - 1)
    masks = [_masks(int(radius)) for radius in radii]
    sizes = np.array([len(part) for part in masks])
    slots = np.repeat(np.arange(SLOTS), sizes)
    flipped = np.concatenate(masks)
    # Never negative: a mask flips at most radii[slot] bits and the following radius is at least -1.
    allowed = radii[slots] + radii[(slots + 1) % SLOTS] + 1 - np.bitwise_count(flipped).astype(np.int64)
    used = np.flatnonzero(sizes)
    return _Plan(
        slots=slots,
        masks=flipped.astype(np.int64) | slots << SLOT_BITS,
        allowed=allowed.astype(np.uint16),
        used=used,
        firsts=(np.cumsum(sizes) - sizes)[used],
    )


class PdqIndex:
    """Answer which rows lie within a Hamming distance of queries; immutable, so any thread may ask.

    The arrays over all slots are filled up to a multiple of four with zeros, which stand for row 0: one
    candidate more to verify.

    Attributes:
        rows: The hashes, uint8 [N, 32].
        low: The lower 16 bits of the row numbers by the value of slot 0, then by that of slot 1 and so on,
            uint16 [16 * N].
        high: The upper 8 bits of the same, uint8 [16 * N].
        following: For every element of these, the row's value in the slot that follows, uint16 [16 * N].
        starts: Where each of the 16 * 65,536 buckets begins in them, and the end, uint32 [16 * 65536 + 1].
    """

    __slots__ = ("_words", "following", "high", "low", "rows", "starts")

    def __init__(
        self,
        *,
        rows: NDArray[np.uint8],
        low: NDArray[np.uint16],
        high: NDArray[np.uint8],
        following: NDArray[np.uint16],
        starts: NDArray[np.uint32],
    ) -> None:
        self.rows = rows
        self.low = low
        self.high = high
        self.following = following
        self.starts = starts
        self._words = following.view(np.uint64)

    @staticmethod
    def sizes(rows: int) -> dict[str, tuple[int, type[np.generic]]]:
        """Say how many elements of which type each array has beside the hashes."""
        filled = -(-SLOTS * rows // WORD_ROWS) * WORD_ROWS
        return {
            "low": (filled, np.uint16),
            "high": (filled, np.uint8),
            "following": (filled, np.uint16),
            "starts": (SLOTS * SLOT_VALUES + 1, np.uint32),
        }

    @classmethod
    def build(cls, hashes: NDArray[np.uint8], allocate: Allocate = _in_memory) -> Self:
        """Build the index over `hashes`, uint8 [N, 32]; a hash is answered by its row number.

        Beside the arrays of the index this takes 40 bytes a row.

        Raises:
            ValueError: the array has another shape or type, or too many rows.
        """
        hashes = check_queries(hashes, 0)
        rows = len(hashes)
        if rows > MAX_ROWS:
            raise ValueError(f"an index holds at most {MAX_ROWS:,} hashes")
        arrays = {name: allocate(name, size, dtype) for name, (size, dtype) in cls.sizes(rows).items()}
        low, high, following, starts = (arrays[name] for name in ("low", "high", "following", "starts"))
        for array in (low, high, following):
            array[SLOTS * rows :] = 0
        starts[0] = 0
        slots = hashes.view(np.uint16)
        for slot in range(SLOTS):
            values = np.ascontiguousarray(slots[:, slot])
            part = slice(slot * rows, (slot + 1) * rows)
            # A stable sort of 16-bit integers is a radix sort in numpy.
            order = np.argsort(values, kind="stable")
            low[part] = order & 0xFFFF
            high[part] = order >> 16
            following[part] = slots[:, (slot + 1) % SLOTS].take(order)
            counts = np.bincount(values, minlength=SLOT_VALUES)
            starts[slot * SLOT_VALUES + 1 : (slot + 1) * SLOT_VALUES + 1] = np.cumsum(counts) + slot * rows
        return cls(rows=hashes, low=low, high=high, following=following, starts=starts)

    def __len__(self) -> int:
        return len(self.rows)

    def query(self, bits: bytes, distance: int) -> list[tuple[int, int]]:
        """Find every row within `distance` bits (inclusive, 0 to 255) of `bits` (32 bytes).

        Returns:
            (row, distance) pairs, the nearest first, each row once.

        Raises:
            ValueError: `bits` is not 32 bytes or the distance is out of range.
        """
        return self.query_many([bits], distance)

    def query_many(self, queries: Sequence[bytes], distance: int) -> list[tuple[int, int]]:
        """Find every row within `distance` of any query, with its smallest distance, the nearest first.

        Raises:
            ValueError: as `query`.
        """
        hits = self.search(pack_hashes(queries), distance)
        nearest: dict[int, int] = {}
        for row, found in zip(hits.rows.tolist(), hits.distances.tolist(), strict=True):
            nearest[row] = min(found, nearest.get(row, found))
        return sorted(nearest.items(), key=lambda pair: (pair[1], pair[0]))

    def search(self, queries: NDArray[np.uint8], distance: int) -> Hits:
        """Find every row within `distance` bits (inclusive, 0 to 255) of each query, uint8 [Q, 32].

        Many queries at once cost a fraction of as many calls.

        Raises:
            ValueError: the queries have another shape or type, or the distance is out of range.
        """
        queries = check_queries(queries, distance)
        if distance > MAX_INDEXED_DISTANCE or not len(self):
            return scan_flat(self.rows, queries, distance)
        plan = _plan(distance)
        expected = plan.masks.size * (1 + len(self) // (SLOT_VALUES * WORD_ROWS))
        batch = max(1, _BATCH_WORDS // expected)
        parts: list[Hits] = []
        for start in range(0, len(queries), batch):
            found = self._search(queries[start : start + batch], plan, distance)
            parts.append(Hits(queries=found.queries + start, rows=found.rows, distances=found.distances))
        return Hits.join(parts)

    def _search(self, queries: NDArray[np.uint8], plan: _Plan, distance: int) -> Hits:
        values = queries.view(np.uint16)
        # A mask has its slot's number in the upper half, so one XOR makes slot * 65,536 + value.
        buckets = values.take(plan.slots, axis=1) ^ plan.masks
        first = self.starts.take(buckets) >> _WORD_SHIFT
        last = (self.starts.take(buckets + 1) + np.uint32(WORD_ROWS - 1)) >> _WORD_SHIFT
        lengths = (last - first).astype(np.int64)
        by_slot = np.add.reduceat(lengths, plan.firsts, axis=1)
        ends = np.cumsum(lengths.ravel())
        if int(ends[-1]) > len(queries) * (plan.masks.size + len(self) // WORD_ROWS):
            # So many listed hashes share a slot's value that reading all rows in order is less work.
            return scan_flat(self.rows, queries, distance)
        lengths = lengths.ravel()
        # Word k of the output belongs to the bucket whose running end first exceeds k.
        places = np.repeat(first.ravel() - (ends - lengths), lengths)
        places += np.arange(places.size, dtype=np.int64)
        wanted = values.take((plan.used + 1) % SLOTS, axis=1).astype(np.uint64) * _SPREAD
        differing = self._words.take(places) ^ np.repeat(wanted.ravel(), by_slot.ravel())
        counts = _count_by_value(differing)
        allowed = np.repeat(np.tile(plan.allowed, len(queries)), lengths * WORD_ROWS)
        passed = np.flatnonzero(counts <= allowed)
        word = passed >> 2
        place = places.take(word) * WORD_ROWS + (passed & (WORD_ROWS - 1))
        rows = self.low.take(place).astype(np.int64) | self.high.take(place).astype(np.int64) << 16
        asked = np.cumsum(by_slot.sum(axis=1)).searchsorted(word, side="right")
        found = Hits.measure(self.rows, rows, queries=queries, asked=asked, limit=distance)
        if not len(found.rows):
            return found
        # A row near enough may stand in several of the buckets.
        _, once = np.unique(found.queries * np.int64(MAX_ROWS + 1) + found.rows, return_index=True)
        return Hits(queries=found.queries[once], rows=found.rows[once], distances=found.distances[once])


def _count_by_value(words: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Count the bits set in each of the four 16-bit values of words [K]: uint16 [4 * K]."""
    # Bytes are counted eight times as fast as 16-bit integers; a product adds the two of a value.
    counts: NDArray[np.uint16] = np.bitwise_count(words.view(np.uint8)).view(np.uint16)
    counts *= np.uint16(0x0101)
    counts >>= np.uint16(8)
    return counts


def pack_hashes(hashes: Sequence[bytes]) -> NDArray[np.uint8]:
    """Put hashes of 32 bytes into one array, uint8 [N, 32].

    Raises:
        ValueError: one has another length.
    """
    if any(len(one) != PDQ_BYTES for one in hashes):
        raise ValueError("a PDQ hash has 32 bytes")
    return np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, PDQ_BYTES)
