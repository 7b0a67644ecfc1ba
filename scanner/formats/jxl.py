"""The headers of JPEG XL: size, orientation, animation, and what the file holds beside its picture.

Source: ISO/IEC 18181-1:2024, annexes D.2 (size) and D.3 (image metadata); ISO/IEC 18181-2, 9 (boxes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scanner.errors import MalformedError
from scanner.formats.items import boxes

if TYPE_CHECKING:
    from collections.abc import Iterator

CODESTREAM: Final = b"\xff\x0a"
CONTAINER: Final = b"\x00\x00\x00\x0cJXL \r\n\x87\n"

HEADER_BYTES: Final = 65_536
"""The headers of a picture with a thousand named channels; behind them pixels begin."""

ALPHA: Final = 0
"""The kind of an extra channel that says how opaque a pixel is."""

_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZES: Final = ((9, 1), (13, 1), (18, 1), (30, 1))
_PREVIEW_SIZES: Final = ((6, 1), (8, 65), (10, 321), (12, 1345))
_COMPRESSED: Final = frozenset({b"Exif", b"xml ", b"jumb"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the headers of a codestream claim.

    Attributes:
        width: In pixels, before it is turned.
        height: In pixels, before it is turned.
        is_animated: Whether the codestream is an animation.
        has_preview: Whether a small picture goes before the main one.
        channels: Kinds of the channels beside colour.
    """

    width: int
    height: int
    is_animated: bool = False
    has_preview: bool = False
    channels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a file is laid out.

    Attributes:
        header: Of the codestream.
        gain_maps: Codestreams of further pictures.
        has_hidden_metadata: Whether there is metadata that is compressed so that it cannot be read here.
        is_transcoded: Whether a JPEG can be put together again from it.
        is_truncated: A box says that it is longer than the bytes are.
    """

    header: Header
    gain_maps: tuple[bytes, ...] = ()
    has_hidden_metadata: bool = False
    is_transcoded: bool = False
    is_truncated: bool = False


def parse_layout(data: bytes) -> Layout:
    """Parse the headers of a file.

    Raises:
        MalformedError: There is no codestream, or its headers end too early.
    """
    if data.startswith(CODESTREAM):
        return Layout(header=parse_header(data[:HEADER_BYTES]))
    stream = b""
    gain_maps: list[bytes] = []
    has_hidden = is_transcoded = False
    for kind, start, end in boxes(data, 0, len(data)):
        if kind in {b"jxlc", b"jxlp"} and len(stream) < HEADER_BYTES:
            stream += data[start + (4 if kind == b"jxlp" else 0) : min(end, start + HEADER_BYTES)]
        elif kind == b"jhgm":
            gain_maps.append(_gain_map(data[start:end]))
        elif kind == b"jbrd":
            is_transcoded = True
        elif kind == b"brob" and data[start : start + 4] in _COMPRESSED:
            has_hidden = True
    return Layout(
        header=parse_header(stream),
        gain_maps=tuple(gain_maps),
        has_hidden_metadata=has_hidden,
        is_transcoded=is_transcoded,
        is_truncated=_ends_early(data),
    )


def coded_places(data: bytes) -> tuple[tuple[int, int], ...]:
    """List where coded pixels and compressed metadata lie in a container."""
    if not data.startswith(CONTAINER):
        return ()
    packed = {b"jxlc", b"jxlp", b"jbrd", b"brob"}
    return tuple((start, end) for kind, start, end in boxes(data, 0, len(data)) if kind in packed)


def _ends_early(data: bytes) -> bool:
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length == 0:
            return False
        at += max(length, 8)
    return at > len(data)


def _gain_map(body: bytes) -> bytes:
    """Cut the codestream out of a gain map box: version, metadata, colour encoding and profile go before."""
    at = 3 + int.from_bytes(body[1:3], "big")
    at += 1 + (body[at] if at < len(body) else 0)
    at += 4 + int.from_bytes(body[at : at + 4], "big")
    return body[at:]


def parse_header(stream: bytes) -> Header:
    """Parse the beginning of a codestream.

    Raises:
        MalformedError: It is none, or ends too early.
    """
    if not stream.startswith(CODESTREAM):
        raise MalformedError("this is no JPEG XL codestream")
    bits = _Bits(stream[2:])
    width, height = _size(bits)
    if bits.take(1):
        return Header(width=width, height=height)
    has_preview = is_animated = False
    if bits.take(1):
        bits.take(3)
        if bits.take(1):
            _size(bits)
        has_preview = bool(bits.take(1))
        if has_preview:
            _preview(bits)
        is_animated = bool(bits.take(1))
        if is_animated:
            _animation(bits)
    _depth(bits)
    bits.take(1)
    count = bits.choose((0, 0), (0, 1), (4, 2), (12, 1))
    channels = tuple(_channels(bits, count))
    return Header(
        width=width, height=height, is_animated=is_animated, has_preview=has_preview, channels=channels
    )


def _size(bits: _Bits) -> tuple[int, int]:
    is_small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if is_small else bits.choose(*_SIZES)

    height = side()
    ratio = bits.take(3)
    if ratio == 0:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _preview(bits: _Bits) -> None:
    is_small = bits.take(1)
    for _ in range(2):
        if is_small:
            bits.choose((0, 16), (0, 32), (5, 1), (9, 33))
        else:
            bits.choose(*_PREVIEW_SIZES)
        if bits.take(3):
            return


def _animation(bits: _Bits) -> None:
    bits.choose((0, 100), (0, 1000), (10, 1), (30, 1))
    bits.choose((0, 1), (0, 1001), (8, 1), (10, 1))
    bits.choose((0, 0), (3, 0), (16, 0), (32, 0))
    bits.take(1)


def _depth(bits: _Bits) -> None:
    if bits.take(1):
        bits.choose((0, 32), (0, 16), (0, 24), (6, 1))
        bits.take(4)
    else:
        bits.choose((0, 8), (0, 10), (0, 12), (6, 1))


def _channels(bits: _Bits, count: int) -> Iterator[int]:
    for _ in range(count):
        if bits.take(1):
            yield ALPHA
            continue
        kind = bits.choose((0, 0), (0, 1), (4, 2), (6, 18))
        _depth(bits)
        bits.choose((0, 0), (0, 3), (0, 4), (3, 1))
        bits.take(8 * bits.choose((0, 0), (4, 0), (5, 16), (10, 48)))
        if kind == ALPHA:
            bits.take(1)
        elif kind == 2:  # noqa: PLR2004 - a spot colour: red, green, blue, solidity
            bits.take(64)
        elif kind == 5:  # noqa: PLR2004 - a colour filter array
            bits.choose((0, 1), (2, 0), (4, 3), (8, 19))
        yield kind


class _Bits:
    """Numbers bit by bit, the least significant bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, width: int) -> int:
        """Read a number of `width` bits.

        Raises:
            MalformedError: The data ends before.
        """
        end = self._at + width
        if end > 8 * len(self._data):
            raise MalformedError("the headers of the codestream end too early")
        whole = int.from_bytes(self._data[self._at // 8 : (end + 7) // 8], "little")
        value = whole >> self._at % 8 & ((1 << width) - 1)
        self._at = end
        return value

    def choose(self, *ways: tuple[int, int]) -> int:
        """Read a number in one of four ways, each so many bits and what is added to them.

        Raises:
            MalformedError: The data ends before.
        """
        width, added = ways[self.take(2)]
        return self.take(width) + added
