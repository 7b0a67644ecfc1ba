"""Hashing a JPEG from its bytes, beside the reference hasher on a full decoding of the same bytes.

Ours is what a worker does for a scan without classifiers: the second variant and all eight orientations are
part of it. The picture is a mosaic of photographs at their own resolution, so that the entropy coding, which
nobody can skip, weighs as it does in life.
"""

import io
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import pdqhash
from PIL import Image

from scanner.decode import decode, prepare
from scanner.outcome import Job
from scanner.settings import ScannerSettings
from scanner.sniff import MediaType
from tests.images import distance, encode, photograph

RUNS = 15
PEER_RUNS = 5
QUALITY = 85
SIZES = (("pdq_1080p", 1920, 1080, 8.0), ("pdq_12mp", 4000, 3000, 20.0))
TILES = ("retina", "hubble_deep_field", "astronaut", "coffee", "immunohistochemistry", "rocket", "chelsea")


def mosaic(width: int, height: int) -> Image.Image:
    """Photographs side by side, row under row, until the canvas is full."""
    canvas = Image.new("RGB", (width, height))
    tiles = [photograph(name).convert("RGB") for name in TILES]
    top = number = 0
    while top < height:
        left = 0
        row_height = 0
        while left < width:
            tile = tiles[number % len(tiles)]
            canvas.paste(tile, (left, top))
            left, row_height = left + tile.width, max(row_height, tile.height)
            number += 1
        top += min(row_height, 400)
    return canvas


def _median_ms(call: Callable[[], object], runs: int) -> float:
    call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def _reference(data: bytes) -> tuple[bytes, int]:
    with Image.open(io.BytesIO(data)) as image:
        bits, quality = pdqhash.compute(np.asarray(image.convert("RGB")))
    return np.packbits(bits).tobytes(), int(quality)


def run() -> Iterator[dict[str, object]]:
    """Measure both sizes."""
    prepare()
    job = Job.of(ScannerSettings(), MediaType.JPEG, wants_pixels=False)
    for name, width, height, target in SIZES:
        data = encode(mosaic(width, height), "JPEG", quality=QUALITY)
        ours = _median_ms(lambda data=data: decode(data, job), RUNS)  # type: ignore[misc]
        theirs = _median_ms(lambda data=data: _reference(data), PEER_RUNS)  # type: ignore[misc]
        found, (reference, quality) = decode(data, job).pictures[0], _reference(data)
        ratio = theirs / ours
        yield {
            "name": name,
            "value": round(ours, 2),
            "unit": "ms",
            "peer": "pdqhash on a full Pillow decoding",
            "peer_value": round(theirs, 2),
            "ratio": round(ratio, 1),
            "target": target,
            "holds": ratio >= target,
            "distance_to_reference": distance(found.dihedral[0], reference),
            "quality": found.quality,
            "reference_quality": quality,
        }


if __name__ == "__main__":
    for line in run():
        print(line)
