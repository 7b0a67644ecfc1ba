"""Harmless pictures for tests: drawn markers and photographs that ship with scikit-image.

A marker is computed, not stored: the same seed gives the same pixels with any version of any library.
"""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from skimage import data as skimage_data

Pixels = NDArray[np.uint8]

PHOTOGRAPHS: Final = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "clock",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "page",
    "retina",
    "rocket",
    "text",
)
"""Those that are part of the package and need no download."""

MARKER_SIDE: Final = 640
_SHAPES: Final = 14


def photograph(name: str) -> Image.Image:
    """One of `PHOTOGRAPHS`, as `RGB` or `L`."""
    return Image.fromarray(getattr(skimage_data, name)())


def marker_pixels(seed: int = 1, *, width: int = MARKER_SIDE, height: int = MARKER_SIDE) -> Pixels:
    """Draw ellipses of many colours on a slope: `uint8 [H, W, 3]`, far from every other seed's."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / width, y / height
    angle = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(angle) * x + np.sin(angle) * y + 1) / 3
    canvas = np.stack([slope * part for part in rng.uniform(100, 255, 3)], axis=-1)
    for _ in range(_SHAPES):
        middle_x, middle_y = rng.uniform(0, 1, 2)
        radius_x, radius_y = rng.uniform(0.05, 0.3, 2)
        inside = ((x - middle_x) / radius_x) ** 2 + ((y - middle_y) / radius_y) ** 2 < 1
        canvas[inside] = rng.uniform(0, 255, 3)
    return canvas.astype(np.uint8)


def marker(seed: int = 1, *, width: int = MARKER_SIDE, height: int = MARKER_SIDE) -> Image.Image:
    """A marker as a picture."""
    return Image.fromarray(marker_pixels(seed, width=width, height=height))


def encode(image: Image.Image, format_name: str, **options: Any) -> bytes:
    """Encode a picture with Pillow's name of a format."""
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def animation(frames: list[Image.Image], format_name: str, **options: Any) -> bytes:
    """Encode frames as an animation."""
    return encode(frames[0], format_name, save_all=True, append_images=frames[1:], duration=100, **options)


def reference_rgb(data: bytes) -> Pixels:
    """The reference conversion: decode wholly, turn upright, lay over white: `uint8 [H, W, 3]`."""
    with Image.open(io.BytesIO(data)) as opened:
        image: Image.Image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    image = image.convert("RGBA")
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)
    return np.asarray(page.convert("RGB"))


def distance(one: bytes, other: bytes) -> int:
    """Hamming distance in bits."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()
