"""Hashing a JPEG from its bytes, beside the reference hasher on a full decoding of the same bytes.

Ours is what a worker does for a scan without classifiers: the second variant and all eight orientations are
part of it. The picture is a mosaic of photographs at their own resolution, so that the entropy coding, which
nobody can skip, weighs as it does in life.

Both are computations of one thread, so processor time is compared, taken in turns in a process of its own:
what else the machine does then weighs on both alike. The matrix library gets one thread, as in a worker.
"""

import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pdqhash
from PIL import Image

from scanner.decode import decode, prepare
from scanner.outcome import Job
from scanner.settings import ScannerSettings
from scanner.sniff import MediaType
from tests.images import distance, encode, photograph

ROUNDS = 7
OURS_A_ROUND = 3
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


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return (time.process_time() - start) * 1000


def _reference(data: bytes) -> tuple[bytes, int]:
    with Image.open(io.BytesIO(data)) as image:
        bits, quality = pdqhash.compute(np.asarray(image.convert("RGB")))
    return np.packbits(bits).tobytes(), int(quality)


def _measure() -> Iterator[dict[str, object]]:
    prepare()
    job = Job.of(ScannerSettings(), MediaType.JPEG, wants_pixels=False)
    for name, width, height, target in SIZES:
        data = encode(mosaic(width, height), "JPEG", quality=QUALITY)
        # The first of each fills the caches and is compared for its answer alone.
        found, (reference, quality) = decode(data, job).pictures[0], _reference(data)
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(ROUNDS):
            theirs.append(_milliseconds(lambda data=data: _reference(data)))  # type: ignore[misc]  # bound now
            for _ in range(OURS_A_ROUND):
                ours.append(_milliseconds(lambda data=data: decode(data, job)))  # type: ignore[misc]  # bound now  # noqa: PERF401
        value, peer = statistics.median(ours), statistics.median(theirs)
        yield {
            "name": name,
            "value": round(value, 2),
            "unit": "ms of processor time",
            "peer": "pdqhash on a full Pillow decoding",
            "peer_value": round(peer, 2),
            "ratio": round(peer / value, 1),
            "target": target,
            "holds": peer / value >= target,
            "distance_to_reference": distance(found.dihedral[0], reference),
            "quality": found.quality,
            "reference_quality": quality,
        }


def run() -> Iterator[dict[str, object]]:
    """Measure both sizes, in a fresh process."""
    environment = {"PYTHONPATH": ":".join(part for part in sys.path if part), "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-m", "tests.bench.pdq"],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        check=True,
    )
    for line in found.stdout.splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    for result in _measure():
        print(json.dumps(result))
