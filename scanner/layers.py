"""A table of PDQ hashes that changes little by little: an immutable base, what left it, what came to it.

The base is indexed and never touched. What an update takes away is skipped where it is met, what it adds is
compared one by one; both stay small, because `scanner.listcache` makes a new base of them in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from scanner.digestindex import find_row
from scanner.flatscan import check_queries, scan_flat
from scanner.index import PdqIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Near:
    """Listed hashes near queries; three arrays of one length, in no order.

    Attributes:
        queries: Which query, intp [K].
        values: The listed hash, uint8 [K, 32].
        distances: How many bits they differ in, int64 [K].
    """

    queries: NDArray[np.intp]
    values: NDArray[np.uint8]
    distances: NDArray[np.int64]


class PdqLayers:
    """Answer which hashes of a changing table lie near queries; immutable, so any thread may ask."""

    __slots__ = ("_added", "_base", "_removed")

    def __init__(self, *, base: PdqIndex, removed: NDArray[np.int64], added: NDArray[np.uint8]) -> None:
        self._base = base
        self._removed = removed
        self._added = added

    @classmethod
    def of(
        cls,
        rows: NDArray[np.uint8],
        *,
        removed: NDArray[np.uint8],
        added: NDArray[np.uint8],
        index: PdqIndex | None = None,
    ) -> Self:
        """Lay changes over a base.

        Args:
            rows: The base, uint8 [N, 32], sorted bytewise.
            removed: Hashes that are not matched although the base has them, uint8 [K, 32].
            added: Hashes that are matched although the base lacks them, uint8 [M, 32].
            index: The index of exactly `rows`; where there is none it is built.
        """
        gone = [find_row(rows, value.tobytes()) for value in removed]
        left = np.array(sorted(row for row in gone if row is not None), dtype=np.int64)
        return cls(
            base=PdqIndex.build(rows) if index is None else index,
            removed=left,
            added=check_queries(added, 0),
        )

    def __len__(self) -> int:
        return len(self._base) - len(self._removed) + len(self._added)

    def search(self, queries: NDArray[np.uint8], distance: int) -> Near:
        """Find every hash within `distance` bits (inclusive, 0 to 255) of each query, uint8 [Q, 32].

        Raises:
            ValueError: the queries have another shape or type, or the distance is out of range.
        """
        new = scan_flat(self._added, check_queries(queries, distance), distance)
        fresh = Near(queries=new.queries, values=self._added.take(new.rows, axis=0), distances=new.distances)
        old = self._base.search(queries, distance)
        stays = np.flatnonzero(~np.isin(old.rows, self._removed))
        kept = self._base.rows.take(old.rows.take(stays), axis=0)
        return Near(
            queries=np.concatenate([old.queries.take(stays), fresh.queries]),
            values=np.concatenate([kept, fresh.values]),
            distances=np.concatenate([old.distances.take(stays), fresh.distances]),
        )
