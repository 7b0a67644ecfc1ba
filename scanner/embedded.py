"""Find pictures and films inside the bytes of a picture: thumbnails, previews, gain maps, motion photos.

The coded data of a JPEG never holds the three bytes with which a JPEG begins (a zero follows each 255,
restart marks apart), so wherever they stand behind the first byte another JPEG begins: an EXIF thumbnail, a
Photoshop preview, the further pictures of the multi-picture format, or one that was glued to the end. Other
formats begin with marks that chance does not write. No directory needs to be believed for that; what travels
in pieces, compressed or spelled out is put together first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scanner.formats import jxl
from scanner.formats.carriers import gaps, gif_carriers, jpeg_carriers, png_carriers, webp_carriers
from scanner.formats.items import coded_places
from scanner.formats.jpeg import find_header
from scanner.formats.thumbnails import PlainPicture, jpeg_thumbnails, tiff_thumbnails
from scanner.sniff import HEAD_BYTES, MediaType, sniff

if TYPE_CHECKING:
    from collections.abc import Iterator

SOI: Final = re.compile(rb"\xff\xd8\xff")
"""Start of image and the first byte of the next marker. Source: ITU-T T.81, B.1.1.3."""

MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""What is neither coded data nor a restart mark. Source: ITU-T T.81, B.1.1.2."""

MAX_DEPTH: Final = 3
"""A thumbnail in a preview in a picture; what is packed deeper is found where it lies as it is."""

_JXL_BRAND: Final = b"jxl "
_EBML: Final = b"\x1a\x45\xdf\xa3"
_MARKS: Final = (
    (b"\x89PNG\r\n\x1a\n", 0),
    (b"GIF87a", 0),
    (b"GIF89a", 0),
    (b"WEBPVP8", 8),
    (b"ftyp", 4),
    (b"JXL \r\n\x87\n", 4),
    (_EBML, 0),
)
"""Marks by which other formats begin, and how many bytes go before them."""

_ENDS: Final = frozenset({0xD8, 0xD9})
"""The end of the picture, or the beginning of the next where the end is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A picture or film that begins inside other bytes.

    Attributes:
        media_type: What it is.
        data: From its beginning to wherever the bytes around it end.
    """

    media_type: MediaType
    data: bytes


def find_embedded(
    data: bytes, media_type: MediaType, metadata: bytes = b""
) -> Iterator[Embedded | PlainPicture]:
    """Find what lies inside a file behind its beginning.

    Args:
        data: The file.
        media_type: What it is.
        metadata: An EXIF block that its decoder put together, which may lie in the file in pieces.

    Raises:
        CarrierBombError: Metadata inflates beyond all measure.
    """
    if media_type is MediaType.JPEG:
        yield from _in_jpeg(data)
    else:
        for block in _beside_pixels(data, media_type):
            yield from _in_block(block, 1)
    if metadata:
        yield from tiff_thumbnails(metadata.removeprefix(b"Exif\x00\x00"))
        # Items may lie in the file in pieces.
        if media_type in {MediaType.AVIF, MediaType.HEIF} and metadata not in data:
            yield from _in_block(metadata, 1)


def _beside_pixels(data: bytes, media_type: MediaType) -> Iterator[bytes]:
    """Go through what a file holds beside coded pixels, in which nothing but noise would be found."""
    match media_type:
        case MediaType.PNG | MediaType.APNG:
            yield from png_carriers(data)
        case MediaType.WEBP:
            yield from webp_carriers(data)
        case MediaType.GIF:
            yield from gif_carriers(data)
        case MediaType.AVIF | MediaType.HEIF:
            yield from gaps(data, ((0, 12), *coded_places(data)))
        case _:
            yield from gaps(data, ((0, 12), *jxl.coded_places(data)))


def _in_jpeg(data: bytes) -> Iterator[Embedded | PlainPicture]:
    """Look into the segments of a JPEG, between its scans, and behind its end."""
    header = find_header(data)
    if header is None:
        yield from _in_block(data[1:], 1)
        return
    yield from jpeg_thumbnails(data, header)
    for block in jpeg_carriers(data, header):
        yield from _in_block(block, 1)
    at = header.scan_at
    # Of the ways to search bytes, an expression takes the least time over coded data, which is full of 255.
    while found := MARKER.search(data, at):
        marker = data[found.start() + 1]
        if marker in _ENDS:
            yield from _in_block(data[found.start() :], 1)
            return
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        at = found.end() + length
        yield from _in_block(data[found.end() : at], 1)


def find_anywhere(block: bytes) -> Iterator[Embedded | PlainPicture]:
    """Find what begins anywhere in bytes of any kind.

    Raises:
        CarrierBombError: Metadata inflates beyond all measure.
    """
    return _in_block(block, 1)


def _in_block(block: bytes, depth: int) -> Iterator[Embedded | PlainPicture]:
    """Look through bytes of any kind."""
    yield from _others(block)
    at = 0
    while found := SOI.search(block, at):
        at = found.start() + 1
        header = find_header(block, found.start())
        if header is None:
            continue
        yield Embedded(media_type=MediaType.JPEG, data=block[found.start() :])
        if depth < MAX_DEPTH:
            yield from jpeg_thumbnails(block, header)
            for inner in jpeg_carriers(block, header):
                yield from _in_block(inner, depth + 1)
            at = header.scan_at


def _others(block: bytes) -> Iterator[Embedded]:
    for mark, before in _MARKS:
        at = block.find(mark, before)
        while at >= 0:
            begin = at - before
            kind = sniff(block[begin : begin + HEAD_BYTES]) if _is_plausible(block, begin, mark) else None
            if kind is not None and kind is not MediaType.JPEG:
                yield Embedded(media_type=kind, data=block[begin:])
            at = block.find(mark, at + len(mark))


def _is_plausible(block: bytes, begin: int, mark: bytes) -> bool:
    """Tell a mark from four letters that stand there by chance."""
    if mark == b"ftyp":
        length = int.from_bytes(block[begin : begin + 4], "big")
        # JPEG XL has a mark of its own, and its brand behind it.
        is_film = block[begin + 8 : begin + 12] != _JXL_BRAND
        return is_film and 16 <= length <= HEAD_BYTES and length % 4 == 0  # noqa: PLR2004 - one brand at least
    if mark == _EBML:
        return re.search(rb"webm|matroska", block[begin : begin + 64]) is not None
    return True
