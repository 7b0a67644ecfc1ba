"""The classifier that ships with the scanner: small, fast, old, and advisory by nature.

It tells drawings, drawn pornography, neutral pictures, pornography and suggestive pictures apart. It says
nothing about age and nothing about consent, so its findings are `adult-content` and never anything else.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from scanner.calibration import CALIBRATION_NAME, Calibration, parse_calibration
from scanner.classifier import Classifier, ClassifierDetector, set_threads
from scanner.model_files import verify_digest

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

WEIGHTS_NAME = "model.safetensors"


def get_embedded_calibration() -> Calibration:
    """Get the calibration of the embedded classifier, without loading it."""
    return parse_calibration((_folder() / CALIBRATION_NAME).read_bytes())


def open_embedded_classifier(*, at_once: int | None = None) -> Classifier:
    """Load the embedded model; takes 0.1 s beside the import of torch.

    Raises:
        MalformedError: the installed files are damaged.
    """
    import torch  # noqa: PLC0415 - a relay without classifiers never loads torch

    from scanner.embedded_model import LABELS, SIDE, build_model  # noqa: PLC0415 - see above

    weights = (_folder() / WEIGHTS_NAME).read_bytes()
    verify_digest(WEIGHTS_NAME, weights, get_embedded_calibration().files)
    set_threads()
    return Classifier(
        labels=LABELS,
        runtime={"torch": torch.__version__},
        infer=build_model(weights),
        side=SIDE,
        at_once=at_once,
    )


def open_embedded_detector(*, at_once: int | None = None) -> ClassifierDetector:
    """Load the embedded model as a detector.

    Raises:
        MalformedError: the installed files are damaged.
    """
    return ClassifierDetector(open_embedded_classifier(at_once=at_once), get_embedded_calibration())


def _folder() -> Traversable:
    return files("scanner") / "data" / "embedded"
