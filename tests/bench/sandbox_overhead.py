"""Decoding and hashing in a sandboxed worker beside the same function in this process, by the clock."""

import json
import statistics
import time
from collections.abc import Callable, Iterator

from scanner.decode import decode, prepare
from scanner.outcome import Job
from scanner.pool import Pool
from scanner.settings import ScannerSettings
from scanner.sniff import sniff
from tests.bench._pictures import mixed
from tests.bench.scan_throughput import run_alone

NAMES = ("sandbox_overhead",)
ROUNDS = 9
TARGET = 1.15


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _measure() -> Iterator[dict[str, object]]:
    prepare()
    settings = ScannerSettings(workers=1, jobs_per_worker=10_000)
    ratios: dict[str, float] = {}
    ours = theirs = 0.0
    with Pool(settings) as pool:
        for name, data in mixed():
            kind = sniff(data)
            if kind is None:
                raise ValueError(name)
            job = Job.of(settings, kind)
            pool.run(data, job)
            decode(data, job)
            inside: list[float] = []
            here: list[float] = []
            # In turns, so that what else the machine does weighs on both alike; the least of each is what the
            # work itself takes.
            for _ in range(ROUNDS):
                inside.append(_seconds(lambda data=data, job=job: pool.run(data, job)))  # type: ignore[misc]  # bound now
                here.append(_seconds(lambda data=data, job=job: decode(data, job)))  # type: ignore[misc]  # bound now
            ratios[name] = min(inside) / min(here)
            ours, theirs = ours + min(inside), theirs + min(here)
    ratio = ours / theirs
    yield {
        "name": "sandbox_overhead",
        "value": round(ours * 1000 / len(ratios), 2),
        "unit": "ms a picture",
        "peer": "the same function in this process",
        "peer_value": round(theirs * 1000 / len(ratios), 2),
        "ratio": round(ratio, 3),
        "target": TARGET,
        "holds": ratio <= TARGET,
        "median": round(statistics.median(ratios.values()), 3),
        "most": round(max(ratios.values()), 3),
    }


def run() -> Iterator[dict[str, object]]:
    """Measure in a fresh process."""
    yield from run_alone("tests.bench.sandbox_overhead")


if __name__ == "__main__":
    for result in _measure():
        print(json.dumps(result))
