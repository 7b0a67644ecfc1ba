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

from scanner.classifier_batching import MicroBatcher
from scanner.classifier_precision import Device, Precision
from scanner.detector import DetectorResult, Need, Sample
from scanner.preprocess import IDENTITY, UNIT, prepare
from scanner.report import Basis, Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from scanner.calibration import Calibration, LabelRule

PERMILLE: Final = 1000
_DIGEST_CHARS: Final = 12
"""Of the digests in a version: enough to tell an installation's models apart."""
THREADS: Final = 1
"""Threads of torch inside one picture. On two cores a second thread makes one picture about a tenth faster
and two pictures at once slower, so pictures run beside each other instead."""


class Classifier:
    """A loaded model; may be called from many threads.

    Attributes:
        labels: What the columns of the scores mean.
        runtime: The versions of the libraries that compute the scores.
        precision: The arithmetic in which it runs.
        device: Where it runs.
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
        precision: Precision = Precision.FP32,
        device: Device = Device.CPU,
        at_once: int | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            labels: What the columns of the scores mean.
            runtime: The versions of the libraries that compute the scores.
            infer: From pictures, float32 [N, 3, side, side], to scores, float32 [N, labels], both in the
                memory of the processor.
            side: Of the model's input, in pixels.
            mean: Of each colour, subtracted.
            std: Of each colour, divided by.
            precision: The arithmetic of `infer`.
            device: Where `infer` runs. For a graphics processor pictures of many callers run together.
            at_once: Pictures at a time on the processor; None for one per processor.
        """
        self.labels = labels
        self.runtime = runtime
        self.precision = precision
        self.device = device
        self._infer = MicroBatcher(infer) if device is Device.CUDA else infer
        self._side = side
        self._mean = mean
        self._std = std
        # More pictures at once than processors only use memory: each holds its own activations.
        self._permits = threading.BoundedSemaphore(at_once or len(os.sched_getaffinity(0)))

    def score(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score frames, RGB uint8 [F, H, W, 3], as float32 [F, labels] in [0, 1].

        On a processor frames run one by one: a batch is no faster there, and the scores of a frame then do
        not depend on its neighbours. On a graphics processor they may, by less than a thousandth.
        """
        import torch  # noqa: PLC0415 - a relay without classifiers never loads torch

        if len(frames) == 0:
            return np.empty((0, len(self.labels)), dtype=np.float32)
        with torch.inference_mode():
            if self.device is Device.CUDA:
                return self._infer(torch.cat([self._prepare(frame) for frame in frames])).numpy()
            with self._permits:
                return torch.cat([self._infer(self._prepare(frame)) for frame in frames]).numpy()

    def _prepare(self, frame: NDArray[np.uint8]) -> torch.Tensor:
        return prepare(frame, side=self._side, mean=self._mean, std=self._std)


def set_threads(threads: int = THREADS) -> None:
    """Choose how many threads torch uses inside one picture; holds for the process."""
    import torch  # noqa: PLC0415 - a relay without classifiers never loads torch

    torch.set_num_threads(threads)


def model_of(version: str) -> str:
    """Return what of a detector's version names the model and its arithmetic, the thresholds left out.

    Scores that were given under versions of the same model may be compared.
    """
    return version.rpartition("+")[2].partition(".")[0]


def _digest(document: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:_DIGEST_CHARS]


class ClassifierDetector:
    """A classifier with its calibration, as a detector (`scanner.detector.Detector`)."""

    need: Final = Need.PIXELS
    is_costly: Final = True

    def __init__(self, classifier: Classifier, calibration: Calibration) -> None:
        self._classifier = classifier
        self._rules: tuple[tuple[int, LabelRule], ...] = tuple(
            (column, rule)
            for column, name in enumerate(classifier.labels)
            if (rule := calibration.labels[name]) is not None
        )
        self.name = calibration.name
        self.advisory = calibration.advisory
        arithmetic = {"precision": str(classifier.precision), "device": str(classifier.device)}
        self.state: dict[str, object] = calibration.state | arithmetic | {"runtime": dict(classifier.runtime)}
        model = _digest(calibration.model_state | arithmetic)
        self.version = f"{calibration.version}+{model}.{_digest(self.state)}"

    @property
    def essential(self) -> bool:
        """Whether it decides: then what it could not look at was not examined."""
        return not self.advisory

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
