"""Gather the hashes of one record: those that we have a use for, and how many of which others there are."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from db.list_records import RECORD_BYTES, Record
from scanner.errors import MalformedError
from scanner.hashtable import HashKind
from scanner.listentries import read_hash
from scanner.listvideos import read_video

if TYPE_CHECKING:
    from collections.abc import Mapping

UNREADABLE: Final = "unreadable"
"""The kind under which hashes are counted that are not what they are called."""
_MAX_KIND_CHARS: Final = 32
_MAX_KINDS: Final = 32
_MAX_LABEL_CHARS: Final = 256
# Source: the last second that a `datetime` holds, less a day for any zone.
_MAX_TIMESTAMP: Final = 253_402_214_400


class Gathering:
    """What is found in a page.

    Attributes:
        records: The records so far.
    """

    def __init__(self, kinds: Mapping[str, HashKind]) -> None:
        """Begin.

        Args:
            kinds: By the far side's word for a kind of hash, in lower case, the kind that we know.
        """
        self.records: list[Record] = []
        self._kinds = kinds
        self._unusable: Counter[str] = Counter()

    @property
    def unusable(self) -> dict[str, int]:
        """How many hashes there were that we have no use for, by the far side's word for their kind."""
        return dict(self._unusable)

    def add(
        self,
        *parts: str,
        changed_at: datetime,
        written: Mapping[str, str],
        is_removed: bool = False,
        label: str = "",
    ) -> None:
        """Take a record in.

        Args:
            parts: What together is its id at the maker's.
            changed_at: When it came to be as it is.
            written: Its hashes as they are written, by the far side's words for their kinds.
            is_removed: It was taken back.
            label: What the maker says of it.
        """
        hashes: set[tuple[str, bytes]] = set()
        videos: dict[bytes, bytes] = {}
        for word, text in written.items():
            kind = self._kinds.get(word.lower())
            value = None if kind is None else _read_value(kind, text, videos)
            if kind is not None and value is not None:
                hashes.add((kind.value, value))
            elif not is_removed:
                self._count(UNREADABLE if kind is not None else word.lower())
        shown = "".join(char for char in label if char.isprintable())[:_MAX_LABEL_CHARS]
        self.records.append(
            Record(
                id=name_record(*parts),
                changed_at=changed_at,
                hashes=frozenset() if is_removed else frozenset(hashes),
                is_removed=is_removed,
                label=shown or None,
                videos={} if is_removed else videos,
            )
        )

    def _count(self, word: str) -> None:
        word = "".join(char for char in word if char.isalnum() or char in "_-+")[:_MAX_KIND_CHARS]
        if word in self._unusable or len(self._unusable) < _MAX_KINDS:
            self._unusable[word] += 1


def _read_value(kind: HashKind, text: str, videos: dict[bytes, bytes]) -> bytes | None:
    """Read one written hash, or a video, whose frames are put to the others; None for what is none."""
    if kind is not HashKind.VPDQ:
        return read_hash(kind, text)
    try:
        video = read_video(text)
    except MalformedError:
        return None
    if video is None:
        return None
    videos[video.name] = video.frames
    return video.name


def name_record(*parts: str) -> bytes:
    """Name a record by what its maker calls it."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.digest()[:RECORD_BYTES]


def read_timestamp(value: object) -> datetime | None:
    """Read a number of seconds since 1970, as a number or in digits; None for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= len("253402214400"):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_TIMESTAMP:
        return None
    return datetime.fromtimestamp(value, UTC)


def read_time(text: object) -> datetime | None:
    """Read a time as ISO 8601, in UTC where it does not say; None for what is none."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def write_time(when: datetime) -> str:
    """Write a time as ISO 8601 with full seconds, as the hash sharing APIs want it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
