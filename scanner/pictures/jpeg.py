"""JPEG: the luma plane at a reduced scale where that is enough, all of it where it is not."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from PIL import Image, JpegImagePlugin

from scanner.formats.jpeg import find_header
from scanner.perceptual import MIN_QUALITY
from scanner.pictures.gathering import RefusedError
from scanner.reduced import fit
from scanner.render import (
    REDUCING_GAP,
    Geometry,
    hash_rendering,
    make_upright,
    orientation_of,
    sample_pixels,
)
from scanner.report import UnscannableReason

if TYPE_CHECKING:
    from scanner.pictures.gathering import Gathering

MIN_REDUCED_SIDE: Final = 512
"""Reduced to no less than this, 142 photographs moved by at most 22 bits and 12 at the 99th percentile."""

QUALITY_MARGIN: Final = 10
"""Around the least quality that is matched, the full resolution decides on which side a picture lies."""


def decode_jpeg(data: bytes, gathering: Gathering) -> None:
    """Decode and hash the JPEG that begins `data`.

    Raises:
        RefusedError: It is too large, or of a kind that no decoder here takes.
        OSError: It is broken.
    """
    header = find_header(data)
    if header is not None:
        gathering.check_size(header.width, header.height)
        if not header.is_decodable:
            raise RefusedError(UnscannableReason.UNSUPPORTED)
    if not gathering.is_embedded:
        gathering.frames = 1
        if not gathering.job.is_closer_look and _decode_reduced(data, gathering):
            return
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    gathering.check_size(*image.size)
    if gathering.job.copies is not None:
        # A reduced decoding is enough, where it leaves as much to shrink as large pictures are shrunk from.
        width, height = fit(*image.size, gathering.job.copies)
        image.draft(None, (round(width * REDUCING_GAP), round(height * REDUCING_GAP)))
    gathering.add(image)
    if image.mode == "RGB" and image.info.get("adobe_transform") == 0:
        gathering.add(_read_otherwise(image), orientation=orientation_of(image))


def _read_otherwise(image: Image.Image) -> Image.Image:
    """Read colours as brightness and chroma, or the other way round.

    Decoders do not agree on the mark that Adobe's segment holds: some take it for more than that of JFIF,
    some for less, and some heed neither.
    """
    if "jfif" in image.info:
        return Image.merge("RGB", image.convert("YCbCr").split())
    return Image.frombytes("YCbCr", image.size, image.tobytes()).convert("RGB")


def _decode_reduced(data: bytes, gathering: Gathering) -> bool:
    """Decode the luma plane at a reduced scale; False where only the full decoding can tell."""
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    width, height = image.size
    gathering.check_size(width, height)
    # CMYK has no luma plane, and a JPEG without colour transform stores none either.
    if image.mode not in {"L", "RGB"} or image.info.get("adobe_transform") == 0:
        return False
    is_grey = image.mode == "L"
    shortest = min(width, height)
    scale = next(s for s in (8, 4, 2, 1) if shortest // s >= MIN_REDUCED_SIDE or s == 1)
    geometry = Geometry(width=width, height=height, scale=scale, orientation=orientation_of(image))
    mode = "YCbCr" if gathering.job.wants_pixels else "L"
    image.draft(mode, (max(width // scale, 1), max(height // scale, 1)))
    try:
        image.load()
    except OSError:
        return False
    upright = make_upright(image, geometry.orientation)
    luma = upright.getchannel(0) if upright.mode == "YCbCr" else upright
    # A grey picture at full size is the same by either way.
    is_approximate = scale > 1 or not is_grey
    hashes = hash_rendering(luma, geometry, 0, is_approximate=is_approximate)
    gathering.geometry = geometry
    if is_approximate and abs(hashes.quality - MIN_QUALITY) <= QUALITY_MARGIN:
        return False
    gathering.take(hashes, sample_pixels(upright) if gathering.job.wants_pixels else None)
    return True
