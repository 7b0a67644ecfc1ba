"""Load the administrator's own classifier from a local directory.

Nothing is fetched and no code of the model runs: the architecture must be one that transformers knows, with
safetensors weights, or an ONNX graph, and every file that is read is pinned by its digest.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from scanner.classifier import Classifier, ClassifierDetector
from scanner.errors import MalformedError
from scanner.model_files import ONNX_SUFFIX, copy_pinned, read_calibration, read_config

if TYPE_CHECKING:
    from scanner.calibration import Calibration


def open_directory_detector(
    folder: Path, *, at_once: int | None = None, cache_dir: Path | None = None
) -> ClassifierDetector:
    """Load the classifier in `folder` as a detector.

    Args:
        folder: Of the model and its calibration.
        at_once: Pictures at a time on the processor; None for one per processor.
        cache_dir: Where the text embeddings of zero-shot models are kept; None computes them anew.

    Raises:
        MalformedError: what is wrong with the directory and how to mend it.
    """
    calibration = read_calibration(folder)
    classifier = open_directory_classifier(folder, calibration, at_once=at_once, cache_dir=cache_dir)
    return ClassifierDetector(classifier, calibration)


def open_directory_classifier(
    folder: Path,
    calibration: Calibration,
    *,
    at_once: int | None = None,
    cache_dir: Path | None = None,
) -> Classifier:
    """Load the model in `folder` as its calibration pins it.

    Raises:
        MalformedError: what is wrong with the directory and how to mend it.
    """
    # Only what was checked lies in the scratch directory: no adapter, no code, no unpinned configuration.
    with tempfile.TemporaryDirectory(prefix="breakwater-model-") as scratch:
        copy_pinned(folder, Path(scratch), calibration)
        classifier = _load(Path(scratch), calibration, at_once=at_once, cache_dir=cache_dir)
    _check_labels(classifier, calibration)
    return classifier


def _load(
    folder: Path, calibration: Calibration, *, at_once: int | None, cache_dir: Path | None
) -> Classifier:
    """Load a checked directory; what loads a kind of model is imported with its libraries only here."""
    read_config(folder)
    if any(name.endswith(ONNX_SUFFIX) for name in calibration.files):
        from scanner.classifier_onnx import load_onnx  # noqa: PLC0415 - see above

        return load_onnx(folder, calibration, at_once=at_once)
    if calibration.prompts:
        from scanner.classifier_zero_shot import load_zero_shot  # noqa: PLC0415 - see above

        return load_zero_shot(folder, calibration, at_once=at_once, cache_dir=cache_dir)
    from scanner.classifier_transformers import load_transformers  # noqa: PLC0415 - see above

    return load_transformers(folder, calibration, at_once=at_once)


def _check_labels(classifier: Classifier, calibration: Calibration) -> None:
    if len(set(classifier.labels)) != len(classifier.labels):
        raise MalformedError("the model's config.json gives two labels the same name")
    if missing := [name for name in classifier.labels if name not in calibration.labels]:
        raise MalformedError(f"the calibration lacks labels of the model: {', '.join(missing[:5])}")
    if unknown := sorted(calibration.labels.keys() - set(classifier.labels)):
        raise MalformedError(f"the model lacks labels of the calibration: {', '.join(unknown[:5])}")
