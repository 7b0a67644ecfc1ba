"""Keep the contents of hash lists across restarts and small changes, so that nobody reads millions again.

A version of a list is a base (`scanner.indexfile`) and what changed since, in one small file named by what
the database calls the version. The database is the truth; every file is a cache and is verified when opened.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from scanner.hashtable import EMPTY_TABLE, HashKind, HashTable, unpack_rows
from scanner.indexfile import (
    Base,
    find_base,
    prune_bases,
    read_checked,
    write_base,
    write_checked,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

MAX_CHANGES: Final = 32_768
"""Changes kept beside a base before a new one is due; comparing with so many costs 70 microseconds."""
_VERSION_PREFIX: Final = "list3-"
_MAX_VERSION_BYTES: Final = 64 * 1024 * 1024
"""Thirty times what the most changes take."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contents:
    """The hashes of one version of a list.

    Attributes:
        base: Most of them.
        added: What the base lacks.
        removed: What the base has too much.
        digest: SHA-256 over what is left, as of a table of the same hashes.
    """

    base: Base
    added: HashTable = EMPTY_TABLE
    removed: HashTable = EMPTY_TABLE
    digest: bytes

    @classmethod
    def of(cls, base: Base) -> Self:
        """Take a base as it is."""
        return cls(base=base, digest=base.digest)

    @property
    def changes(self) -> int:
        """How many hashes differ from the base."""
        return len(self.added) + len(self.removed)

    def __len__(self) -> int:
        return len(self.base.table) - len(self.removed) + len(self.added)

    def change(self, *, added: HashTable, removed: HashTable) -> Contents:
        """Build the contents after a change; it costs reading the base once, for its digest.

        Args:
            added: What comes; what is there already stays.
            removed: What goes; what is not there is ignored.
        """
        table = self.base.table
        known = {kind: _split(table, kind, added.get_rows(kind)) for kind in HashKind}
        back = HashTable.from_rows({kind: old for kind, (old, _) in known.items()})
        new = HashTable.from_rows({kind: fresh for kind, (_, fresh) in known.items()})
        gone = HashTable.from_rows(
            {kind: _split(table, kind, removed.get_rows(kind))[0] for kind in HashKind}
        )
        now_added = self.added.union(new).minus(removed)
        now_removed = self.removed.minus(back).union(gone)
        return Contents(
            base=self.base,
            added=now_added,
            removed=now_removed,
            digest=table.changed_digest(now_added, now_removed),
        )

    def pieces(self) -> Iterable[tuple[HashKind, NDArray[np.uint8]]]:
        """Go through what is left, kind by kind, in order, in pieces."""
        for kind in HashKind:
            for rows in self.base.table.merge(kind, self.added, self.removed):
                yield kind, rows

    def rows_between(self, kind: HashKind, first: bytes, after: bytes | None) -> NDArray[np.uint8]:
        """Build what is left from `first` on and below `after`, if any, uint8 [N, width]."""
        rows, added, removed = (
            table.cut(kind, first, after) for table in (self.base.table, self.added, self.removed)
        )
        if not len(added) and not len(removed):
            return rows
        part, new, gone = (HashTable.from_rows({kind: some}) for some in (rows, added, removed))
        return part.minus(gone).union(new).get_rows(kind)


class ListCache:
    """A directory of versions and bases, which belongs to this user alone."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, name: str, version: bytes, *, known: Iterable[Base] = ()) -> Contents | None:
        """Open a version; None where there is none or anything about it is wrong.

        Args:
            name: Of the list: letters, digits, no hyphen.
            version: What the database calls it.
            known: Bases that are open already and need not be verified again.
        """
        return self._open(self._place(name, version), known)

    def find_older(self, name: str) -> Contents | None:
        """Open any version of a list, as something to start from; it may be of any age."""
        for place in sorted(self.root.glob(f"{_VERSION_PREFIX}{name}-*")):
            found = self._open(place, ())
            if found is not None:
                return found
        return None

    def _open(self, place: Path, known: Iterable[Base]) -> Contents | None:
        try:
            body = read_checked(place, max_bytes=_MAX_VERSION_BYTES)
            document = json.loads(body)
            digest = bytes.fromhex(document["base"])
            added, removed = (_read_table(document[name]) for name in ("added", "removed"))
            base = next((one for one in known if one.digest == digest), None) or find_base(self.root, digest)
            if base is None:
                return None
            return Contents(base=base, added=added, removed=removed, digest=bytes.fromhex(document["digest"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def keep(self, name: str, version: bytes, contents: Contents) -> None:
        """Keep a version whose base lies here.

        Raises:
            OSError: It could not be written.
        """
        document = {
            "base": contents.base.digest.hex(),
            "digest": contents.digest.hex(),
            "added": _show_table(contents.added),
            "removed": _show_table(contents.removed),
        }
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_checked(self._place(name, version), json.dumps(document).encode())

    def rebase(self, contents: Contents) -> Contents:
        """Make a base of contents with their changes, beside the one in use.

        Ten million hashes take a quarter of a minute and 400 MB of memory; matching goes on meanwhile.

        Raises:
            OSError: It could not be written.
        """
        return Contents.of(write_base(self.root, contents.pieces()))

    def prune(self, versions: Iterable[tuple[str, bytes]], bases: Iterable[Base]) -> int:
        """Remove what no version or base in use needs, and return how many bases that were."""
        wanted = {self._place(name, version).name for name, version in versions}
        for place in self.root.glob("list*-*"):
            if place.name not in wanted:
                with contextlib.suppress(OSError):
                    place.unlink()
        return prune_bases(self.root, {base.digest for base in bases})

    def _place(self, name: str, version: bytes) -> Path:
        return self.root / f"{_VERSION_PREFIX}{name}-{version.hex()}"


def _split(
    table: HashTable, kind: HashKind, rows: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Split hashes into those that the table has and those that it lacks."""
    has = np.array([table.has(kind, row.tobytes()) for row in rows], dtype=np.bool_)
    return rows[has], rows[~has]


def _show_table(table: HashTable) -> dict[str, str]:
    return {str(kind): rows.tobytes().hex() for kind, rows in table.rows.items()}


def _read_table(document: dict[str, str]) -> HashTable:
    return HashTable.from_rows(
        {HashKind(kind): unpack_rows(HashKind(kind), bytes.fromhex(data)) for kind, data in document.items()}
    )
