"""Sets of hashes as compact arrays.

A list may hold millions of hashes, so none of them is an object: every kind of hash is one sorted array.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from scanner.digestindex import find_place, find_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

TABLE_CONTEXT: Final = b"breakwater hash table v1\n"
MERGE_ROWS: Final = 1 << 15
"""A megabyte of SHA-256."""
ENTRY_CHARS: Final = 16
"""64 bits: among ten million entries two share a name with a chance of 3 in a million."""


class HashKind(StrEnum):
    """The kinds of hashes a list may hold."""

    SHA256 = "sha256"
    SHA1 = "sha1"
    MD5 = "md5"
    PDQ = "pdq"
    VPDQ = "vpdq"
    """The name of a video that is listed by its frames; see `scanner.listvideos`."""

    @property
    def width(self) -> int:
        """Length of a hash of this kind in bytes."""
        return _WIDTHS[self]


_WIDTHS: Final[Mapping[HashKind, int]] = MappingProxyType(
    {HashKind.SHA256: 32, HashKind.SHA1: 20, HashKind.MD5: 16, HashKind.PDQ: 32, HashKind.VPDQ: 32}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HashEntry:
    """One hash, for small lists and for the edges; `value` has `kind.width` bytes."""

    kind: HashKind
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HashTable:
    """A set of hashes: per kind a read-only uint8 [N, width], sorted bytewise, each row once.

    Build it with `from_entries` or `from_rows`; the constructor checks nothing.
    """

    rows: Mapping[HashKind, NDArray[np.uint8]]

    @classmethod
    def from_entries(cls, entries: Iterable[HashEntry]) -> Self:
        """Build a table from single entries; duplicates collapse.

        Raises:
            ValueError: a value has the wrong length for its kind.
        """
        packed: dict[HashKind, bytearray] = {}
        for entry in entries:
            if len(entry.value) != entry.kind.width:
                raise ValueError(f"a {entry.kind} hash has {entry.kind.width} bytes, not {len(entry.value)}")
            packed.setdefault(entry.kind, bytearray()).extend(entry.value)
        return cls.from_rows({kind: unpack_rows(kind, data) for kind, data in packed.items()})

    @classmethod
    def from_rows(cls, rows: Mapping[HashKind, NDArray[np.uint8]]) -> Self:
        """Build a table from arrays of uint8 [N, width] in any order; duplicates collapse.

        Raises:
            ValueError: an array has another type or shape.
        """
        table: dict[HashKind, NDArray[np.uint8]] = {}
        for kind in HashKind:
            array = rows.get(kind)
            if array is None or array.size == 0:
                continue
            if array.dtype != np.uint8 or array.shape != (len(array), kind.width):
                raise ValueError(f"{kind} hashes must be uint8 [N, {kind.width}]")
            table[kind] = _sorted_unique(array)
        return cls(rows=MappingProxyType(table))

    def __len__(self) -> int:
        return sum(len(array) for array in self.rows.values())

    def get_rows(self, kind: HashKind) -> NDArray[np.uint8]:
        """Get the hashes of one kind, uint8 [N, width]; N is 0 where the table has none."""
        return self.rows.get(kind, np.empty((0, kind.width), dtype=np.uint8))

    def has(self, kind: HashKind, value: bytes) -> bool:
        """Tell whether a hash stands in the table."""
        array = self.rows.get(kind)
        return array is not None and find_row(array, value) is not None

    def entries(self) -> Iterator[HashEntry]:
        """Go through all entries, one object at a time."""
        for kind, array in self.rows.items():
            for row in array:
                yield HashEntry(kind=kind, value=row.tobytes())

    def union(self, other: HashTable) -> HashTable:
        """Build the table of what stands in either."""
        return HashTable.from_rows(
            {kind: np.concatenate([self.get_rows(kind), other.get_rows(kind)]) for kind in HashKind}
        )

    def minus(self, other: HashTable) -> HashTable:
        """Build the table of what stands in this one but not in the other."""
        return HashTable.from_rows(
            {kind: array[~_is_in(array, other.get_rows(kind))] for kind, array in self.rows.items()}
        )

    def digest(self) -> bytes:
        """Compute SHA-256 over the contents; equal exactly for tables of the same hashes."""
        return self.changed_digest(EMPTY_TABLE, EMPTY_TABLE)

    def changed_digest(self, added: HashTable, removed: HashTable) -> bytes:
        """Compute the digest that the table would have after a change, without making that table.

        Args:
            added: What comes to it; nothing that it has.
            removed: What leaves it; nothing that it lacks.
        """
        state = hashlib.sha256(TABLE_CONTEXT)
        for kind in HashKind:
            array, new, gone = (table.get_rows(kind) for table in (self, added, removed))
            if kind is HashKind.VPDQ and not len(array) + len(new):
                # Lists without videos keep the digest that they had before lists could have any.
                continue
            state.update(f"{kind} {len(array) + len(new) - len(gone)}\n".encode())
            for rows in self.merge(kind, added, removed):
                state.update(np.ascontiguousarray(rows).data)
        return state.digest()

    def merge(self, kind: HashKind, added: HashTable, removed: HashTable) -> Iterator[NDArray[np.uint8]]:
        """Go through the hashes of a kind as they are after a change, in order, in pieces.

        Between two changes the rows are taken as they lie, at most `MERGE_ROWS` at a time.
        """
        array, new, gone = (table.get_rows(kind) for table in (self, added, removed))
        is_new = np.repeat([True, False], [len(new), len(gone)])
        changes = np.concatenate([new, gone])
        start = 0
        for place in np.lexsort(_words(changes).T[::-1]):
            value = changes[place : place + 1]
            stop = find_place(array, value.tobytes())
            yield from _cut(array, start, stop)
            if is_new[place]:
                yield value
            start = stop + (0 if is_new[place] else 1)
        yield from _cut(array, start, len(array))

    def cut(self, kind: HashKind, first: bytes, after: bytes | None) -> NDArray[np.uint8]:
        """View the hashes of a kind from `first` on and below `after`, if any, uint8 [N, width]."""
        rows = self.get_rows(kind)
        return rows[find_place(rows, first) : len(rows) if after is None else find_place(rows, after)]


EMPTY_TABLE: Final = HashTable(rows=MappingProxyType({}))


def _cut(array: NDArray[np.uint8], start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
    for place in range(start, stop, MERGE_ROWS):
        yield array[place : min(stop, place + MERGE_ROWS)]


def name_entry(kind: str, value: bytes) -> str:
    """Name a listed entry without saying its value; for counting and suspending inside this instance only.

    Whoever has the value can compute the name, so it must not reach logs, metrics, messages or peers.
    """
    return hashlib.sha256(kind.encode() + b"\n" + value).hexdigest()[:ENTRY_CHARS]


def unpack_rows(kind: HashKind, data: bytes | bytearray) -> NDArray[np.uint8]:
    """View concatenated hashes of one kind as uint8 [N, width]."""
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, kind.width)


def _words(array: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Cut rows into big-endian words, uint64 [N, ceil(width / 8)], whose order is that of the bytes."""
    padding = -array.shape[1] % 8
    padded = np.ascontiguousarray(np.pad(array, ((0, 0), (0, padding))) if padding else array)
    return padded.view(">u8").astype(np.uint64)


def _sorted_unique(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    words = _words(array)
    order = np.lexsort(words.T[::-1])
    words = words[order]
    is_new = np.ones(len(array), dtype=np.bool_)
    is_new[1:] = np.any(words[1:] != words[:-1], axis=1)
    rows = np.ascontiguousarray(array[order[is_new]])
    rows.flags.writeable = False
    return rows


def _is_in(array: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Say for every row whether it stands in `other`; both hold each row once. Returns bool [N]."""
    stacked = np.concatenate([array, other])
    words = _words(stacked)
    order = np.lexsort(words.T[::-1])
    words = words[order]
    # The sort is stable, so of two equal rows the one from `array` comes first.
    has_twin = np.zeros(len(stacked), dtype=np.bool_)
    has_twin[order[:-1]] = np.all(words[1:] == words[:-1], axis=1)
    return has_twin[: len(array)]
