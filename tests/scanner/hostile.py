"""Hostile but harmless bytes, made by hand."""

from __future__ import annotations

import struct
import zlib

from PIL import Image

from tests.images import encode, marker


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that claims a huge grey canvas and begins to deliver it."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 22), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    )


GIF_FRAME = b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00"
GIF_COLOURS = b"\x00\x00\x00\xff\xff\xff"


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF with a canvas of any size and frames of one pixel."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0)
    return b"GIF89a" + screen + GIF_COLOURS + GIF_FRAME * frames + b"\x3b"


def gif_frame_beyond_canvas() -> bytes:
    """A small canvas with a second frame that reaches far beyond it."""
    huge = struct.pack("<HHHHB", 0, 0, 50_000, 50_000, 0)
    beyond = b"\x2c" + huge + b"\x02\x02\x44\x01\x00"
    return gif(10, 10, 1)[:-1] + beyond + b"\x3b"


def webp_bomb(width: int, height: int) -> bytes:
    """An animated WebP whose canvas is huge and whose only frame is small."""

    def u24(value: int) -> bytes:
        return value.to_bytes(3, "little")

    def chunk(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) & 1)

    picture = encode(marker(1, width=16, height=16), "WEBP", lossless=True)[12:]
    frame = u24(0) * 2 + u24(15) + u24(15) + u24(100) + b"\x00" + picture
    body = chunk(b"VP8X", b"\x02\x00\x00\x00" + u24(width - 1) + u24(height - 1))
    body += chunk(b"ANIM", bytes(6)) + chunk(b"ANMF", frame) * 2
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def avif_bomb(width: int, height: int) -> bytes:
    """A small AVIF whose extent property claims a huge canvas."""
    data = bytearray(encode(marker(1, width=64, height=64), "AVIF"))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", width, height)
    return bytes(data)


def jpeg_bomb(width: int, height: int) -> bytes:
    """A small JPEG whose frame header claims a huge canvas."""
    data = bytearray(encode(marker(1, width=64, height=64), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def exif_with_thumbnail(thumbnail: bytes) -> bytes:
    """An EXIF block whose second directory holds a JPEG."""
    first = struct.pack("<HI", 0, 14)
    start = 14 + 2 + 2 * 12 + 4
    second = struct.pack("<H", 2)
    second += struct.pack("<HHII", 0x0201, 4, 1, start) + struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail))
    return b"Exif\x00\x00" + b"II*\x00" + struct.pack("<I", 8) + first + second + bytes(4) + thumbnail


def thumbnail_of(image: Image.Image) -> bytes:
    return encode(image.resize((240, 240), Image.Resampling.LANCZOS), "JPEG", quality=85)


def multi_picture(first: bytes, second: bytes) -> bytes:
    """Two JPEGs, one behind the other, as the multi-picture format lays them out."""
    return first + second
