"""Classifiers: models that score pixels, and the detector that turns scores into findings.

A classifier orders a queue and never accuses: its findings name a category that its calibration allows, carry
the basis `classifier`, and are advisory unless an administrator says otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING, Final

import numpy as np

from scanner.detector import DetectorResult, Need, Sample
from scanner.preprocess import IDENTITY, UNIT, prepare
from scanner.report import Basis, Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from scanner.calibration import Calibration, LabelRule

PERMILLE: Final = 1000
THREADS: Final = 1
"""Threads of torch inside one picture. On two cores a second thread makes one picture about a tenth faster
and two pictures at once slower, so pictures run beside each other instead."""


class Classifier:
    """A loaded model; may be called from many threads.

    Attributes:
        labels: What the columns of the scores mean.
        runtime: The versions of the libraries that compute the scores.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...],
        runtime: dict[str, str],
        infer: Callable[[torch.Tensor], torch.Tensor],
        side: int,
        mean: tuple[float, float, float] = IDENTITY,
        std: tuple[float, float, float] = UNIT,
        at_once: int | None = None,
    ) -> None:
        self.labels = labels
        self.runtime = runtime
        self._infer = infer
        self._side = side
        self._mean = mean
        self._std = std
        # More pictures at once than processors only use memory: each holds its own activations.
        self._permits = threading.BoundedSemaphore(at_once or len(os.sched_getaffinity(0)))

    def score(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score frames, RGB uint8 [F, H, W, 3], as float32 [F, labels] in [0, 1].

        Frames run one by one: on a processor a batch is no faster, and the scores of a frame then do not
        depend on its neighbours.
        """
        import torch  # noqa: PLC0415 - a relay without classifiers never loads torch

        scores = np.empty((len(frames), len(self.labels)), dtype=np.float32)
        with self._permits, torch.inference_mode():
            for row, frame in enumerate(frames):
                picture = prepare(frame, side=self._side, mean=self._mean, std=self._std)
                scores[row] = self._infer(picture)[0].numpy()
        return scores


def set_threads(threads: int = THREADS) -> None:
    """Choose how many threads torch uses inside one picture; holds for the process."""
    import torch  # noqa: PLC0415 - a relay without classifiers never loads torch

    torch.set_num_threads(threads)


class ClassifierDetector:
    """A classifier with its calibration, as a detector (`scanner.detector.Detector`)."""

    essential: Final = False
    need: Final = Need.PIXELS
    is_costly: Final = True

    def __init__(self, classifier: Classifier, calibration: Calibration) -> None:
        self._classifier = classifier
        self._calibration = calibration
        self._rules: tuple[tuple[int, LabelRule], ...] = tuple(
            (column, rule)
            for column, name in enumerate(classifier.labels)
            if (rule := calibration.labels[name]) is not None
        )
        self.name = calibration.name
        self.advisory = calibration.advisory
        self.state: dict[str, object] = calibration.state | {"runtime": dict(classifier.runtime)}
        digest = hashlib.sha256(json.dumps(self.state, sort_keys=True).encode()).hexdigest()
        self.version = f"{calibration.version}+{digest[:12]}"

    def detect(self, sample: Sample) -> DetectorResult:
        """Score the frames and report every label whose highest score reaches its threshold."""
        if len(sample.pixels) == 0:
            return DetectorResult(not_applicable=True)
        scores = self._classifier.score(sample.pixels)
        if not np.all(np.isfinite(scores)):
            return DetectorResult(failed="the model gave scores that are no numbers")
        highest = np.rint(scores.max(axis=0).astype(np.float64) * PERMILLE).astype(int)
        return DetectorResult(
            findings=tuple(
                Finding(
                    detector=self.name,
                    version=self.version,
                    category=rule.category,
                    basis=Basis.CLASSIFIER,
                    label=rule.label,
                    advisory=self.advisory,
                    score_permille=int(highest[column]),
                )
                for column, rule in self._rules
                if highest[column] >= rule.threshold_permille
            ),
            scores=tuple(
                sorted((self._classifier.labels[column], int(highest[column])) for column, _ in self._rules)
            ),
        )
