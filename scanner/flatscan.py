"""Compare PDQ hashes with every row of a small table, or of a large one where jumping does not pay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PDQ_BITS: Final = 256
PDQ_BYTES: Final = PDQ_BITS // 8
_WORDS: Final = PDQ_BYTES // 8
FLAT_BLOCK: Final = 1 << 13
"""Rows compared at once: they and the work on them (600 KB) stay in a second-level cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hits:
    """Rows near queries, each pair once; three arrays of one length, in no order.

    Attributes:
        queries: Which query, intp [K].
        rows: Which row, int64 [K].
        distances: How many bits they differ in, int64 [K].
    """

    queries: NDArray[np.intp]
    rows: NDArray[np.int64]
    distances: NDArray[np.int64]

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put the hits of several searches together."""
        if len(parts) == 1:
            return parts[0]
        empty = np.empty(0, dtype=np.int64)
        return cls(
            queries=np.concatenate([empty, *(one.queries for one in parts)]),
            rows=np.concatenate([empty, *(one.rows for one in parts)]),
            distances=np.concatenate([empty, *(one.distances for one in parts)]),
        )

    @classmethod
    def measure(
        cls,
        table: NDArray[np.uint8],
        rows: NDArray[np.int64],
        *,
        queries: NDArray[np.uint8],
        asked: NDArray[np.intp],
        limit: int,
    ) -> Self:
        """Keep the candidates that lie within `limit` bits.

        Args:
            table: The hashes, uint8 [N, 32].
            rows: The row of each candidate, [K].
            queries: The queries, uint8 [Q, 32].
            asked: The query of each candidate, [K].
            limit: The largest distance, in bits, inclusive.
        """
        words, wanted = table.view(np.uint64), queries.view(np.uint64)
        differing = np.bitwise_count(words.take(rows, axis=0) ^ wanted.take(asked, axis=0))
        distances = differing.sum(axis=1, dtype=np.int64)
        near = np.flatnonzero(distances <= limit)
        return cls(queries=asked.take(near), rows=rows.take(near), distances=distances.take(near))


def check_queries(queries: NDArray[np.uint8], distance: int) -> NDArray[np.uint8]:
    """Return the queries as a contiguous array.

    Raises:
        ValueError: They are not uint8 [Q, 32], or the distance is out of range.
    """
    if queries.dtype != np.uint8 or queries.ndim != 2 or queries.shape[1] != PDQ_BYTES:  # noqa: PLR2004 - rows and columns
        raise ValueError("PDQ hashes must be uint8 [N, 32]")
    if not 0 <= distance < PDQ_BITS:
        raise ValueError("a distance is between 0 and 255 bits")
    return np.ascontiguousarray(queries)


def scan_flat(table: NDArray[np.uint8], queries: NDArray[np.uint8], distance: int) -> Hits:
    """Find the rows within `distance` bits of each query by comparing all of them.

    Args:
        table: uint8 [N, 32], contiguous.
        queries: uint8 [Q, 32], contiguous.
        distance: 0 to 255, inclusive.
    """
    words, wanted = table.view(np.uint64).reshape(-1, _WORDS), queries.view(np.uint64)
    # One flat operation over many rows: numpy is slow where the innermost axis has four elements.
    tiled = [np.tile(query, min(FLAT_BLOCK, len(words))) for query in wanted]
    found: list[Hits] = []
    for start in range(0, len(words), FLAT_BLOCK):
        block = words[start : start + FLAT_BLOCK].ravel()
        for number, query in enumerate(tiled):
            counts = np.bitwise_count(block ^ query[: block.size])
            # The four counts of a row are added by one product. 256 comes out as 0, a candidate that the
            # exact distance then refuses.
            sums = (counts.view(np.uint32) * np.uint32(0x01010101)) >> np.uint32(24)
            near = np.flatnonzero(sums <= distance)
            if near.size:
                found.append(
                    Hits.measure(
                        table,
                        near + start,
                        queries=queries,
                        asked=np.full(near.size, number, dtype=np.intp),
                        limit=distance,
                    )
                )
    return Hits.join(found)
