"""Metadata in which pictures travel cut in pieces, compressed or spelled out: put together again.

Whatever lies in a file as it is needs no carrier: it is found where it lies.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import struct
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scanner.formats.jpeg import JpegHeader

MAX_INFLATED: Final = 16 * 1024 * 1024
"""Metadata of a PNG that grows beyond this is a bomb: no editor writes as much."""

MAX_CHUNKS: Final = 100_000

_BASE64: Final = re.compile(rb"(?:/9j/|iVBORw0KGgo|UklGR)(?:[A-Za-z0-9+/=]|\s|&#x[aAdD];){64,}")
"""How JPEG, PNG and WebP begin when they are spelled in base64, as XMP holds them."""

_NOT_BASE64: Final = re.compile(rb"&#x[aAdD];|[^A-Za-z0-9+/]")
_SPELLED: Final = (b"/9j/", b"iVBORw0KGgo", b"UklGR")

_RAW_PROFILE: Final = re.compile(rb"\n\w+\n\s*\d+\n([0-9a-fA-F\n]+)")
_PHOTOSHOP: Final = b"Photoshop 3.0\x00"
_MORE_XMP: Final = b"http://ns.adobe.com/xmp/extension/\x00"
_FLASHPIX: Final = b"FPXR\x00"
_JUMBF: Final = b"JP"
_APP1: Final = 0xE1
_APP2: Final = 0xE2
_APP11: Final = 0xEB


class CarrierBombError(Exception):
    """Metadata inflates to more than any editor writes."""


def jpeg_carriers(data: bytes, header: JpegHeader) -> Iterator[bytes]:
    """Put together what the segments of a JPEG carry; each block may hold pictures.

    Consecutive segments of one marker are taken as one block, without what each repeats at its beginning.
    """
    for marker, group in itertools.groupby(header.segments, key=lambda one: one.marker):
        bodies = [data[one.start : one.end] for one in group]
        for is_more, run in itertools.groupby(bodies, key=lambda body: body.startswith(_MORE_XMP)):
            block = b"".join(_pieces(marker, list(run), is_more_xmp=is_more))
            yield block
            if marker == _APP1:
                yield from spelled_pictures(block)


def _pieces(marker: int, bodies: list[bytes], *, is_more_xmp: bool) -> list[bytes]:
    if is_more_xmp:
        # The global identifier, the whole length and the offset of the piece. Source: XMP part 3, 1.1.3.1.
        head = len(_MORE_XMP) + 40
        return [body[head:] for body in sorted(bodies, key=lambda body: body[head - 4 : head])]
    if marker == _APP11:
        return [
            body[16:] if number and body.startswith(_JUMBF) else body for number, body in enumerate(bodies)
        ]
    if marker == _APP2:
        # Version, kind, index and offset of the piece of a stream. Source: Exif 2.32, 4.7.3.
        return [body[13:] if body.startswith(_FLASHPIX) else body for body in bodies]
    return [body.removeprefix(_PHOTOSHOP) for body in bodies]


def png_carriers(data: bytes) -> Iterator[bytes]:
    """Go through what a PNG holds beside its pixels, texts inflated, and what follows its end.

    Raises:
        CarrierBombError: A text is beyond all measure.
    """
    at = 8
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind not in {b"IDAT", b"fdAT"}:
            yield from _png_text(kind, data[at + 8 : at + 8 + length])
        at += 12 + length
        if kind == b"IEND":
            break
    yield data[at:]


def _png_text(kind: bytes, body: bytes) -> Iterator[bytes]:
    yield body
    if kind == b"zTXt":
        text = _inflate(body.partition(b"\x00")[2][1:])
        yield text
        # The raw profiles of ImageMagick: hexadecimal behind a name and a length.
        for found in _RAW_PROFILE.finditer(text):
            digits = found[1].replace(b"\n", b"")
            yield binascii.unhexlify(digits[: len(digits) & ~1])
    elif kind == b"iTXt":
        flags = body.partition(b"\x00")[2]
        packed = flags[2:].partition(b"\x00")[2].partition(b"\x00")[2]
        text = _inflate(packed) if flags[:1] == b"\x01" else packed
        yield text
        yield from spelled_pictures(text)


def _inflate(packed: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(packed, MAX_INFLATED)
    except zlib.error:
        return b""
    if stream.unconsumed_tail:
        raise CarrierBombError
    return found


def spelled_pictures(text: bytes) -> Iterator[bytes]:
    """Read the pictures that a text spells in base64."""
    if not any(mark in text for mark in _SPELLED):
        return
    for found in _BASE64.finditer(text):
        letters = _NOT_BASE64.sub(b"", found[0])
        # One letter alone carries no byte; what is missing otherwise is filling.
        letters = letters[:-1] if len(letters) % 4 == 1 else letters
        yield base64.b64decode(letters + b"=" * (-len(letters) % 4))


def webp_carriers(data: bytes) -> Iterator[bytes]:
    """Go through what a WebP holds beside its pixels, and what follows its end."""
    at, end = 12, 8 + int.from_bytes(data[4:8], "little")
    for _ in range(MAX_CHUNKS):
        if at + 8 > min(end, len(data)):
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind not in {b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}:
            body = data[at + 8 : at + 8 + length]
            yield body
            yield from spelled_pictures(body)
        at += 8 + length + (length & 1)
    yield data[end:]


def gif_carriers(data: bytes) -> Iterator[bytes]:
    """Put together the extensions of a GIF, and take what follows its end."""
    at = 13 + gif_colours(data[10] if len(data) > 10 else 0)  # noqa: PLR2004 - the flags of the screen
    for _ in range(MAX_CHUNKS):
        kind = data[at : at + 1]
        if kind == b"," and at + 9 < len(data):
            at += 11 + gif_colours(data[at + 9])
        elif kind == b"!":
            at += 2
        else:
            break
        pieces = []
        while at < len(data) and data[at]:
            pieces.append(data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
        at += 1
        if kind == b"!":
            block = b"".join(pieces)
            yield block
            yield from spelled_pictures(block)
    yield data[at + 1 :]


def gif_colours(flags: int) -> int:
    """Compute how many bytes a colour table takes, by the flags that go before it."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def gaps(data: bytes, covered: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Go through what lies outside some places, each given as where it begins and ends."""
    at = 0
    for start, end in sorted(covered):
        if start > at:
            yield data[at:start]
        at = max(at, end)
    yield data[at:]
