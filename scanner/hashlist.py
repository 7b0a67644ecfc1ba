"""Hash lists: what a list of known content is and how an update changes it.

`scanner.listfile` reads lists from files, `scanner.index` searches them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from scanner.hashtable import EMPTY_TABLE, HashEntry, HashKind, HashTable, name_entry
from scanner.listentries import HashListError, ParsedList
from scanner.listfile import ListFormat, parse_hash_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from scanner.index import PdqIndex
    from scanner.labels import Category

__all__ = [
    "HashEntry",
    "HashKind",
    "HashList",
    "HashListError",
    "HashTable",
    "ListFormat",
    "ListUpdate",
    "ParsedList",
    "Purpose",
    "VideoHashes",
    "build_update",
    "name_entry",
    "parse_hash_list",
]

DEFAULT_DISTANCE: Final = 31
"""Bits. Source: the confident-match threshold in the PDQ paper and in ThreatExchange."""
DEFAULT_MIN_QUALITY: Final = 50
"""Source: hashes below quality 50 are too unreliable to match, PDQ README."""
MAX_DISTANCE: Final = 255
MAX_QUALITY: Final = 100
PDQ_BYTES: Final = 32


class Purpose(StrEnum):
    """What a match with a list does."""

    BLOCK = "block"
    """It is a finding."""
    ALLOW = "allow"
    """It silences what only resembles: near hashes and classifiers, never another list's exact match."""


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class VideoHashes:
    """One listed video.

    Attributes:
        id: The name that `scanner.listvideos` gives it, in hexadecimal; unique in its list.
        frames: The PDQ hashes of its frames, uint8 [N, 32], each once, N at least 1.
    """

    id: str
    frames: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("a listed video needs an id")
        if self.frames.dtype != "uint8" or self.frames.shape != (max(len(self.frames), 1), PDQ_BYTES):
            raise ValueError("the frames of a listed video must be uint8 [N, 32], at least one")

    @property
    def entry(self) -> str:
        """What findings call it; see `name_entry`."""
        return name_entry("vpdq", self.id.encode())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HashList:
    """A named list as the scanner matches it; immutable, replaced as a whole.

    Attributes:
        name: Unique among the lists of an instance.
        version: The maker's version, or the time of the import.
        category: What a match means.
        table: The hashes, but for later changes; `HashList.of` builds it from entries.
        added: Hashes that came to the table and are matched, too.
        removed: Hashes of the table that are matched no more.
        index: An index of the table's PDQ hashes that exists already; without one it is built when needed.
        distance: Largest Hamming distance of a PDQ match, in bits, inclusive.
        min_quality: PDQ hashes of media below this quality (0 to 100) are not matched.
        dihedral: Whether mirrored and rotated copies are looked for too.
        label: A finer word for the findings, where the category alone says too little.
        advisory: Whether matches are reported without deciding.
        purpose: What a match does. An allow list holds SHA-256 digests and nothing else: anybody can make two
            files of one MD5 or SHA-1, and what resembles an allowed picture is another picture.
        suspended: Entries, as `name_entry` calls them, that are not matched for the time being.
        videos: Listed videos, by the hashes of their frames.
        is_overdue: It is older than the administrator lets it be: it matches as ever, and what nothing
            matches counts as not examined.
        digest: SHA-256 over the hashes that are left (not over the parameters); computed where it is not
            given.
    """

    name: str
    version: str
    category: Category
    table: HashTable
    added: HashTable = EMPTY_TABLE
    removed: HashTable = EMPTY_TABLE
    index: PdqIndex | None = None
    distance: int = DEFAULT_DISTANCE
    min_quality: int = DEFAULT_MIN_QUALITY
    dihedral: bool = False
    label: str | None = None
    advisory: bool = False
    purpose: Purpose = Purpose.BLOCK
    suspended: frozenset[str] = frozenset()
    videos: tuple[VideoHashes, ...] = ()
    is_overdue: bool = False
    digest: bytes = field(default=b"")

    def __post_init__(self) -> None:
        if not self.name or not self.version:
            raise ValueError("a hash list needs a name and a version")
        if not 0 <= self.distance <= MAX_DISTANCE:
            raise ValueError(f"the distance of a list is between 0 and {MAX_DISTANCE} bits")
        if not 0 <= self.min_quality <= MAX_QUALITY:
            raise ValueError(f"the quality of a list is between 0 and {MAX_QUALITY}")
        if self.purpose is Purpose.ALLOW and (
            self.videos or {*self.table.rows, *self.added.rows} - {HashKind.SHA256}
        ):
            raise ValueError(
                "an allow list holds SHA-256 digests only: other hashes also fit files that nobody looked at"
            )
        if not self.digest:
            object.__setattr__(self, "digest", self.table.changed_digest(self.added, self.removed))

    @classmethod
    def of(
        cls,
        *,
        name: str,
        version: str,
        category: Category,
        entries: Iterable[HashEntry],
        distance: int = DEFAULT_DISTANCE,
        min_quality: int = DEFAULT_MIN_QUALITY,
        dihedral: bool = False,
        label: str | None = None,
        advisory: bool = False,
        purpose: Purpose = Purpose.BLOCK,
    ) -> Self:
        """Build a list from single entries.

        Raises:
            ValueError: a value has the wrong length, a parameter is out of its range, or an allow list holds
                another kind than SHA-256.
        """
        return cls(
            name=name,
            version=version,
            category=category,
            table=HashTable.from_entries(entries),
            distance=distance,
            min_quality=min_quality,
            dihedral=dihedral,
            label=label,
            advisory=advisory,
            purpose=purpose,
        )

    def __len__(self) -> int:
        return len(self.table) - len(self.removed) + len(self.added) + len(self.videos)

    def has(self, kind: HashKind, value: bytes) -> bool:
        """Tell whether a hash is listed and not suspended."""
        is_listed = self.added.has(kind, value) or (
            self.table.has(kind, value) and not self.removed.has(kind, value)
        )
        return is_listed and name_entry(kind, value) not in self.suspended

    @property
    def effective_digest(self) -> bytes:
        """SHA-256 over everything that can match: the table and the videos but for what is suspended."""
        if not self.videos and not self.suspended:
            return self.digest
        state = hashlib.sha256(self.digest)
        for video in sorted(self.videos, key=lambda one: one.id):
            state.update(f"\nvideo {len(video.id)} {video.id} {len(video.frames)}\n".encode())
            state.update(video.frames.tobytes())
        for entry in sorted(self.suspended):
            state.update(f"\nsuspended {entry}".encode())
        return state.digest()

    @property
    def state(self) -> dict[str, object]:
        """Everything that decides what this list matches: JSON-able, integers only, no hash value."""
        return {
            "name": self.name,
            "version": self.version,
            "category": str(self.category),
            "label": self.label,
            "advisory": self.advisory,
            "purpose": str(self.purpose),
            "digest": self.effective_digest.hex(),
            "entries": len(self),
            "suspended": len(self.suspended),
            "distance": self.distance,
            "min_quality": self.min_quality,
            "dihedral": self.dihedral,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ListUpdate:
    """What becomes of a table by an update.

    Attributes:
        table: The new contents.
        added: Hashes that were not listed before.
        kept: Hashes that were listed and still are.
        withdrawn: Hashes that were listed and no longer are.
    """

    table: HashTable
    added: int
    kept: int
    withdrawn: int


def build_update(
    current: HashTable, *, listed: HashTable, withdrawn: HashTable, is_complete: bool
) -> ListUpdate:
    """Build the contents after an update.

    A withdrawal wins over an older listing, for it is the maker's correction.

    Args:
        current: What is listed now.
        listed: What the update lists.
        withdrawn: What the update takes back.
        is_complete: True where the update is the whole list, so that what it leaves out is no longer listed.
    """
    wanted = listed if is_complete else current.union(listed)
    table = wanted.minus(withdrawn)
    added = len(table.minus(current))
    kept = len(table) - added
    return ListUpdate(table=table, added=added, kept=kept, withdrawn=len(current) - kept)
