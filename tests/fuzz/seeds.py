"""The files that are mutated: one drawn marker in every format, and in every way of writing it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import av
import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 (registers itself with Pillow)
from PIL import Image

from tests.images import animation, encode, marker
from tests.scanner.hostile import exif_with_thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER_SEED: Final = 4711
WIDTH: Final = 224
HEIGHT: Final = 160
_FRAMES: Final = 30
_RATE: Final = 15

pillow_heif.register_heif_opener()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A file that the scanner finds the marker in."""

    name: str
    data: bytes


def planted() -> Image.Image:
    """The marker that every seed shows."""
    return marker(MARKER_SEED, width=WIDTH, height=HEIGHT)


def build_seeds() -> tuple[Seed, ...]:
    """Build all seeds."""
    return tuple(Seed(name=name, data=data) for name, data in (*_stills(), *_animations(), *_played()))


def _stills() -> Iterator[tuple[str, bytes]]:
    picture = planted()
    yield "jpeg", encode(picture, "JPEG", quality=85)
    yield "jpeg-progressive", encode(picture, "JPEG", quality=85, progressive=True)
    yield "jpeg-grey", encode(picture.convert("L"), "JPEG", quality=85)
    yield "jpeg-cmyk", encode(picture.convert("CMYK"), "JPEG", quality=85)
    yield "jpeg-444", encode(picture, "JPEG", quality=95, subsampling=0)
    plain = Image.new("RGB", (WIDTH, HEIGHT), "grey")
    thumbnail = exif_with_thumbnail(encode(picture, "JPEG", quality=80))
    yield "jpeg-thumbnail", encode(plain, "JPEG", exif=thumbnail)
    yield "png", encode(picture, "PNG")
    yield "png-palette", encode(picture.quantize(64), "PNG")
    yield "png-grey", encode(picture.convert("L"), "PNG")
    wide = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    yield "png-16", encode(wide, "PNG")
    yield "gif", encode(picture, "GIF")
    yield "webp", encode(picture, "WEBP", quality=80)
    yield "webp-lossless", encode(picture, "WEBP", lossless=True)
    yield "avif", encode(picture, "AVIF", quality=80)
    yield "heif", encode(picture, "HEIF", quality=80)
    yield "jxl", encode(picture, "JXL", quality=85)


def _animations() -> Iterator[tuple[str, bytes]]:
    frames = [marker(12, width=WIDTH, height=HEIGHT), planted(), marker(13, width=WIDTH, height=HEIGHT)]
    yield "apng", animation(frames, "PNG")
    yield "gif-animated", animation(frames, "GIF")
    yield "webp-animated", animation(frames, "WEBP", quality=80)
    yield "avif-sequence", animation(frames, "AVIF", quality=80)


def _played() -> Iterator[tuple[str, bytes]]:
    yield "mp4-h264", _clip("mp4", "libx264")
    yield "mov-h264", _clip("mov", "libx264")
    yield "mp4-mpeg4", _clip("mp4", "mpeg4")
    yield "webm-vp9", _clip("webm", "libvpx-vp9")
    yield "mkv-h264", _clip("matroska", "libx264")


def _clip(container: str, codec: str) -> bytes:
    """Encode two seconds of the marker."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = _RATE
        stream.codec_context.thread_count = 1
        for number in range(_FRAMES):
            frame = av.VideoFrame.from_image(planted())
            frame.pts, frame.time_base = number, Fraction(1, _RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()
