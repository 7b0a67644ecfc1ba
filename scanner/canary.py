"""The canary: a drawn picture and the list that knows it, so that an operator can watch the whole line work.

It shows a lighthouse behind a breakwater and says what it is. As EICAR and GTUBE do in their fields, it makes
every stage act without anything harmful being near. The drawing uses integers only and the PNG is written
without compression, so its bytes, and with them the digests below, are the same on every machine for ever.
"""

# ruff: noqa: PLR2004 - the coordinates of a drawing have no names

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from scanner.hashlist import HashEntry, HashKind, HashList
from scanner.labels import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE: Final = 512
NAME: Final = "breakwater-canary"
VERSION: Final = "1"
LABEL: Final = "canary"
SHA256: Final = bytes.fromhex("92ca14c917a805f671087400f4c44e047101ba428a32ea2e51ce4087fb57bbd3")
PDQ: Final = bytes.fromhex("fdcab1b277cb6ae3fda475246e5b9658ba2065cb1a276dcf12dc924402d94811")
"""Recomputed by the tests, with our own PDQ and with the reference's."""

#: Red, green, blue of each of the sixteen colours.
_PALETTE: Final = bytes.fromhex(
    "0b1d3a" "163a63" "22588a" "3c7fb0" "6aa9cf" "a9d3e6" "e8f3f8" "ffffff"
    "c8102e" "7d0a1d" "ffd23f" "f59e0b" "3a3a3a" "5f5f5f" "8c8c8c" "1a1a1a"
)  # fmt: skip
_NIGHT, _SKY, _FOAM, _WHITE = 0, 2, 6, 7
_RED, _DARK_RED, _YELLOW, _AMBER = 8, 9, 10, 11
_STONES: Final = (12, 13, 14)
_BLACK: Final = 15
_HORIZON: Final = 300
_TOWER_TOP, _TOWER_BOTTOM, _TOWER_MIDDLE = 110, 372, 352
_LETTERS: Final = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "B": (30, 17, 17, 30, 17, 17, 30),
    "C": (14, 17, 16, 16, 16, 17, 14),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "K": (17, 18, 20, 24, 20, 18, 17),
    "N": (17, 25, 21, 19, 17, 17, 17),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "W": (17, 17, 17, 21, 21, 27, 17),
    "Y": (17, 17, 10, 4, 4, 4, 4),
}
"""Seven rows of five pixels each, the leftmost pixel the highest bit."""
_LETTER_WIDTH: Final = 5
_FOAM_FLAKES: Final = 64
"""Enough that no two canaries are alike, and too few to be seen by what compares pictures."""
_STORED_BLOCK: Final = 65_535
"""Source: RFC 1951 section 3.2.4: a stored block holds at most 65,535 bytes."""


@cache
def draw_canary() -> bytes:
    """Draw the canary as a PNG of 512 x 512 pixels; the same bytes always."""
    return _encode_png(_draw())


def draw_fresh_canary(chance: bytes) -> bytes:
    """Draw the canary with some foam on its sea, in bytes that there never were.

    Its looks are those of the canary, so that the list knows it; its digest nobody can know before it is
    shown.

    Args:
        chance: Random octets, 16 or more; the same give the same picture.
    """
    dice = np.random.default_rng(int.from_bytes(chance))
    picture = _draw()
    y, x = dice.integers((_HORIZON, 0), (SIDE, SIDE), size=(_FOAM_FLAKES, 2)).T
    picture[y, x] = _FOAM
    return _encode_png(picture)


def canary_list() -> HashList:
    """Build the list that knows the canary, by its exact bytes and by its looks."""
    return HashList.of(
        name=NAME,
        version=VERSION,
        category=Category.SPAM,
        label=LABEL,
        entries=[HashEntry(kind=HashKind.SHA256, value=SHA256), HashEntry(kind=HashKind.PDQ, value=PDQ)],
    )


def _draw() -> NDArray[np.uint8]:
    """Draw the picture as colour numbers, uint8 [512, 512]."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    picture: NDArray[np.uint8] = np.minimum(y // 75, 4).astype(np.uint8)
    _draw_beam(picture, x, y)
    _draw_sea(picture, x, y)
    _draw_stones(picture, x, y)
    _draw_tower(picture, x, y)
    _write(picture, "BREAKWATER", left=24, top=6, scale=7)
    _write(picture, "CANARY", left=24, top=68, scale=7)
    return picture


def _draw_beam(picture: NDArray[np.uint8], x: NDArray[np.int64], y: NDArray[np.int64]) -> None:
    """Two beams of light that leave the lamp to both sides and widen."""
    across = np.abs(x - _TOWER_MIDDLE)
    falls = (y - 96) * 4 - across
    picture[(np.abs(falls) < 12 + across // 2) & (across > 16)] = _AMBER
    picture[(np.abs(falls) < 4 + across // 4) & (across > 16)] = _YELLOW


def _draw_sea(picture: NDArray[np.uint8], x: NDArray[np.int64], y: NDArray[np.int64]) -> None:
    """Rows of waves, each shifted against the last, made of straight lines."""
    row = (y - _HORIZON) // 24
    crest = np.abs((x + row * 37) % 84 - 42) // 3
    depth = (y - _HORIZON) % 24 - crest
    sea = y >= _HORIZON
    picture[sea] = _SKY
    picture[sea & (depth < 0)] = _NIGHT
    picture[sea & (depth >= 0) & (depth < 4)] = _FOAM


def _draw_stones(picture: NDArray[np.uint8], x: NDArray[np.int64], y: NDArray[np.int64]) -> None:
    """The breakwater: courses of blocks that step down towards the left."""
    course = (y - 356) // 26
    wall = (y >= 356) & (y < 486) & (x > 236 - course * 44)
    shift = x + course % 2 * 29
    block = shift // 58 + course * 2
    for number, stone in enumerate(_STONES):
        picture[wall & (block % len(_STONES) == number)] = stone
    picture[wall & ((shift % 58 < 4) | ((y - 356) % 26 < 4))] = _BLACK


def _draw_tower(picture: NDArray[np.uint8], x: NDArray[np.int64], y: NDArray[np.int64]) -> None:
    """The lighthouse: a tapered tower in red and white, its gallery, lamp and roof."""
    across = np.abs(x - _TOWER_MIDDLE)
    tower = (y >= _TOWER_TOP) & (y < _TOWER_BOTTOM) & (across < 22 + (y - _TOWER_TOP) // 9)
    is_red = (y - _TOWER_TOP) // 44 % 2 == 0
    picture[tower] = _WHITE
    picture[tower & is_red] = _RED
    picture[tower & is_red & (x > _TOWER_MIDDLE + 14)] = _DARK_RED
    picture[(y >= _TOWER_TOP) & (y < 118) & (across < 34)] = _BLACK
    picture[(y >= 82) & (y < _TOWER_TOP) & (across < 16)] = _YELLOW
    picture[(y >= 82) & (y < _TOWER_TOP) & (across < 16) & (across % 8 > 5)] = _BLACK
    picture[(y >= 56) & (y < 82) & (across < y - 56)] = _DARK_RED


def _write(picture: NDArray[np.uint8], text: str, *, left: int, top: int, scale: int) -> None:
    """Write text in white with a black shadow."""
    for number, letter in enumerate(text):
        bits = [
            [row >> (_LETTER_WIDTH - 1 - column) & 1 for column in range(_LETTER_WIDTH)]
            for row in _LETTERS[letter]
        ]
        shape = np.kron(np.array(bits, dtype=np.bool_), np.ones((scale, scale), dtype=np.bool_))
        start = left + number * (_LETTER_WIDTH + 1) * scale
        for offset, colour in ((3, _BLACK), (0, _WHITE)):
            height, width = shape.shape
            area = picture[top + offset : top + offset + height, start + offset : start + offset + width]
            area[shape[: area.shape[0], : area.shape[1]]] = colour


def _encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Write a PNG of sixteen colours, uncompressed, so that no library's version changes a byte.

    Source: PNG (third edition) sections 5 and 11; zlib RFC 1950; stored blocks RFC 1951 section 3.2.4.
    """
    height, width = picture.shape
    pairs = (picture[:, 0::2] << 4) | picture[:, 1::2]
    # Filter type 0 before every row.
    rows = np.pad(pairs, ((0, 0), (1, 0))).tobytes()
    blocks = [rows[start : start + _STORED_BLOCK] for start in range(0, len(rows), _STORED_BLOCK)]
    stored = b"".join(
        struct.pack("<BHH", number == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for number, block in enumerate(blocks)
    )
    stream = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(rows))
    header = struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", _PALETTE), (b"IDAT", stream), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
