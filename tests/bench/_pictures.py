"""The benign photographs that packages ship, and mixes of them."""

from collections.abc import Iterator

from PIL import Image

from tests.bench.pdq import mosaic
from tests.images import PHOTOGRAPHS, encode, photograph

# Drawings and text are no photographs, and flat textures have no hash that says anything.
LEFT_OUT = frozenset({"page", "text", "clock"})

SIZES = ((640, 480), (1280, 960), (1920, 1080), (2560, 1920), (4000, 3000))


def photographs() -> Iterator[tuple[str, Image.Image]]:
    """Every photograph, in colour."""
    for name in PHOTOGRAPHS:
        if name not in LEFT_OUT:
            yield name, photograph(name).convert("RGB")


def mixed() -> Iterator[tuple[str, bytes]]:
    """Mosaics of photographs in all three common formats, from 640 to 4000 pixels wide."""
    for width, height in SIZES:
        picture = mosaic(width, height)
        yield f"JPEG {width}", encode(picture, "JPEG", quality=85)
        yield f"PNG {width}", encode(picture, "PNG")
        yield f"WebP {width}", encode(picture, "WEBP", quality=80, method=2)
