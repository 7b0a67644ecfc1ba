"""Find every listed PDQ hash within a distance, exactly, and listed digests by value.

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
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PDQ_BITS: Final = 256
PDQ_BYTES: Final = PDQ_BITS // 8
SLOTS: Final = 16
SLOT_BITS: Final = PDQ_BITS // SLOTS
SLOT_VALUES: Final = 1 << SLOT_BITS
#: Beyond it reading every row in order is faster than jumping to the candidates (at 62 and a million
#: rows it is not yet); from 63 on a slot would open 2,517 buckets.
MAX_INDEXED_DISTANCE: Final = 62
#: Rows of a flat scan compared at once; their half of the words and the counts stay in a second-level cache.
FLAT_BLOCK: Final = 1 << 15
#: Offsets into the 16 concatenated row orders are unsigned 32-bit.
MAX_ROWS: Final = (1 << 32) // SLOTS - 1


def _masks(radius: int) -> NDArray[np.uint16]:
    """List every 16-bit pattern with at most `radius` bits set, as uint16 [K]."""
    bits = [1 << bit for bit in range(SLOT_BITS)]
    return np.array(
        [sum(chosen) for size in range(radius + 1) for chosen in combinations(bits, size)], dtype=np.uint16
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plan:
    """Which buckets to open for a distance; every array has one element a bucket.

    Attributes:
        slots: The slot that is searched.
        following: The slot whose value stands beside the row's number.
        masks: What to XOR onto the slot's value, with the slot's number in the upper half.
        allowed: How many bits of the following slot may differ.
    """

    slots: NDArray[np.intp]
    following: NDArray[np.intp]
    masks: NDArray[np.int64]
    allowed: NDArray[np.uint8]


@cache
def _plan(distance: int) -> _Plan:
    """Choose the radii for a distance and list the buckets."""
    # D + 1 = 16 * share + rest: `rest` slots take radius `share`, the others one less; all s_i + 1 are D + 1.
    share, rest = divmod(distance + 1, SLOTS)
    radii = np.where(np.arange(SLOTS) < rest, share, share - 1)
    masks = [_masks(int(radius)) for radius in radii]
    slots = np.repeat(np.arange(SLOTS), [len(part) for part in masks])
    following = (slots + 1) % SLOTS
    flipped = np.concatenate(masks)
    allowed = radii[slots] + radii[following] + 1 - np.bitwise_count(flipped).astype(np.int64)
    return _Plan(
        slots=slots,
        following=following,
        masks=flipped.astype(np.int64) | slots << SLOT_BITS,
        # Never negative: a mask flips at most radii[slot] bits and the following radius is at least -1.
        allowed=allowed.astype(np.uint8),
    )


class PdqIndex:
    """Answer which rows lie within a Hamming distance of a query; immutable, so any thread may ask.

    Attributes:
        halves: The first and the last 16 bytes of every hash, each uint64 [N, 2]: the first half decides
            nearly every candidate that is left.
        order: The row numbers by the value of slot 0, then by that of slot 1 and so on, uint32 [16 * N].
        following: For every element of `order`, the row's value in the slot that follows, uint16 [16 * N].
        starts: Where each of the 16 * 65,536 buckets begins in `order`, and the end, uint32 [16 * 65536 + 1].
    """

    __slots__ = ("following", "halves", "order", "starts")

    def __init__(
        self,
        *,
        halves: tuple[NDArray[np.uint64], NDArray[np.uint64]],
        order: NDArray[np.uint32],
        following: NDArray[np.uint16],
        starts: NDArray[np.uint32],
    ) -> None:
        self.halves = halves
        self.order = order
        self.following = following
        self.starts = starts

    @classmethod
    def build(cls, hashes: NDArray[np.uint8]) -> Self:
        """Build the index over `hashes`, uint8 [N, 32]; a hash is answered by its row number.

        Raises:
            ValueError: the array has another shape or type, or too many rows.
        """
        if hashes.dtype != np.uint8 or hashes.ndim != 2 or hashes.shape[1] != PDQ_BYTES:  # noqa: PLR2004 - rows and columns
            raise ValueError("PDQ hashes must be uint8 [N, 32]")
        rows = hashes.shape[0]
        if rows > MAX_ROWS:
            raise ValueError(f"an index holds at most {MAX_ROWS:,} hashes")
        words = np.ascontiguousarray(hashes).view(np.uint64)
        slots = np.ascontiguousarray(hashes).view(np.uint16)
        order = np.empty(SLOTS * rows, dtype=np.uint32)
        following = np.empty(SLOTS * rows, dtype=np.uint16)
        counts = np.empty(SLOTS * SLOT_VALUES, dtype=np.int64)
        for slot in range(SLOTS):
            values = np.ascontiguousarray(slots[:, slot])
            # A stable sort of 16-bit integers is a radix sort in numpy.
            part = slice(slot * rows, (slot + 1) * rows)
            order[part] = np.argsort(values, kind="stable")
            following[part] = slots[:, (slot + 1) % SLOTS].take(order[part])
            counts[slot * SLOT_VALUES : (slot + 1) * SLOT_VALUES] = np.bincount(values, minlength=SLOT_VALUES)
        starts = np.zeros(SLOTS * SLOT_VALUES + 1, dtype=np.uint32)
        starts[1:] = np.cumsum(counts)
        return cls(
            halves=(np.ascontiguousarray(words[:, :2]), np.ascontiguousarray(words[:, 2:])),
            order=order,
            following=following,
            starts=starts,
        )

    def __len__(self) -> int:
        return int(self.halves[0].shape[0])

    def query(self, bits: bytes, distance: int) -> list[tuple[int, int]]:
        """Find every row within `distance` bits (inclusive, 0 to 255) of `bits` (32 bytes).

        Returns:
            (row, distance) pairs, the nearest first, each row once.

        Raises:
            ValueError: `bits` is not 32 bytes or the distance is out of range.
        """
        if len(bits) != PDQ_BYTES:
            raise ValueError("a PDQ hash has 32 bytes")
        if not 0 <= distance < PDQ_BITS:
            raise ValueError("a distance is between 0 and 255 bits")
        if len(self) == 0:
            return []
        query = np.frombuffer(bits, dtype=np.uint64)
        if distance > MAX_INDEXED_DISTANCE:
            return self._scan(query, distance)
        return self._verify(self._candidates(bits, distance), query, distance)

    def query_many(self, queries: Sequence[bytes], distance: int) -> list[tuple[int, int]]:
        """Find every row within `distance` of any query, with its smallest distance, the nearest first.

        Made for the eight dihedral hashes of one picture: which of them met a row does not matter to the
        verdict.

        Raises:
            ValueError: as `query`.
        """
        nearest: dict[int, int] = {}
        for bits in dict.fromkeys(queries):
            for row, found in self.query(bits, distance):
                nearest[row] = min(found, nearest.get(row, found))
        return sorted(nearest.items(), key=lambda pair: (pair[1], pair[0]))

    def _candidates(self, bits: bytes, distance: int) -> NDArray[np.uint32]:
        """Gather the rows of all opened buckets that survive the second slot; some come several times."""
        plan = _plan(distance)
        values = np.frombuffer(bits, dtype=np.uint16)
        # A mask has its slot's number in the upper half, so one XOR makes slot * 65,536 + value.
        buckets = values.take(plan.slots) ^ plan.masks
        begin = self.starts.take(buckets).astype(np.int64)
        lengths = self.starts.take(buckets + 1) - begin
        ends = np.cumsum(lengths)
        # Position k of the output belongs to the bucket whose running end first exceeds k.
        positions = np.repeat(begin - (ends - lengths), lengths)
        positions += np.arange(positions.size, dtype=np.int64)
        wanted = np.repeat(values.take(plan.following), lengths)
        differing = np.bitwise_count(self.following.take(positions) ^ wanted)
        rows: NDArray[np.uint32] = self.order.take(positions[differing <= np.repeat(plan.allowed, lengths)])
        return rows

    def _verify(
        self, rows: NDArray[np.uint32], query: NDArray[np.uint64], distance: int
    ) -> list[tuple[int, int]]:
        first, last = self.halves
        near = _count(first.take(rows, axis=0), query[:2])
        rows = np.unique(rows[near <= distance])
        if rows.size == 0:
            return []
        return _measure(
            rows, near=first.take(rows, axis=0), far=last.take(rows, axis=0), query=query, limit=distance
        )

    def _scan(self, query: NDArray[np.uint64], distance: int) -> list[tuple[int, int]]:
        first, last = self.halves
        pairs: list[tuple[int, int]] = []
        for start in range(0, len(self), FLAT_BLOCK):
            near = _count(first[start : start + FLAT_BLOCK], query[:2])
            rows = np.flatnonzero(near <= distance) + start
            pairs += _measure(
                rows, near=first.take(rows, axis=0), far=last.take(rows, axis=0), query=query, limit=distance
            )
        return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


def _count(words: NDArray[np.uint64], query: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Count the bits in which rows of uint64 [K, 2] differ from uint64 [2]: uint8 [K], at most 128."""
    # One flat operation: numpy is slow where the innermost axis has two elements.
    counts = np.bitwise_count(words.ravel() ^ np.tile(query, len(words)))
    both: NDArray[np.uint8] = counts[0::2] + counts[1::2]
    return both


def _measure(
    rows: NDArray[np.integer],
    *,
    near: NDArray[np.uint64],
    far: NDArray[np.uint64],
    query: NDArray[np.uint64],
    limit: int,
) -> list[tuple[int, int]]:
    """Keep the rows whose whole distance is within the limit, the nearest first."""
    # The two halves add up to 256 at most, one more than uint8 holds.
    distances = _count(near, query[:2]).astype(np.int64) + _count(far, query[2:])
    kept = distances <= limit
    pairs = zip(rows[kept].tolist(), distances[kept].tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


class DigestIndex:
    """Find a cryptographic digest among millions; immutable, so any thread may ask.

    The digests are kept sorted, with their first eight bytes as big-endian integers beside them: a binary
    search in those and one comparison. At a million SHA-256 this is 40 MB; a set of `bytes` takes 120 MB.
    """

    __slots__ = ("_keys", "_rows")

    def __init__(self, *, keys: NDArray[np.uint64], rows: NDArray[np.uint8]) -> None:
        self._keys = keys
        self._rows = rows

    @classmethod
    def build(cls, digests: NDArray[np.uint8]) -> Self:
        """Build the index over `digests`, uint8 [N, 16 | 20 | 32], sorted bytewise.

        Raises:
            ValueError: the digests are not sorted: a binary search in them would miss listed ones.
        """
        keys = np.ascontiguousarray(digests[:, :8]).view(">u8").ravel().astype(np.uint64)
        if np.any(keys[1:] < keys[:-1]):
            raise ValueError("digests must be sorted before they are indexed")
        return cls(keys=keys, rows=digests)

    def __len__(self) -> int:
        return int(self._rows.shape[0])

    def find(self, digest: bytes) -> int | None:
        """Find the row of `digest`, or None where it is not listed or has another length."""
        if len(digest) != self._rows.shape[1]:
            return None
        key = np.uint64(int.from_bytes(digest[:8], "big"))
        row = int(self._keys.searchsorted(key))
        # Two digests with the same first eight bytes happen only by intent, so this loop ends at once.
        while row < self._keys.size and self._keys[row] == key:
            if self._rows[row].tobytes() == digest:
                return row
            row += 1
        return None
