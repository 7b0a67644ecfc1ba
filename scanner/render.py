"""Turn what a decoder yields into the pictures that a viewer may see.

The reference conversion, to which everything here is equal bit by bit: turn by the EXIF orientation,
convert to RGBA, lay over white, convert to RGB. What is transparent has no one appearance: a picture can be
drawn in white for dark pages, or hidden in the colours of invisible pixels, and many list makers simply
drop the transparency. So a transparent picture is looked at over white, over black and without its
transparency.

Colour profiles are not applied, as in the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from scanner.detector import SAMPLE_SIDE, PictureHashes
from scanner.perceptual import RESIZED_SIDE, Axis, band_height, hash_bands, hash_picture, hash_resized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

REDUCING_GAP: Final = 2.0
"""Large pictures are first shrunk by whole factors, to no less than twice the side of the sample."""

STRIP_PIXELS: Final = 4_000_000
"""Larger pictures are converted in strips of so many pixels, 16 MB as RGBA."""

_ORIENTATIONS: Final[dict[int, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture with this EXIF orientation upright. Source: Exif 3.0, 4.6.5.1.6."""

_SWAPPED: Final = frozenset({5, 6, 7, 8})
_REVERSED_ROWS: Final = frozenset({3, 4, 7, 8})
_REVERSED_COLUMNS: Final = frozenset({2, 3, 6, 7})


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How a decoded picture stands for the one in the file.

    Attributes:
        width: Of the picture in the file, before it is turned, in pixels.
        height: Of the picture in the file, before it is turned, in pixels.
        scale: Source pixels per decoded pixel.
        orientation: EXIF orientation, 1 to 8.
    """

    width: int
    height: int
    scale: int = 1
    orientation: int = 1

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as shown."""
        swap = self.orientation in _SWAPPED
        return (self.height, self.width) if swap else (self.width, self.height)

    def axes(self) -> tuple[Axis, Axis]:
        """Rows and columns of the upright array."""
        width, height = self.shown
        return (
            Axis(length=height, scale=self.scale, is_reversed=self.orientation in _REVERSED_ROWS),
            Axis(length=width, scale=self.scale, is_reversed=self.orientation in _REVERSED_COLUMNS),
        )


def orientation_of(image: Image.Image) -> int:
    """Read the EXIF orientation; 1 where there is none or it is not one of the eight."""
    value = image.getexif().get(0x0112)
    return value if value in _ORIENTATIONS else 1


def make_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture as its orientation says."""
    method = _ORIENTATIONS.get(orientation)
    return image if method is None else image.transpose(method)


def renderings(image: Image.Image) -> Iterator[Image.Image]:
    """Go through the appearances of a decoded picture, each `L` or `RGB`: the one over white first."""
    if image.mode.startswith("I"):
        yield _from_wide(image)
    elif image.mode in {"1", "L"} and "transparency" not in image.info:
        yield image.convert("L")
    elif image.has_transparency_data:
        yield from _transparent(image if image.mode == "RGBA" else image.convert("RGBA"))
    else:
        yield image if image.mode == "RGB" else image.convert("RGB")


def _from_wide(image: Image.Image) -> Image.Image:
    """Keep the upper eight of sixteen bits, as decoders of 16-bit colour do."""
    values = np.asarray(image)
    if values.dtype != np.uint16:
        values = values.clip(0, 0xFFFF).astype(np.uint16)
    return Image.fromarray((values >> 8).astype(np.uint8))


def _transparent(image: Image.Image) -> Iterator[Image.Image]:
    lowest, _ = image.getchannel("A").getextrema()
    if lowest == 255:  # noqa: PLR2004 - wholly opaque
        yield image.convert("RGB")
        return
    yield _over(image, "white")
    yield _over(image, "black")
    yield image.convert("RGB")


def _over(image: Image.Image, colour: str) -> Image.Image:
    """Lay an `RGBA` picture over a page, strip by strip: a large one is never held three times."""
    page = Image.new("RGB", image.size)
    for top, bottom in _strips(image):
        strip = image.crop((0, top, image.width, bottom))
        laid = Image.alpha_composite(Image.new("RGBA", strip.size, colour), strip)
        page.paste(laid.convert("RGB"), (0, top))
    return page


def _strips(image: Image.Image) -> Iterator[tuple[int, int]]:
    step = max(STRIP_PIXELS // image.width, 1)
    for top in range(0, image.height, step):
        yield top, min(top + step, image.height)


def as_array(image: Image.Image) -> NDArray[np.uint8]:
    """View an `L` or `RGB` picture as `uint8 [H, W]` or `uint8 [H, W, 3]`."""
    return np.asarray(image, dtype=np.uint8)


def hash_rendering(
    image: Image.Image, geometry: Geometry, frame: int, *, is_approximate: bool
) -> PictureHashes:
    """Compute every PDQ variant of an upright `L` or `RGB` picture."""
    rows, columns = geometry.axes()
    whole = hash_bands(_luma_bands(image), rows, columns)
    if max(geometry.shown) <= RESIZED_SIDE:
        resized = whole
    elif geometry.scale == 1:
        resized = hash_picture(as_array(_squeeze(image)))
    else:
        resized = hash_resized(as_array(image), rows, columns)
    return PictureHashes(
        frame=frame,
        quality=whole.quality,
        dihedral=whole.dihedral,
        resized=resized.dihedral,
        is_approximate=is_approximate,
    )


def _luma_bands(image: Image.Image) -> Iterator[NDArray[np.float32]]:
    """Cut the luma of a picture into bands; Pillow weighs the colours without rounding, as PDQ does."""
    step = band_height(image.width, image.height)
    for top in range(0, image.height, step):
        band = image.crop((0, top, image.width, min(top + step, image.height)))
        yield np.asarray(band.convert("F"), dtype=np.float32)


def _squeeze(image: Image.Image) -> Image.Image:
    """Take the nearest pixels, as `hash_resized` does, without unpacking all the others."""
    # Pillow looks at the middles of pixels, the list makers' tool at their beginnings. Both steps are whole
    # multiples of 1/512, so that nothing is ever rounded.
    across, down = image.width / RESIZED_SIDE, image.height / RESIZED_SIDE
    return image.transform(
        (RESIZED_SIDE, RESIZED_SIDE),
        Image.Transform.AFFINE,
        (across, 0, -across / 2, 0, down, -down / 2),
        Image.Resampling.NEAREST,
    )


def sample_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Squeeze a picture into the small square that classifiers see: `uint8 [256, 256, 3]` RGB."""
    small = image.resize((SAMPLE_SIDE, SAMPLE_SIDE), Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP)
    return as_array(small.convert("RGB"))
