"""The items of HEIF and AVIF files: which pictures there are, how they belong together, where they lie.

Not checked here: that the pictures are what they claim to be; whoever decodes them compares sizes with the
budgets.

Source: ISO/IEC 14496-12 (8.11, metadata) and ISO/IEC 23008-12 (6, image items).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scanner.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BOXES: Final = 100_000
"""Boxes walked at one level; one for each property of ten thousand pictures."""

MAX_ITEMS: Final = 10_000
"""A picture of 66 megapixels in tiles of 128 x 128 has four thousand."""

MAX_EXTENTS: Final = 100_000
"""Places of all items together; an item lies in one, or in a few. A place may be written in no bytes."""

MAX_ITEM_BYTES: Final = 256 * 1024 * 1024
"""Twice the largest file that is decoded: extents that overlap could add up to more than they came from."""

_FIRST_BODY: Final = 8
NOT_PICTURES: Final = frozenset({b"Exif", b"mime", b"uri ", b"rgan", b"tmap"})
"""Metadata, regions, and the recipe that lays a gain map over a picture: both of these are items
themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item.

    Attributes:
        number: What references name it by.
        kind: Four letters: the coding of a picture, a derivation, or a kind of metadata.
        properties: Kind and body of each property that belongs to it, in order.
        extents: Places in the file, as (offset, length).
        is_inline: Whether the extents count from the beginning of the `idat` box.
    """

    number: int
    kind: bytes
    properties: tuple[tuple[bytes, bytes], ...] = ()
    extents: tuple[tuple[int, int], ...] = ()
    is_inline: bool = False

    def find(self, kind: bytes) -> bytes | None:
        """Find the body of the first property of a kind."""
        return next((body for name, body in self.properties if name == kind), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """That an item stands in a relation to others: `thmb` is a thumbnail of them, `dimg` is made of them."""

    kind: bytes
    source: int
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """All items of a file.

    Attributes:
        data: The whole file.
        primary: Number of the picture that is shown.
        by_number: The items.
        references: How they belong together.
        inline: Body of the `idat` box.
        has_tracks: Whether the file holds a sequence, too.
    """

    data: bytes
    primary: int | None
    by_number: dict[int, Item]
    references: tuple[Reference, ...]
    inline: bytes
    has_tracks: bool

    def pictures(self) -> tuple[int, ...]:
        """List the items that are pictures of their own, the primary one first.

        The tiles of a grid are parts of it, and so is what is attached to them.
        """
        parts = {
            target
            for one in self.references
            if one.kind == b"dimg" and one.source in self.by_number
            for target in one.targets
            if self.by_number[one.source].kind == b"grid"
        }
        attached = {one.source for one in self.references if parts.intersection(one.targets)}
        alone = [
            number
            for number, item in self.by_number.items()
            if item.kind not in NOT_PICTURES and number not in parts | (attached - {self.primary})
        ]
        return tuple(sorted(alone, key=lambda number: (number != self.primary, number)))

    def is_attached(self, number: int) -> bool:
        """Tell whether a picture belongs to another: a thumbnail, an auxiliary, an ingredient."""
        return number != self.primary and any(
            (one.kind in {b"thmb", b"auxl"} and one.source == number)
            or (one.kind == b"dimg" and number in one.targets)
            for one in self.references
        )

    def targets(self, kind: bytes, source: int) -> tuple[int, ...]:
        """List what an item refers to in one way, in order."""
        return tuple(
            target
            for one in self.references
            if one.kind == kind and one.source == source
            for target in one.targets
        )

    def read(self, number: int) -> bytes:
        """Put the bytes of an item together.

        Raises:
            MalformedError: There is no such item, or it lies beyond the bytes that are there.
            EOFError: It reaches beyond the end of the file.
        """
        item = self.by_number.get(number)
        if item is None or not item.extents:
            raise MalformedError("an item that is referred to does not exist")
        source = self.inline if item.is_inline else self.data
        if sum(length for _, length in item.extents) > MAX_ITEM_BYTES:
            raise MalformedError("an item is larger than any file")
        parts = []
        for offset, length in item.extents:
            end = offset + length if length else len(source)
            if end > len(source):
                raise EOFError
            parts.append(source[offset:end])
        return b"".join(parts)


def parse_items(data: bytes) -> Items:
    """Parse the items of a file.

    Raises:
        MalformedError: The boxes are not laid out as they must be.
    """
    meta: dict[bytes, bytes] = {}
    has_tracks = False
    for kind, start, end in boxes(data, 0, len(data)):
        if kind == b"ftyp" and start > _FIRST_BODY:
            # A file of its own, glued behind this one.
            break
        has_tracks = has_tracks or kind == b"moov"
        if kind == b"meta" and not meta:
            meta = {name: data[first:last] for name, first, last in boxes(data, start + 4, end)}
    try:
        locations = _locations(meta.get(b"iloc", b""))
        properties = _properties(meta.get(b"iprp", b""))
        by_number = {
            number: Item(
                number=number,
                kind=kind,
                properties=properties.get(number, ()),
                extents=locations.get(number, ((), 0))[0],
                is_inline=locations.get(number, ((), 0))[1] == 1,
            )
            for number, kind in _kinds(meta.get(b"iinf", b""))
        }
        references = tuple(_references(meta.get(b"iref", b"")))
        primary = _primary(meta.get(b"pitm", b""))
    except (struct.error, IndexError) as error:
        raise MalformedError("the items of the file cannot be read") from error
    return Items(
        data=data,
        primary=primary,
        by_number=by_number,
        references=references,
        inline=meta.get(b"idat", b""),
        has_tracks=has_tracks,
    )


def coded_places(data: bytes) -> tuple[tuple[int, int], ...]:
    """List where the coded pictures of a file lie; nothing where its items cannot be read."""
    try:
        items = parse_items(data)
    except MalformedError:
        return ()
    return tuple(
        (offset, offset + length)
        for item in items.by_number.values()
        for offset, length in item.extents
        if item.kind not in NOT_PICTURES and not item.is_inline
    )


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Walk boxes: the kind, and where the body begins and ends; stops where nothing more can be read."""
    at = start
    for _ in range(MAX_BOXES):
        if at + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            if at + 16 > end:
                return
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        # A length of 0 means that the box reaches to the end. Source: ISO/IEC 14496-12, 4.2.
        stop = at + length if length else end
        if stop < at + head:
            return
        yield kind, at + head, min(stop, end)
        at = stop


def _primary(body: bytes) -> int | None:
    if not body:
        return None
    return int.from_bytes(body[4:6] if body[0] == 0 else body[4:8], "big")


def _kinds(body: bytes) -> Iterator[tuple[int, bytes]]:
    if not body:
        return
    seen = 0
    for kind, start, end in boxes(body, 6 if body[0] == 0 else 8, len(body)):
        if kind != b"infe" or end - start < 12:  # noqa: PLR2004 - version, flags, number, protection, kind
            continue
        seen += 1
        if seen > MAX_ITEMS:
            raise MalformedError("a file holds more items than any picture has")
        version = body[start]
        width = 2 if version <= 2 else 4  # noqa: PLR2004 - numbers of 16 or 32 bits
        at = start + 4 + width + 2
        yield int.from_bytes(body[start + 4 : start + 4 + width], "big"), body[at : at + 4]


def _references(body: bytes) -> Iterator[Reference]:
    if not body:
        return
    width = 2 if body[0] == 0 else 4
    for kind, start, end in boxes(body, 4, len(body)):
        source = int.from_bytes(body[start : start + width], "big")
        count = int.from_bytes(body[start + width : start + width + 2], "big")
        first = start + width + 2
        targets = tuple(
            int.from_bytes(body[at : at + width], "big")
            for at in range(first, min(first + count * width, end), width)
        )
        yield Reference(kind=kind, source=source, targets=targets)


def _locations(body: bytes) -> dict[int, tuple[tuple[tuple[int, int], ...], int]]:
    """Read where items lie: extents and construction method by number."""
    found: dict[int, tuple[tuple[tuple[int, int], ...], int]] = {}
    if not body:
        return found
    version, sizes = body[0], int.from_bytes(body[4:6], "big")
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    reader = _Reader(body, 6)
    number_size = 4 if version == 2 else 2  # noqa: PLR2004
    listed = 0
    for _ in range(min(reader.take(number_size), MAX_ITEMS)):
        number = reader.take(number_size)
        method = reader.take(2) & 15 if version else 0
        reader.take(2)
        base = reader.take(base_size)
        extents = []
        count = reader.take(2)
        listed += count
        if listed > MAX_EXTENTS:
            raise MalformedError("the items of a file lie in more places than any picture's do")
        for _ in range(count):
            reader.take(index_size if version else 0)
            offset = reader.take(offset_size)
            extents.append((base + offset, reader.take(length_size)))
        found[number] = (tuple(extents), method)
    return found


def _properties(body: bytes) -> dict[int, tuple[tuple[bytes, bytes], ...]]:
    shared: list[tuple[bytes, bytes]] = []
    found: dict[int, tuple[tuple[bytes, bytes], ...]] = {}
    for kind, start, end in boxes(body, 0, len(body)):
        if kind == b"ipco":
            shared = [(name, body[first:last]) for name, first, last in boxes(body, start, end)]
    for kind, start, end in boxes(body, 0, len(body)):
        if kind != b"ipma":
            continue
        version, is_wide = body[start], body[start + 3] & 1
        reader = _Reader(body[start:end], 4)
        for _ in range(min(reader.take(4), MAX_ITEMS)):
            number = reader.take(4 if version else 2)
            places = [
                reader.take(2) & 0x7FFF if is_wide else reader.take(1) & 0x7F for _ in range(reader.take(1))
            ]
            found[number] = tuple(shared[place - 1] for place in places if 0 < place <= len(shared))
    return found


class _Reader:
    """Numbers of any width, one behind the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def take(self, width: int) -> int:
        """Read the next number.

        Raises:
            IndexError: The data ends before.
        """
        end = self._at + width
        if end > len(self._data):
            raise IndexError
        value = int.from_bytes(self._data[self._at : end], "big")
        self._at = end
        return value
