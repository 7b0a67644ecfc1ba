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

from tests.apart import run_apart
from tests.images import animation, encode, marker
from tests.scanner import clips, containers
from tests.scanner.hostile import exif_with_thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER_SEED: Final = 4711
WIDTH: Final = 160
HEIGHT: Final = 120
_FRAMES: Final = 8
_RATE: Final = 4
"""Two seconds of few and small frames: what is measured is how many files go through, not how large ones."""

_ENCODING: Final = {
    "libx265": {"x265-params": "log-level=none:pools=none:frame-threads=1"},
    "libsvtav1": {"preset": "9", "svtav1-params": "lp=1"},
    "libvpx": {"deadline": "realtime"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}

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
    made = (*_stills(), *_animations(), *_hidden(), *_played(), *_covers())
    return tuple(Seed(name=name, data=data) for name, data in made)


def _stills() -> Iterator[tuple[str, bytes]]:
    picture = planted()
    yield "jpeg", encode(picture, "JPEG", quality=85)
    yield "jpeg-progressive", encode(picture, "JPEG", quality=85, progressive=True)
    yield "jpeg-grey", encode(picture.convert("L"), "JPEG", quality=85)
    yield "jpeg-cmyk", encode(picture.convert("CMYK"), "JPEG", quality=85)
    yield "jpeg-444", encode(picture, "JPEG", quality=95, subsampling=0)
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
    yield (
        "apng-still",
        encode(
            planted(),
            "PNG",
            save_all=True,
            append_images=[frames[0], frames[2]],
            default_image=True,
            duration=100,
        ),
    )


def _hidden() -> Iterator[tuple[str, bytes]]:
    """Hide the marker in a picture that shows nothing."""
    picture, plain = planted(), Image.new("RGB", (WIDTH, HEIGHT), "grey")
    small = encode(picture, "JPEG", quality=80)
    exif = exif_with_thumbnail(small)
    for name in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "JXL"):
        yield f"{name.lower()}-thumbnail", encode(plain, name, exif=exif)
    yield "mpo", encode(plain, "MPO", save_all=True, append_images=[picture])
    yield "jpeg-trailer", encode(plain, "JPEG") + small
    yield "heif-second", containers.heif(plain, picture)
    opaque = marker(14, width=WIDTH, height=HEIGHT).convert("RGBA")
    opaque.putalpha(picture.convert("L"))
    yield "heif-auxiliary", containers.renamed(containers.heif(opaque), b"auxid:1", b"auxid:9")
    auxiliary = encode(opaque, "AVIF", quality=90)
    yield "avif-auxiliary", containers.renamed(auxiliary, b"auxiliary:alpha", b"auxiliary:depth")
    yield "jxl-container", encode(picture, "JXL", use_container=True)


def _played() -> Iterator[tuple[str, bytes]]:
    yield "mp4-h264", _clip("mp4", "libx264")
    yield "mov-h264", _clip("mov", "libx264")
    yield "mp4-mpeg4", _clip("mp4", "mpeg4")
    yield "mp4-hevc", _clip("mp4", "libx265")
    yield "mp4-av1", run_apart(_clip, "mp4", "libsvtav1")
    yield "webm-vp8", _clip("webm", "libvpx")
    yield "webm-vp9", _clip("webm", "libvpx-vp9")
    yield "mkv-h264", _clip("matroska", "libx264")


def _covers() -> Iterator[tuple[str, bytes]]:
    """Hide the marker in the cover of a sound."""
    small = encode(planted(), "JPEG", quality=80)
    for kind in ("mp3", "m4a", "flac"):
        yield f"{kind}-cover", clips.sound(kind, cover=small)


def _clip(container: str, codec: str) -> bytes:
    """Encode two seconds of the marker."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = _RATE
        stream.codec_context.thread_count = 1
        stream.options = _ENCODING.get(codec, {})
        for number in range(_FRAMES):
            frame = av.VideoFrame.from_image(planted())
            frame.pts, frame.time_base = number, Fraction(1, _RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()
