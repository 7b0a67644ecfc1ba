"""A whole scan beside decoding alone, over mixed pictures.

Decoding alone is Pillow's full decoding in this process, on one core. The scan is everything that the scanner
does without classifiers for pixels that a classifier wants: three digests, the way into the sandbox, decoding
there, both hashes in eight orientations, the small sample, embedded pictures, the look-up in a list.

Processor time is compared, of this process and of its one worker together, taken in turns: what else the
machine does weighs on both alike. The matrix library gets one thread, as it does in a worker.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from scanner.hashlist import HashEntry, HashKind
from scanner.scan import Scanner, open_scanner
from scanner.settings import ScannerSettings
from tests.bench._pictures import mixed
from tests.scanner.test_scan import list_of

NAMES = ("scan_throughput",)
ROUNDS = 5
TARGET = 0.7
LISTED = 100_000


def _decode(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        image.load()


def _processor_seconds(pids: tuple[int, ...]) -> float:
    """Processor time of this process and of some others."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _timed(scanner: Scanner, files: list[bytes]) -> tuple[float, float]:
    start = time.process_time()
    for data in files:
        _decode(data)
    alone = time.process_time() - start
    pids = scanner.health().pool.worker_pids
    start = _processor_seconds(pids)
    for data in files:
        scanner.scan(data)
    return alone, _processor_seconds(pids) - start


def _measure() -> Iterator[dict[str, object]]:
    files = [data for _, data in mixed()]
    rng = np.random.default_rng(11)
    entries = [HashEntry(kind=HashKind.PDQ, value=rng.bytes(32)) for _ in range(LISTED)]
    with open_scanner(
        ScannerSettings(workers=1, embedded_classifier=False, jobs_per_worker=10_000)
    ) as scanner:
        scanner.replace_lists([list_of(*entries)])
        _timed(scanner, files)
        rounds = [_timed(scanner, files) for _ in range(ROUNDS)]
    shares = [alone / whole for alone, whole in rounds]
    share = statistics.median(shares)
    yield {
        "name": "scan_throughput",
        "value": round(len(files) / statistics.median(whole for _, whole in rounds), 1),
        "unit": "pictures a second of one core",
        "peer": "Pillow's full decoding alone",
        "peer_value": round(len(files) / statistics.median(alone for alone, _ in rounds), 1),
        "ratio": round(share, 2),
        "target": TARGET,
        "holds": share >= TARGET,
        "least": round(min(shares), 2),
        "most": round(max(shares), 2),
    }


def run() -> Iterator[dict[str, object]]:
    """Measure in a fresh process."""
    yield from run_alone("tests.bench.scan_throughput")


def run_alone(module: str) -> Iterator[dict[str, object]]:
    """Run a module of benchmarks in a process of its own, whose matrix library has one thread."""
    environment = {"PYTHONPATH": ":".join(part for part in sys.path if part), "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-m", module],
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
