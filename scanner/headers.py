"""Read sizes and frame counts from headers, before any decoder sees the bytes.

Decoders allocate by what headers claim, some as soon as a file is opened. So the claims are compared with the
budgets first, by code that allocates nothing. Nothing here decides what a picture is; a header that cannot be
read here is left to the decoder.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scanner.errors import MalformedError
from scanner.formats.carriers import gif_colours
from scanner.formats.jxl import parse_layout
from scanner.sniff import MediaType

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BLOCKS: Final = 1_000_000
"""Chunks or blocks walked in one file; a GIF of 128 MiB has about half as many."""

_PNG_HEADER: Final = 8
_GIF_HEADER: Final = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What the headers of a file claim.

    Attributes:
        sizes: Width and height of the canvas and of every frame that is larger.
        frames: Animation frames; None where the header does not say.
        is_truncated: The container says that it is longer than the bytes are.
        has_more: There are more animation frames than the header counts; some readers show them.
    """

    sizes: tuple[tuple[int, int], ...] = ()
    frames: int | None = None
    is_truncated: bool = False
    has_more: bool = False


def read_claims(data: bytes, media_type: MediaType) -> Claims:
    """Read what the headers claim; nothing where they cannot be read."""
    reader = _READERS.get(media_type)
    if reader is None:
        return Claims()
    try:
        return reader(data)
    except (struct.error, IndexError):
        return Claims(is_truncated=True)


def _png(data: bytes) -> Claims:
    size = struct.unpack_from(">II", data, _PNG_HEADER + 8)
    frames, found = None, 0
    at = _PNG_HEADER
    for _ in range(MAX_BLOCKS):
        if at + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"acTL":
            frames = int.from_bytes(data[at + 8 : at + 12], "big")
        found += kind == b"fcTL"
        if kind == b"IEND" or (kind == b"IDAT" and frames is None):
            break
        at += 12 + length
    return Claims(sizes=((size[0], size[1]),), frames=frames, has_more=frames is not None and found > frames)


def _gif(data: bytes) -> Claims:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = _GIF_HEADER + gif_colours(flags)
    frames = 0
    for _ in range(MAX_BLOCKS):
        # Files without their trailer are common, and every viewer shows them.
        if at >= len(data) or data[at] == 0x3B:  # noqa: PLR2004 - the trailer
            break
        if data[at] == 0x2C:  # noqa: PLR2004 - an image descriptor
            left, top, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", data, at + 1)
            # A frame may reach beyond the canvas, and decoders grow the canvas for it.
            width, height = max(width, left + frame_width), max(height, top + frame_height)
            frames += 1
            at += 10 + gif_colours(flags) + 1
        elif data[at] == 0x21:  # noqa: PLR2004 - an extension
            at += 2
        else:
            # Browsers end here, but converters pass over stray bytes and find further frames.
            return Claims(sizes=((width, height),))
        while data[at]:
            at += 1 + data[at]
        at += 1
    return Claims(sizes=((width, height),), frames=frames)


def _webp(data: bytes) -> Claims:
    end = 8 + int.from_bytes(data[4:8], "little")
    sizes: list[tuple[int, int]] = []
    frames = 0
    at = 12
    for _ in range(MAX_BLOCKS):
        if at + 8 > min(end, len(data)):
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        body = at + 8
        if kind == b"VP8X":
            sizes.append((_u24(data, body + 4) + 1, _u24(data, body + 7) + 1))
        elif kind == b"ANMF":
            frames += 1
            sizes.append((_u24(data, body + 6) + 1, _u24(data, body + 9) + 1))
        elif kind == b"VP8L":
            packed = int.from_bytes(data[body + 1 : body + 5], "little")
            sizes.append(((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1))
        elif kind == b"VP8 ":
            wide, high = struct.unpack_from("<HH", data, body + 6)
            sizes.append((wide & 0x3FFF, high & 0x3FFF))
        at = body + length + (length & 1)
    return Claims(
        sizes=tuple(sizes[:2]) + tuple(sizes[2:]), frames=frames or None, is_truncated=end > len(data)
    )


def _u24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _items(data: bytes) -> Claims:
    """Collect every `ispe` property; the pictures they belong to do not matter, all must be small enough."""
    sizes: list[tuple[int, int]] = []
    at = 0
    for _ in range(MAX_BLOCKS):
        if at >= len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        # What is glued behind the last box is no box, and nothing of the picture is missing.
        if at and not (kind.isascii() and kind.decode("ascii").isprintable()):
            break
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
        # A length of 0 means that the box reaches to the end. Source: ISO/IEC 14496-12, 4.2.
        end = at + max(length, 8) if length else len(data)
        if kind != b"mdat":
            sizes += _extents(data[at:end])
        at = end
    return Claims(sizes=tuple(sizes), is_truncated=at > len(data))


def _extents(box: bytes) -> list[tuple[int, int]]:
    sizes: list[tuple[int, int]] = []
    at = box.find(b"ispe")
    while at >= 0:
        width, height = struct.unpack_from(">II", box, at + 8)
        sizes.append((width, height))
        at = box.find(b"ispe", at + 4)
    return sizes


def _jxl(data: bytes) -> Claims:
    try:
        layout = parse_layout(data)
    except MalformedError:
        return Claims(is_truncated=True)
    size = (layout.header.width, layout.header.height)
    return Claims(sizes=(size,), is_truncated=layout.is_truncated)


_READERS: Final[dict[MediaType, Callable[[bytes], Claims]]] = {
    MediaType.PNG: _png,
    MediaType.APNG: _png,
    MediaType.GIF: _gif,
    MediaType.WEBP: _webp,
    MediaType.AVIF: _items,
    MediaType.HEIF: _items,
    MediaType.JXL: _jxl,
}
