"""What a hash list's file is gathered into, and how one written hash is read.

Nothing here repeats a value in a message: lists are confidential.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from scanner.degenerate import is_degenerate
from scanner.errors import MalformedError
from scanner.flatscan import PDQ_BYTES
from scanner.hashtable import HashKind, HashTable, unpack_rows
from scanner.listvideos import MAX_LIST_FRAMES, read_video

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_LIST_ENTRIES: Final = 10_000_000
"""The largest list for which matching was measured."""
MAX_ID_CHARS: Final = 256
MAX_COLUMN_CHARS: Final = 21
"""One less than the shortest form of any hash (MD5 in base64)."""
MAX_COLUMNS_SHOWN: Final = 16
SHOWN_FAULTS: Final = 5
"""Enough to see the pattern; a wrong column makes every line bad."""

_KINDS: Final[dict[str, HashKind]] = {
    **{str(kind): kind for kind in HashKind},
    "sha-256": HashKind.SHA256,
    "sha-1": HashKind.SHA1,
    "hash_sha256": HashKind.SHA256,
    "hash_sha1": HashKind.SHA1,
    "hash_md5": HashKind.MD5,
    "hash_pdq": HashKind.PDQ,
    "hash_vpdq": HashKind.VPDQ,
    "hash_video_vpdq": HashKind.VPDQ,
    "video_vpdq": HashKind.VPDQ,
}
_LENGTHS: Final = {
    kind: (kind.width * 2, -(-kind.width // 3) * 4, -(-kind.width * 4 // 3)) for kind in HashKind
}
"""How long a hash is as hexadecimal, padded and unpadded base64."""
_HEX: Final = re.compile(r"[0-9A-Fa-f]+\Z")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}\Z")
_BINARY: Final = re.compile(r"[01]{256}\Z")
ADVICE: Final = "Nothing was imported; mend the file or ask the list's maker, then import it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with one line (CSV, text; from 1) or entry (JSON; from 1)."""

    line: int
    what: str


class HashListError(MalformedError):
    """A hash list was refused as a whole.

    Attributes:
        bad_lines: How many lines or entries cannot be read; 0 where the file itself cannot.
        faults: The first few of them.
    """

    def __init__(self, message: str, *, bad_lines: int = 0, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.bad_lines = bad_lines
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedList:
    """The contents of a list file.

    Attributes:
        listed: The hashes that the file lists.
        withdrawn: The hashes that the file takes back.
        ids: The maker's ids of the listed hashes, by (kind, value); empty where the file has none.
        videos: The frames of the listed videos, concatenated, by the names under which `listed` has them.
        placeholders: How many PDQ values and videos were left out because they say nothing about a picture.
        repeated: How many lines said again what another had said.
        ignored_columns: Columns or keys that were not understood and not needed.
    """

    listed: HashTable
    withdrawn: HashTable
    ids: Mapping[tuple[HashKind, bytes], str] = field(repr=False)
    videos: Mapping[bytes, bytes] = field(repr=False)
    placeholders: int
    repeated: int
    ignored_columns: tuple[str, ...]


class _ValueFaultError(Exception):
    """One value cannot be read; the message is for the administrator and holds no value."""


@dataclass(slots=True, kw_only=True)
class Collector:
    """Gathers entries and faults while a file is read."""

    default_kind: HashKind | None
    unit: str
    line: int = 0
    listed: dict[HashKind, set[bytes]] = field(default_factory=lambda: {kind: set() for kind in HashKind})
    withdrawn: dict[HashKind, set[bytes]] = field(default_factory=lambda: {kind: set() for kind in HashKind})
    entries: int = 0
    ids: dict[tuple[HashKind, bytes], str] = field(default_factory=dict)
    videos: dict[bytes, bytes] = field(default_factory=dict)
    frames: int = 0
    faults: list[Fault] = field(default_factory=list)
    bad_lines: int = 0
    placeholders: int = 0
    repeated: int = 0
    ignored: dict[str, None] = field(default_factory=dict)

    def add(self, line: int, *, value: object, kind: str | None, entry_id: str, is_withdrawn: bool) -> None:
        """Take one entry, or note why not.

        Args:
            line: Where it stands.
            value: The hash as it is written; of a video, also the array or object that JSON made of it.
            kind: The word for its kind, if there is any.
            entry_id: The maker's id; empty where there is none.
            is_withdrawn: The maker took it back.
        """
        try:
            written = value.strip() if isinstance(value, str) else value
            named = self._kind(written, kind)
            self._check_id(entry_id)
            parsed = self._parse(written, named)
        except _ValueFaultError as fault:
            self.fault(line, str(fault))
            return
        mine, other = (self.withdrawn, self.listed) if is_withdrawn else (self.listed, self.withdrawn)
        if parsed is not None and parsed in other[named]:
            self.fault(line, "the same hash is both listed and withdrawn")
            return
        if parsed is None or (not is_withdrawn and named is HashKind.PDQ and is_degenerate(parsed)):
            self.placeholders += 1
            return
        if parsed in mine[named]:
            self.repeated += 1
            return
        if self.entries >= MAX_LIST_ENTRIES:
            raise HashListError(f"The hash list has more than {MAX_LIST_ENTRIES:,} entries. Split it.")
        self.entries += 1
        mine[named].add(parsed)
        if named is HashKind.VPDQ and not is_withdrawn:
            self._count_frames(parsed)
        if entry_id and not is_withdrawn:
            self.ids[named, parsed] = entry_id

    def ignore(self, column: str) -> None:
        """Note a column that was not understood, unless its name is so long that it may be a value."""
        if len(column) <= MAX_COLUMN_CHARS and column.isprintable() and len(self.ignored) < MAX_COLUMNS_SHOWN:
            self.ignored[column] = None

    def fault(self, line: int, what: str) -> None:
        """Note that a line is bad; a line counts once."""
        if line != self.line or not self.bad_lines:
            self.bad_lines += 1
        self.line = line
        if len(self.faults) < SHOWN_FAULTS:
            self.faults.append(Fault(line=line, what=what))

    def finish(self) -> ParsedList:
        """Build the result.

        Raises:
            HashListError: there were faults, or nothing was found.
        """
        if self.bad_lines:
            shown = "; ".join(f"{self.unit} {fault.line:,}: {fault.what}" for fault in self.faults)
            more = " …" if self.bad_lines > len(self.faults) else ""
            many = {"line": "lines", "entry": "entries"}[self.unit] if self.bad_lines > 1 else self.unit
            raise HashListError(
                f"The hash list was refused: {self.bad_lines:,} {many} cannot be read. "
                f"{shown}{more}. {ADVICE}",
                bad_lines=self.bad_lines,
                faults=self.faults,
            )
        if self.entries == 0:
            raise HashListError(
                "The hash list holds no hashes. Check that the whole file was fetched and that its format is "
                "right; to empty a list, remove the list."
            )
        return ParsedList(
            listed=_table(self.listed),
            withdrawn=_table(self.withdrawn),
            ids=self.ids,
            videos={name: self.videos[name] for name in self.listed[HashKind.VPDQ]},
            placeholders=self.placeholders,
            repeated=self.repeated,
            ignored_columns=tuple(self.ignored),
        )

    def _kind(self, value: object, kind: str | None) -> HashKind:
        if not value:
            raise _ValueFaultError("the value is missing")
        if kind:
            named = _KINDS.get(kind.strip().lower())
            if named is None:
                raise _ValueFaultError("the type is not known (use sha256, sha1, md5, pdq or vpdq)")
            return named
        if self.default_kind is not None:
            return self.default_kind
        return _guess_kind(value) if isinstance(value, str) else HashKind.VPDQ

    def _parse(self, value: object, kind: HashKind) -> bytes | None:
        """Parse one written value; None for a video that shows nothing to look for.

        Raises:
            _ValueFaultError: it is not of this kind.
        """
        if kind is not HashKind.VPDQ:
            if not isinstance(value, str):
                raise _ValueFaultError("the value must be a string")
            return _parse_value(value, kind)
        try:
            video = read_video(value)
        except MalformedError as error:
            raise _ValueFaultError(str(error)) from error
        if video is None:
            return None
        self.videos[video.name] = video.frames
        return video.name

    def _count_frames(self, name: bytes) -> None:
        """Bound what the videos of a list take.

        Raises:
            HashListError: they have too many frames together.
        """
        self.frames += len(self.videos[name]) // PDQ_BYTES
        if self.frames > MAX_LIST_FRAMES:
            raise HashListError(
                f"The videos of the hash list have more than {MAX_LIST_FRAMES:,} frames together. Split it."
            )

    @staticmethod
    def _check_id(entry_id: str) -> None:
        if len(entry_id) > MAX_ID_CHARS or not entry_id.isprintable():
            raise _ValueFaultError(f"the id is longer than {MAX_ID_CHARS} characters or not printable")


def _guess_kind(value: str) -> HashKind:
    if _BINARY.match(value):
        return HashKind.PDQ
    for kind in (HashKind.MD5, HashKind.SHA1):
        if len(value) in _LENGTHS[kind]:
            return kind
    if len(value) in _LENGTHS[HashKind.SHA256]:
        raise _ValueFaultError(
            "32 bytes may be SHA-256 or PDQ: write the type, as in pdq:… or in a type column"
        )
    raise _ValueFaultError("no kind of hash has this length")


def _parse_value(value: str, kind: HashKind) -> bytes:
    """Parse one written hash.

    Raises:
        _ValueFaultError: it is not a hash of this kind.
    """
    hexadecimal, *encoded = _LENGTHS[kind]
    if len(value) == hexadecimal and _HEX.match(value):
        return bytes.fromhex(value)
    if len(value) in encoded and _BASE64.match(value):
        plain = value.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            decoded = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        except binascii.Error:
            decoded = b""
        if len(decoded) == kind.width:
            return decoded
    if kind is HashKind.PDQ and _BINARY.match(value):
        return int(value, 2).to_bytes(kind.width, "big")
    raise _ValueFaultError(
        f"the value is no {kind}: {hexadecimal} hexadecimal digits or base64 of {kind.width} bytes"
    )


def _table(values: Mapping[HashKind, Iterable[bytes]]) -> HashTable:
    return HashTable.from_rows({kind: unpack_rows(kind, b"".join(some)) for kind, some in values.items()})


def read_hash(kind: HashKind, text: str) -> bytes | None:
    """Read one written hash; None for what is no hash of this kind, or none of any picture."""
    try:
        value = _parse_value(text.strip(), kind)
    except _ValueFaultError:
        return None
    return None if kind is HashKind.PDQ and is_degenerate(value) else value
