"""The parts that files are made of, and mutations that change these instead of single bytes.

Whoever changes a file on purpose mends its checksums and the lengths around what was changed; so do these.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
_NESTED: Final = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"iprp", b"ipco", b"moof", b"traf"}
_MASTERS: Final = {0x18538067, 0x1654AE6B, 0xAE, 0x1F43B675, 0xA0, 0x1941A469, 0x61A7, 0xE0}
"""Segment, tracks, track, cluster, block group, attachments, attached file, video. Source: RFC 9559."""
_MOST_PARTS: Final = 2_000
_STRETCHES: Final = (-9, -4, -1, 1, 2, 4, 8, 255, 65_535)
_EBML_FIELDS: Final = "ebml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Where a length stands, and how it is written.

    Attributes:
        at: Its place.
        width: How many bytes it takes.
        order: `big`, `little` or `ebml`.
    """

    at: int
    width: int
    order: str

    def read(self, data: bytes | bytearray) -> int:
        raw = bytes(data[self.at : self.at + self.width])
        if self.order == _EBML_FIELDS:
            return int.from_bytes(raw) & ((1 << 7 * self.width) - 1)
        return int.from_bytes(raw, "little" if self.order == "little" else "big")

    def write(self, data: bytearray, value: int) -> None:
        """Write a value, or as much of it as there is room for."""
        if self.order == _EBML_FIELDS:
            field = value & ((1 << 7 * self.width) - 1) | 1 << 7 * self.width
        else:
            field = value & ((1 << 8 * self.width) - 1)
        raw = field.to_bytes(self.width, "little" if self.order == "little" else "big")
        data[self.at : self.at + self.width] = raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One chunk, segment, box, element or block.

    Attributes:
        start: Where it begins.
        body: Where its content begins.
        end: Where the next one begins.
        length: Its length field; None where it has none.
        around: The lengths of what it lies in, from the outside in.
        has_checksum: Whether a CRC over kind and content goes at its end, as in PNG.
    """

    start: int
    body: int
    end: int
    length: Length | None = None
    around: tuple[Length, ...] = ()
    has_checksum: bool = False


def parts(data: bytes | bytearray) -> list[Part]:
    """List the parts of a file of a known format; none of others."""
    whole = bytes(data)
    for mark, at, walk in _WALKS:
        if whole[at : at + len(mark)] == mark:
            return [part for _, part in zip(range(_MOST_PARTS), walk(whole), strict=False)]
    return []


def change_length(data: bytearray, chance: Random) -> None:
    """Make a part claim to be longer or shorter than it is."""
    with_length = [(part, part.length) for part in parts(data) if part.length is not None]
    if not with_length:
        return
    part, length = chance.choice(with_length)
    most = (1 << 8 * length.width) - 1
    stretched = length.read(data) + chance.choice(_STRETCHES)
    length.write(data, chance.choice((stretched, stretched, stretched, 0, 1, most, most >> 1)))
    _mend(data, part)


def change_body(data: bytearray, chance: Random) -> None:
    """Change bytes inside a part, and mend its checksum; as often in a small one as in a large one."""
    filled = [part for part in parts(data) if _end_of_body(part) > part.body]
    if not filled:
        return
    part = chance.choice(filled)
    for _ in range(chance.choice((1, 1, 2, 8))):
        data[chance.randrange(part.body, _end_of_body(part))] = chance.choice(
            (0, 1, 0xFF, chance.randrange(256))
        )
    _mend(data, part)


def drop_part(data: bytearray, chance: Random) -> None:
    """Leave a part out, and mend the lengths around it."""
    if found := parts(data):
        _replace(data, chance, chance.choice(found), b"")


def repeat_part(data: bytearray, chance: Random) -> None:
    """Put a part in once more, behind itself or behind another."""
    if found := parts(data):
        part, other = chance.choice(found), chance.choice(found)
        begin = chance.choice((part, other))
        copy = bytes(data[part.start : part.end]) * chance.choice((1, 1, 2, 20))
        _replace(data, chance, begin, bytes(data[begin.start : begin.end]) + copy)


def exchange_parts(data: bytearray, chance: Random) -> None:
    """Put a part in the place of another."""
    if found := parts(data):
        part, other = chance.choice(found), chance.choice(found)
        _replace(data, chance, part, bytes(data[other.start : other.end]))


def cut_part(data: bytearray, chance: Random) -> None:
    """Cut the end of a part away, and let every length say so: nothing is missing but content."""
    filled = [part for part in parts(data) if _end_of_body(part) > part.body]
    if not filled:
        return
    part = chance.choice(filled)
    keep = chance.randrange(part.body, _end_of_body(part))
    lost = _end_of_body(part) - keep
    for length in (*part.around, *([part.length] if part.length else [])):
        length.write(data, length.read(data) - lost)
    del data[keep : _end_of_body(part)]
    if part.has_checksum:
        struct.pack_into(">I", data, keep, zlib.crc32(data[part.start + 4 : keep]))


def repack_pixels(data: bytearray, chance: Random) -> None:
    """Change the pixels of a PNG under their compression, or how many there are."""
    found = [
        part for part in parts(data) if part.has_checksum and data[part.start + 4 : part.body] == b"IDAT"
    ]
    if not found:
        return
    packed = b"".join(bytes(data[part.body : _end_of_body(part)]) for part in found)
    try:
        rows = bytearray(zlib.decompressobj().decompress(packed, 1 << 22))
    except zlib.error:
        return
    if chance.random() < 0.3:
        del rows[chance.randrange(len(rows) + 1) :]
    for _ in range(chance.choice((1, 4, 64)) if rows else 0):
        rows[chance.randrange(len(rows))] = chance.randrange(256)
    body = zlib.compress(bytes(rows))
    crc = zlib.crc32(b"IDAT" + body)
    data[found[0].start : found[-1].end] = (
        struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", crc)
    )


def _replace(data: bytearray, chance: Random, part: Part, new: bytes) -> None:
    if chance.random() < 0.7:
        for length in part.around:
            length.write(data, length.read(data) + len(new) - (part.end - part.start))
    data[part.start : part.end] = new


def _end_of_body(part: Part) -> int:
    return part.end - 4 if part.has_checksum else part.end


def _mend(data: bytearray, part: Part) -> None:
    if part.has_checksum:
        struct.pack_into(">I", data, part.end - 4, zlib.crc32(data[part.start + 4 : part.end - 4]))


def _png(data: bytes) -> Iterator[Part]:
    at = len(PNG_HEAD)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if end > len(data):
            return
        length = Length(at=at, width=4, order="big")
        yield Part(start=at, body=at + 8, end=end, length=length, has_checksum=True)
        at = end


def _jpeg(data: bytes) -> Iterator[Part]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        length = Length(at=at + 2, width=2, order="big")
        yield Part(start=at, body=at + 4, end=min(end, len(data)), length=length)
        if data[at + 1] == 0xDA:
            scan = data.find(b"\xff\xd9", end)
            yield Part(start=end, body=end, end=scan if scan > end else len(data))
            return
        at = end


def _gif(data: bytes) -> Iterator[Part]:
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at + 10 < len(data):
        start = at
        if data[at] == 0x2C:
            flags = data[at + 9]
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        elif data[at] == 0x21:
            at += 2
        else:
            return
        body = at
        while at < len(data) and data[at]:
            length = Length(at=at, width=1, order="big")
            yield Part(start=at, body=at + 1, end=min(at + 1 + data[at], len(data)), length=length)
            at += 1 + data[at]
        at += 1
        if at > len(data):
            return
        yield Part(start=start, body=body, end=at)


def _riff(data: bytes) -> Iterator[Part]:
    yield from _chunks(data, 12, len(data), (Length(at=4, width=4, order="little"),))


def _chunks(data: bytes, at: int, end: int, around: tuple[Length, ...]) -> Iterator[Part]:
    while at + 8 <= end:
        length = Length(at=at + 4, width=4, order="little")
        size = length.read(data)
        behind = at + 8 + size + (size & 1)
        if behind > end:
            return
        yield Part(start=at, body=at + 8, end=behind, length=length, around=around)
        if data[at : at + 4] == b"ANMF":
            yield from _chunks(data, at + 24, behind, (*around, length))
        at = behind


def _iso(data: bytes) -> Iterator[Part]:
    yield from _boxes(data, 0, len(data), ())


def _boxes(data: bytes, at: int, end: int, around: tuple[Length, ...]) -> Iterator[Part]:
    while at + 8 <= end:
        length = Length(at=at, width=4, order="big")
        behind = at + length.read(data)
        if behind < at + 8 or behind > end:
            return
        yield Part(start=at, body=at + 8, end=behind, length=length, around=around)
        kind = data[at + 4 : at + 8]
        if kind in _NESTED or kind == b"meta":
            inside = at + (12 if kind == b"meta" else 8)
            yield from _boxes(data, inside, behind, (*around, length))
        at = behind


def _ebml(data: bytes) -> Iterator[Part]:
    yield from _elements(data, 0, len(data), ())


def _elements(data: bytes, at: int, end: int, around: tuple[Length, ...]) -> Iterator[Part]:
    while at + 2 <= end and data[at]:
        width = 9 - data[at].bit_length()
        name = int.from_bytes(data[at : at + width])
        place = at + width
        if place >= end or not data[place]:
            return
        length = Length(at=place, width=9 - data[place].bit_length(), order=_EBML_FIELDS)
        body = place + length.width
        behind = body + length.read(data)
        if behind > end:
            return
        yield Part(start=at, body=body, end=behind, length=length, around=around)
        if name in _MASTERS:
            yield from _elements(data, body, behind, (*around, length))
        at = behind


_WALKS: Final[tuple[tuple[bytes, int, Callable[[bytes], Iterator[Part]]], ...]] = (
    (PNG_HEAD, 0, _png),
    (b"\xff\xd8\xff", 0, _jpeg),
    (b"GIF8", 0, _gif),
    (b"RIFF", 0, _riff),
    (b"ftyp", 4, _iso),
    (b"JXL ", 4, _iso),
    (b"\x1a\x45\xdf\xa3", 0, _ebml),
)
