"""Write `reference.json`: what the reference implementation of PDQ says about harmless pictures.

    python -m tests.vectors.pdq.make

Needs `pdqhash` (a C++ compiler where no wheel fits). The pictures are the markers of `tests.images`, which
are computed, and the photographs of scikit-image that are stored without loss; crops stand for other sizes,
because a crop depends on no library. The SHA-256 of the pixels tells a changed picture from a changed hash.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.images import Pixels, marker_pixels, photograph

PLACE: Final = Path(__file__).with_name("reference.json")
LOSSLESS: Final = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "clock",
    "coffee",
    "coins",
    "grass",
    "immunohistochemistry",
    "moon",
    "page",
    "text",
)
MARKERS: Final = ((1, 640, 640), (2, 1920, 1080), (3, 97, 211), (4, 64, 64), (5, 513, 1025), (6, 33, 40))
CROPS: Final = ((129, 200), (64, 300), (65, 65), (7, 90))


def pictures() -> dict[str, Pixels]:
    """Every picture by its name, `uint8 [H, W, 3]`."""
    found: dict[str, Pixels] = {
        f"marker-{seed}-{width}x{height}": marker_pixels(seed, width=width, height=height)
        for seed, width, height in MARKERS
    }
    for name in LOSSLESS:
        whole = np.asarray(photograph(name).convert("RGB"))
        found[name] = whole
        for height, width in CROPS:
            found[f"{name}-crop-{height}x{width}"] = np.ascontiguousarray(
                whole[20 : 20 + height, 30 : 30 + width]
            )
    return found


def describe(pixels: Pixels) -> dict[str, Any]:
    """The vector of one picture."""
    import pdqhash  # noqa: PLC0415 - the test that reads the vectors runs without it

    hashes, quality = pdqhash.compute_dihedral(pixels)
    return {
        "pixels_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "shape": list(pixels.shape),
        "quality": int(quality),
        "dihedral": [np.packbits(bits).tobytes().hex() for bits in hashes],
    }


if __name__ == "__main__":
    document = {
        "origin": "computed with pdqhash 0.2.8, which compiles the reference implementation",
        "licence": "the hashes are facts; the photographs are scikit-image's and not in this file",
        "vectors": {name: describe(pixels) for name, pixels in pictures().items()},
    }
    PLACE.write_text(json.dumps(document, indent=1) + "\n")
