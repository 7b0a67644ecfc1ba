"""Looking at 30 seconds of 1080p video, hashes only, beside the time that it takes to play it.

The clip pans over a mosaic of photographs, so that motion and detail weigh as in life, with key frames as far
apart as x264 puts them by default. It is decoded by one thread in a process of its own, as in a worker.
"""

import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from scanner.decode import decode, prepare
from scanner.outcome import Job
from scanner.settings import ScannerSettings
from scanner.sniff import MediaType
from tests.bench.pdq import mosaic

NAMES = ("video_30s_1080p",)
WIDTH, HEIGHT, SECONDS, RATE = 1920, 1080, 30, 30
PAN = (600, 400)
ROUNDS = 3
TARGET = 10.0


def draw_clip() -> bytes:
    """Encode the clip."""
    canvas = np.asarray(mosaic(WIDTH + PAN[0], HEIGHT + PAN[1]))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "veryfast"}
        frames = SECONDS * RATE
        for number in range(frames):
            left, top = PAN[0] * number // frames, PAN[1] * number // frames
            part = np.ascontiguousarray(canvas[top : top + HEIGHT, left : left + WIDTH])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(part, "rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _measure() -> dict[str, object]:
    data = draw_clip()
    prepare()
    job = Job.of(ScannerSettings(), MediaType.MP4, wants_pixels=False)
    times: list[float] = []
    outcome = decode(data, job)
    for _ in range(ROUNDS):
        start = time.process_time()
        outcome = decode(data, job)
        times.append(time.process_time() - start)
    value = statistics.median(times)
    sampling = outcome.sampling
    return {
        "name": NAMES[0],
        "value": round(value, 2),
        "unit": "s of processor time",
        "peer": "playing it",
        "peer_value": SECONDS,
        "ratio": round(SECONDS / value, 1),
        "target": TARGET,
        "holds": SECONDS / value >= TARGET and outcome.reason is None,
        "examined": 0 if sampling is None else sampling.examined,
        "longest_gap_ms": 0 if sampling is None else sampling.longest_gap_ms,
    }


def run() -> Iterator[dict[str, object]]:
    """Measure in a fresh process."""
    environment = {"PYTHONPATH": ":".join(part for part in sys.path if part), "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-m", "tests.bench.video"],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    yield json.loads(found.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(_measure()))
