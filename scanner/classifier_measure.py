"""Score files with one classifier, decoded in the sandbox; measure how fast and how exactly it works."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from scanner.classifier_directory import open_directory_classifier
from scanner.classifier_precision import Precision
from scanner.outcome import Job
from scanner.pool import Pool
from scanner.report import UnscannableReason
from scanner.sniff import DECODABLE, sniff

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from scanner.calibration import Calibration
    from scanner.classifier import Classifier
    from scanner.settings import ScannerSettings

PERMILLE: Final = 1000
WARM_UPS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a classifier made of one file.

    Attributes:
        path: The file.
        scores: The highest of all its frames for each label, 0 to 1000; empty where it was not decoded.
        reason: Why it was not.
    """

    path: Path
    scores: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long one picture takes, in milliseconds."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one arithmetic came to.

    Attributes:
        precision: The arithmetic.
        timing: For one picture.
        farthest_permille: How far a score was from that in full floats at most, on the given pictures.
    """

    precision: Precision
    timing: Timing
    farthest_permille: int


def score_files(paths: Sequence[Path], classifier: Classifier, settings: ScannerSettings) -> Iterator[Scored]:
    """Decode files in the sandbox and score what comes out, in their order.

    Raises:
        SandboxError: The sandbox cannot be set up.
    """
    with Pool(settings) as pool, ThreadPoolExecutor(settings.workers or 2) as threads:
        yield from threads.map(lambda path: _score(path, classifier, pool, settings), paths)


def score_frames(classifier: Classifier, frames: NDArray[np.uint8]) -> tuple[int, ...]:
    """Return the highest score of all frames for each label, 0 to 1000, as a detector would see it."""
    highest = np.rint(classifier.score(frames).max(axis=0).astype(np.float64) * PERMILLE)
    return tuple(int(score) for score in highest)


def time_classifier(classifier: Classifier, frame: NDArray[np.uint8], *, runs: int) -> Timing:
    """Measure how long one picture takes, pictures one after the other.

    Args:
        classifier: What is measured.
        frame: RGB uint8 [H, W, 3].
        runs: At least 2.
    """
    frames = frame[None]
    for _ in range(WARM_UPS):
        classifier.score(frames)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        classifier.score(frames)
        times.append((time.perf_counter() - start) * 1000)
    return Timing(p50_ms=statistics.median(times), p95_ms=statistics.quantiles(times, n=20)[-1])


def try_precisions(
    folder: Path, calibration: Calibration, frames: NDArray[np.uint8], *, runs: int
) -> Iterator[Trial]:
    """Measure a directory's model in every arithmetic, full floats first.

    Args:
        folder: Of the model.
        calibration: Its own; what it says of the arithmetic is passed over.
        frames: Pictures on which the scores are compared, RGB uint8 [N, H, W, 3].
        runs: Of one picture.

    Raises:
        MalformedError: the model cannot be loaded.
    """
    exact: NDArray[np.float32] | None = None
    for precision in Precision:
        classifier = open_directory_classifier(folder, replace(calibration, precision=precision))
        scores = classifier.score(frames)
        exact = scores if exact is None else exact
        yield Trial(
            precision=precision,
            timing=time_classifier(classifier, frames[0], runs=runs),
            farthest_permille=round(float(np.abs(scores - exact).max()) * PERMILLE),
        )


def _score(path: Path, classifier: Classifier, pool: Pool, settings: ScannerSettings) -> Scored:
    try:
        with path.open("rb") as file:
            data = file.read(settings.max_bytes + 1)
    except OSError:
        return Scored(path=path, reason="unreadable")
    found = sniff(data)
    if found is None or found not in DECODABLE or len(data) > settings.max_bytes:
        return Scored(path=path, reason=str(UnscannableReason.UNSUPPORTED))
    outcome = pool.run(data, Job.of(settings, found))
    if outcome.reason is not None or len(outcome.pixels) == 0:
        return Scored(path=path, reason=str(outcome.reason or UnscannableReason.CORRUPT))
    return Scored(path=path, scores=score_frames(classifier, outcome.pixels))
