"""Turn decoded frames into hashes and small samples, as the renderings of pictures are.

The hash is taken from the luma plane where there is one: it differs from the luma of PDQ by the colour matrix
alone, which moves a hash by some bits, so that such a hash is approximate and a closer look goes by way of
RGB. Colour transfer (HDR) and cropping by the container are not followed.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from scanner.detector import SAMPLE_SIDE
from scanner.render import Geometry, as_array, hash_rendering, make_upright, renderings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

    from scanner.detector import PictureHashes

_LUMA_FORMATS: Final = frozenset(
    {
        "yuv420p",
        "yuv422p",
        "yuv444p",
        "yuv440p",
        "yuv411p",
        "yuv410p",
        "yuvj420p",
        "yuvj422p",
        "yuvj444p",
        "yuvj440p",
        "nv12",
        "gray",
    }
)
"""Eight bits, with luma in the first plane."""

_FULL_RANGE: Final = 2
"""Source: AVCOL_RANGE_JPEG in libavutil/pixfmt.h."""
_FULL_RANGE_FORMATS: Final = ("yuvj", "gray")
_BLACK, _WHITE = 16, 235
"""Luma of black and white in the limited range. Source: ITU-R BT.709, 6.9."""
_TO_FULL: Final = [
    min(max(round((level - _BLACK) * 255 / (_WHITE - _BLACK)), 0), 255) for level in range(256)
]
_MATRIX: Final = struct.Struct("=9i")
_ORIENTATIONS: Final = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
"""The signs of a display matrix as the EXIF orientation that means the same. Source: ISO/IEC 14496-12, 6.2.2;
Exif 3.0, 4.6.5.1.6."""


def stamp_of(frame: VideoFrame) -> int | None:
    """Say when a frame is shown, in the unit of its stream; None where the file does not."""
    return frame.pts if frame.pts is not None else frame.dts


def read_orientation(frame: VideoFrame) -> int:
    """Read how a frame is turned before it is shown, as an EXIF orientation; 1 where nothing says so."""
    # The library's own annotations call this mapping one of its entries.
    side_data: Any = frame.side_data
    entry = side_data.get("DISPLAYMATRIX")
    if entry is None or entry.buffer_size != _MATRIX.size:
        return 1
    a, b, _, c, d, *_ = _MATRIX.unpack(bytes(entry))
    return _ORIENTATIONS.get((_sign(a), _sign(b), _sign(c), _sign(d)), 1)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def hash_frame(
    frame: VideoFrame, number: int, *, timestamp_ms: int | None, orientation: int, is_closer_look: bool
) -> Iterator[PictureHashes]:
    """Compute every PDQ variant of a frame; several where it has transparent parts."""
    if not is_closer_look and frame.format.name in _LUMA_FORMATS:
        upright = make_upright(_luma(frame), orientation)
        yield replace(_hash(upright, number, is_approximate=True), timestamp_ms=timestamp_ms)
        return
    for rendering in renderings(_colours(frame)):
        hashes = _hash(make_upright(rendering, orientation), number, is_approximate=False)
        yield replace(hashes, timestamp_ms=timestamp_ms)


def sample_frame(frame: VideoFrame, *, orientation: int) -> NDArray[np.uint8]:
    """Squeeze a frame into the small square that classifiers see: `uint8 [256, 256, 3]` RGB."""
    small = frame.reformat(width=SAMPLE_SIDE, height=SAMPLE_SIDE, format="rgb24", threads=1)
    return as_array(make_upright(_from_plane(small, "RGB", 3), orientation)).copy()


def show_frame(frame: VideoFrame) -> Image.Image:
    """Turn a frame into what a viewer sees of it, `RGB` or `L`: upright, over white."""
    return make_upright(next(renderings(_colours(frame))), read_orientation(frame))


def _hash(upright: Image.Image, number: int, *, is_approximate: bool) -> PictureHashes:
    geometry = Geometry(width=upright.width, height=upright.height)
    return hash_rendering(upright, geometry, number, is_approximate=is_approximate)


def _luma(frame: VideoFrame) -> Image.Image:
    luma = _from_plane(frame, "L", 1)
    is_full = frame.color_range == _FULL_RANGE or frame.format.name.startswith(_FULL_RANGE_FORMATS)
    return luma if is_full else luma.point(_TO_FULL)


def _colours(frame: VideoFrame) -> Image.Image:
    has_alpha = any(component.is_alpha for component in frame.format.components)
    name, mode = ("rgba", "RGBA") if has_alpha else ("rgb24", "RGB")
    return _from_plane(frame.reformat(format=name, threads=1), mode, len(mode))


def _from_plane(frame: VideoFrame, mode: str, width: int) -> Image.Image:
    """Copy the first plane of a frame, whose rows are padded."""
    plane = frame.planes[0]
    size = (frame.width, frame.height)
    # The last row may end before its padding does.
    if plane.line_size < frame.width * width:
        raise ValueError("a plane is narrower than its frame")
    return Image.frombytes(mode, size, bytes(plane), "raw", mode, plane.line_size, 1)
