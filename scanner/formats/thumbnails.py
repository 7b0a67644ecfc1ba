"""Thumbnails that are no files of their own: plain pixels in JFIF, EXIF and Photoshop's resources."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scanner.formats.jpeg import JpegHeader

MAX_TAGS: Final = 1_000
"""Tags of one directory; cameras write about fifty."""

MAX_RESOURCES: Final = 10_000

_JFIF: Final = b"JFIF\x00"
_JFXX: Final = b"JFXX\x00"
_EXIF: Final = b"Exif\x00\x00"
_PHOTOSHOP: Final = b"Photoshop 3.0\x00"
_APP0, _APP1, _APP13 = 0xE0, 0xE1, 0xED

# Source: TIFF 6.0, sections 4 and 6.
_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _OFFSETS, _SAMPLES, _COUNTS = (
    0x100,
    0x101,
    0x103,
    0x106,
    0x111,
    0x115,
    0x117,
)
_TYPE_BYTES: Final = {1: 1, 3: 2, 4: 4}
_UNCOMPRESSED: Final = 1
_MODES: Final = {(1, 1): "L", (2, 3): "RGB", (6, 3): "YCbCr"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainPicture:
    """A picture as plain pixels.

    Attributes:
        mode: Pillow's name of the layout: `L`, `P`, `RGB` or `YCbCr`.
        width: In pixels.
        height: In pixels.
        pixels: Row by row, without padding.
        palette: 768 bytes for `P`.
    """

    mode: str
    width: int
    height: int
    pixels: bytes
    palette: bytes = b""


def jpeg_thumbnails(data: bytes, header: JpegHeader) -> Iterator[PlainPicture]:
    """Find the plain thumbnails in the segments of a JPEG."""
    for one in header.segments:
        body = data[one.start : one.end]
        if one.marker == _APP0 and body.startswith(_JFIF):
            # Source: JFIF 1.02, "JFIF APP0 marker segment".
            yield from _whole("RGB", body[12:])
        elif one.marker == _APP0 and body[:6] == _JFXX + b"\x13":
            yield from _whole("RGB", body[6:])
        elif one.marker == _APP0 and body[:6] == _JFXX + b"\x11":
            yield from _with_palette(body[6:])
        elif one.marker == _APP1 and body.startswith(_EXIF):
            yield from tiff_thumbnails(body[6:])
        elif one.marker == _APP13 and body.startswith(_PHOTOSHOP):
            yield from _resources(body[len(_PHOTOSHOP) :])


def _whole(mode: str, body: bytes) -> Iterator[PlainPicture]:
    width, height = (*body[:2], 0, 0)[:2]
    pixels = body[2 : 2 + 3 * width * height]
    if pixels and len(pixels) == 3 * width * height:
        yield PlainPicture(mode=mode, width=width, height=height, pixels=pixels)


def _with_palette(body: bytes) -> Iterator[PlainPicture]:
    width, height = (*body[:2], 0, 0)[:2]
    palette, pixels = body[2:770], body[770 : 770 + width * height]
    if pixels and len(pixels) == width * height:
        yield PlainPicture(mode="P", width=width, height=height, pixels=pixels, palette=palette)


def tiff_thumbnails(tiff: bytes) -> Iterator[PlainPicture]:
    """Find the uncompressed thumbnail in the second directory of an EXIF block."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return
    try:
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, first)
        (second,) = struct.unpack_from(f"{order}I", tiff, first + 2 + 12 * count)
        tags = _directory(tiff, second, order) if second else {}
    except struct.error:
        return
    samples = tags.get(_SAMPLES, [1])[0]
    mode = _MODES.get((tags.get(_PHOTOMETRIC, [0])[0], samples))
    if mode is None or tags.get(_COMPRESSION) != [_UNCOMPRESSED]:
        return
    width, height = tags.get(_WIDTH, [0])[0], tags.get(_HEIGHT, [0])[0]
    strips = zip(tags.get(_OFFSETS, []), tags.get(_COUNTS, []), strict=False)
    pixels = b"".join(tiff[at : at + length] for at, length in strips)[: width * height * samples]
    if pixels and len(pixels) == width * height * samples:
        yield PlainPicture(mode=mode, width=width, height=height, pixels=pixels)


def _directory(tiff: bytes, at: int, order: str) -> dict[int, list[int]]:
    """Read the whole numbers of a directory, by tag."""
    found: dict[int, list[int]] = {}
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for number in range(min(count, MAX_TAGS)):
        tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, at + 2 + 12 * number)
        width = _TYPE_BYTES.get(kind)
        if width is None or values * width > len(tiff):
            continue
        start = at + 10 + 12 * number
        if values * width > 4:  # noqa: PLR2004 - what does not fit lies elsewhere
            (start,) = struct.unpack_from(f"{order}I", tiff, start)
        letter = {1: "B", 2: "H", 4: "I"}[width]
        found[tag] = list(struct.unpack_from(f"{order}{values}{letter}", tiff, start))
    return {tag: values for tag, values in found.items() if values}


def _resources(block: bytes) -> Iterator[PlainPicture]:
    """Find raw thumbnails among Photoshop's resources; those in JPEG are found where they lie."""
    at = 0
    for _ in range(MAX_RESOURCES):
        if block[at : at + 4] != b"8BIM" or at + 12 > len(block):
            return
        number = int.from_bytes(block[at + 4 : at + 6], "big")
        # The name has a length byte and is padded to an even length, and so is the body.
        name = (block[at + 6] + 2) & ~1
        size = int.from_bytes(block[at + 6 + name : at + 10 + name], "big")
        body = block[at + 10 + name : at + 10 + name + size]
        if number in {1033, 1036} and len(body) > 28:  # noqa: PLR2004 - the header of a thumbnail resource
            kind, width, height, row = struct.unpack_from(">4I", body)
            if kind == 0 and 0 < 3 * width <= row and row * height <= len(body) - 28:
                rows = (body[28 + line * row :][: 3 * width] for line in range(height))
                pixels = b"".join(rows)
                # The older resource stores blue first.
                if number == 1033:  # noqa: PLR2004
                    pixels = _swapped(pixels)
                yield PlainPicture(mode="RGB", width=width, height=height, pixels=pixels)
        at += 10 + name + size + (size & 1)


def _swapped(pixels: bytes) -> bytes:
    swapped = bytearray(pixels)
    swapped[0::3], swapped[2::3] = pixels[2::3], pixels[0::3]
    return bytes(swapped)
