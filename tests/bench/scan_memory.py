"""Memory of the decoder processes after a busy day, by their proportional set size.

The scan is without classifiers, whose weights live in the scanner's own process.
"""

from collections.abc import Iterator
from pathlib import Path

from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from tests.bench.pdq import mosaic
from tests.images import encode, marker
from tests.scanner.clips import Scene, clip

TARGET_MB = 150.0
"""For each hash-only worker."""
ROUNDS = 12


def proportional_mb(pid: int) -> float:
    """Proportional set size of a process in MB: pages that it shares count by their share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError("the kernel tells no proportional set size")


def run() -> Iterator[dict[str, object]]:
    """Scan a mix of formats and sizes, then look at every worker."""
    pictures = [
        encode(mosaic(4000, 3000), "JPEG"),
        encode(mosaic(4000, 3000), "PNG", compress_level=1),
        encode(mosaic(1920, 1080), "WEBP", quality=80, method=0),
        encode(marker(1), "AVIF"),
        encode(marker(2).quantize(64), "GIF"),
        clip([Scene(seed=3, frames=20)], size=(1920, 1080)),
    ]
    with open_scanner(ScannerSettings(embedded_classifier=False)) as scanner:
        for _ in range(ROUNDS):
            for data in pictures:
                scanner.scan(data)
        health = scanner.health().pool
        largest = max(proportional_mb(pid) for pid in health.worker_pids)
        zygote = proportional_mb(health.zygote)
    yield {
        "name": "worker_memory",
        "value": round(largest, 1),
        "unit": "MB",
        "peer": None,
        "peer_value": None,
        "ratio": None,
        "target": TARGET_MB,
        "holds": largest <= TARGET_MB,
        "zygote": round(zygote, 1),
    }


if __name__ == "__main__":
    for line in run():
        print(line)
