"""Reduced copies of what a file shows, for whoever does not take the file itself.

They are made where files are decoded, in the sandbox, and cross its border as plain pixels, untrusted. What
is encoded of them out here holds what is to be seen and nothing else of the file: no metadata, no names, no
places.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from scanner.errors import MalformedError
from scanner.render import REDUCING_GAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_COPIES: Final = 4
"""Of one file: a sample of an animation or a video. Each may be a request to somebody."""

MAX_COPY_PIXELS: Final = 6_000_000
"""Of all copies of a file together, 18 MB as RGB: four of 1024 x 1024, or the longest strip that is decoded
by default, 160 x 32,768."""

COPY_BYTES: Final = 3 * MAX_COPY_PIXELS + 8 * MAX_COPIES
"""The most that the binary form of copies takes."""

_QUALITIES: Final = (92, 80, 60, 40)
"""Of JPEG, the best that fits is taken. At the first of them PDQ hashes move by a few bits."""

_SIZE: Final = struct.Struct("<II")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What copies are asked for.

    Attributes:
        count: How many at the most, 1 to `MAX_COPIES`; fewer where a file shows fewer pictures.
        max_side: The longer side is shrunk to this, in pixels.
        min_side: The shorter side is not shrunk below this, whatever the longer one is.
    """

    count: int
    max_side: int
    min_side: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One reduced copy, as a JPEG without metadata."""

    data: bytes = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReducedPicture:
    """What a file shows, reduced.

    Attributes:
        pictures: `uint8 [H, W, 3]` RGB each, upright, over white where the file is transparent; what is shown
            first comes first. One for a still picture.
    """

    pictures: tuple[NDArray[np.uint8], ...]


def fit(width: int, height: int, wanted: Wanted) -> tuple[int, int]:
    """Compute the size of a copy: proportions are kept, and nothing is enlarged."""
    longer, shorter = max(width, height), min(width, height)
    scale = min(max(wanted.max_side / longer, wanted.min_side / shorter), 1)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def reduce_rendering(image: Image.Image, wanted: Wanted) -> NDArray[np.uint8]:
    """Shrink an upright `L` or `RGB` picture: `uint8 [H, W, 3]`."""
    small = image.resize(
        fit(image.width, image.height, wanted), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP
    )
    return np.asarray(small.convert("RGB"), dtype=np.uint8)


def choose_places(count: int, wanted: int) -> list[int]:
    """Choose so many of a count of frames, evenly: the first is among them, the last, often empty, is not."""
    return sorted({count * place // wanted for place in range(wanted)})


def copies_to_bytes(copies: Sequence[NDArray[np.uint8]]) -> bytes:
    """Build the binary form: of each copy its width, its height and its pixels."""
    return b"".join(_SIZE.pack(one.shape[1], one.shape[0]) + one.tobytes() for one in copies)


def parse_copies(message: bytes | memoryview, count: int) -> tuple[NDArray[np.uint8], ...]:
    """Parse the binary form of so many copies; the pixels stay where they are.

    Raises:
        MalformedError: It has not exactly this form, or holds more than there may be.
    """
    if count > MAX_COPIES:
        raise MalformedError("an outcome of the decoder holds more copies than there may be")
    copies: list[NDArray[np.uint8]] = []
    at = pixels = 0
    for _ in range(count):
        if len(message) - at < _SIZE.size:
            raise MalformedError("an outcome of the decoder ends within a copy")
        width, height = _SIZE.unpack_from(message, at)
        at += _SIZE.size
        size = width * height * 3
        pixels += width * height
        if not size or pixels > MAX_COPY_PIXELS or len(message) - at < size:
            raise MalformedError("an outcome of the decoder holds a copy of an impossible size")
        copies.append(np.frombuffer(message, np.uint8, size, at).reshape(height, width, 3))
        at += size
    if at != len(message):
        raise MalformedError("an outcome of the decoder has another length than it claims")
    return tuple(copies)


def encode_copies(reduced: ReducedPicture, *, max_bytes: int) -> tuple[Copy, ...] | None:
    """Encode copies as JPEG; None where they do not fit into so many bytes, all together."""
    each = max_bytes // max(len(reduced.pictures), 1)
    encoded = [_encode(Image.fromarray(one), each) for one in reduced.pictures]
    whole = tuple(one for one in encoded if one is not None)
    return whole if len(whole) == len(encoded) else None


def _encode(picture: Image.Image, max_bytes: int) -> Copy | None:
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= max_bytes:
            return Copy(data=buffer.getvalue(), width=picture.width, height=picture.height)
    return None
