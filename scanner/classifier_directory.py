"""Load the administrator's own classifier from a local directory.

Nothing is fetched and no code of the model runs: the architecture must be one that transformers knows,
weights are safetensors, and every file that is read is pinned by its digest.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scanner.classifier import Classifier, ClassifierDetector, set_threads
from scanner.errors import MalformedError
from scanner.model_files import CONFIG_NAME, PREPROCESSOR_NAME, copy_pinned, read_calibration, read_json
from scanner.preprocess import IDENTITY, UNIT

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from scanner.calibration import Calibration

MIN_SIDE: Final = 16
MAX_SIDE: Final = 1024
"""Frames are 256 pixels wide, so a model that wants four times that sees no more and only takes longer."""
RESCALE: Final = 1 / 255
RESCALE_TOLERANCE: Final = 1e-6
CHANNELS: Final = 3


def open_directory_detector(folder: Path, *, at_once: int | None = None) -> ClassifierDetector:
    """Load the classifier in `folder` as a detector.

    Raises:
        MalformedError: what is wrong with the directory and how to mend it.
    """
    calibration = read_calibration(folder)
    # Only what was checked lies in the scratch directory: no adapter, no code, no unpinned configuration.
    with tempfile.TemporaryDirectory(prefix="breakwater-model-") as scratch:
        copy_pinned(folder, Path(scratch), calibration)
        classifier = _load(Path(scratch), at_once=at_once)
    _check_labels(classifier, calibration)
    return ClassifierDetector(classifier, calibration)


def _load(folder: Path, *, at_once: int | None) -> Classifier:
    """Load a checked directory."""
    side, mean, std = _read_preprocessing(folder)
    if "auto_map" in read_json(folder / CONFIG_NAME):
        raise MalformedError(f"{CONFIG_NAME} asks for code of its own, which is never run; use another model")
    with warnings.catch_warnings():
        # Deprecations inside the libraries are for their makers; nobody here could act on them.
        warnings.simplefilter("ignore")
        import torch  # noqa: PLC0415 - a relay without classifiers never loads torch
        import transformers  # noqa: PLC0415 - see above

        _quieten(transformers.utils.logging)
        try:
            model, loading = transformers.AutoModelForImageClassification.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=torch.float32,
            )
        except Exception as error:  # a library with dozens of own errors; any of them means the same here
            raise MalformedError(
                "the model cannot be loaded; it must be an image classifier that transformers knows, with "
                "safetensors weights"
            ) from error
    # Keys that are missing would be filled with random numbers.
    if loading["missing_keys"] or loading["mismatched_keys"]:
        raise MalformedError(f"the weights do not fit the model that {CONFIG_NAME} describes")
    model.eval()
    model.requires_grad_(requires_grad=False)
    set_threads()
    names = model.config.id2label
    return Classifier(
        labels=tuple(str(names[column]) for column in range(len(names))),
        runtime={"torch": torch.__version__, "transformers": transformers.__version__},
        infer=_build_infer(model, is_multi_label=model.config.problem_type == "multi_label_classification"),
        side=side,
        mean=mean,
        std=std,
        at_once=at_once,
    )


def _quieten(library_log: Any) -> None:
    """Keep the library's hints and progress bars out of the relay's output; it has no types for this."""
    library_log.set_verbosity_error()
    library_log.disable_progress_bar()


def _build_infer(model: Any, *, is_multi_label: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    def infer(picture: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model(pixel_values=picture).logits.float()
        return logits.sigmoid() if is_multi_label else logits.softmax(dim=1)

    return infer


def _check_labels(classifier: Classifier, calibration: Calibration) -> None:
    if len(set(classifier.labels)) != len(classifier.labels):
        raise MalformedError(f"{CONFIG_NAME} gives two labels the same name")
    if missing := [name for name in classifier.labels if name not in calibration.labels]:
        raise MalformedError(f"the calibration lacks labels of the model: {', '.join(missing[:5])}")
    if unknown := sorted(calibration.labels.keys() - set(classifier.labels)):
        raise MalformedError(f"the model lacks labels of the calibration: {', '.join(unknown[:5])}")


def _read_preprocessing(
    folder: Path,
) -> tuple[int, tuple[float, float, float], tuple[float, float, float]]:
    """Read the input's side, mean and standard deviation; `scanner.preprocess` decides the rest.

    Raises:
        MalformedError: the file asks for something that this pipeline does not do.
    """
    options = read_json(folder / PREPROCESSOR_NAME)
    factor = options.get("rescale_factor", RESCALE)
    if options.get("do_rescale", True) is not True or not isinstance(factor, float):
        raise MalformedError(f"{PREPROCESSOR_NAME} must rescale pixels by 1/255")
    if abs(factor - RESCALE) > RESCALE_TOLERANCE:
        raise MalformedError(f"{PREPROCESSOR_NAME} must rescale pixels by 1/255, not by another factor")
    side = _side(options.get("crop_size") if options.get("do_center_crop") else None) or _side(
        options.get("size")
    )
    if side is None or not MIN_SIDE <= side <= MAX_SIDE:
        raise MalformedError(
            f"{PREPROCESSOR_NAME} must give a square size from {MIN_SIDE} to {MAX_SIDE} pixels"
        )
    if options.get("do_normalize", True) is False:
        return side, IDENTITY, UNIT
    mean, std = _triple(options.get("image_mean")), _triple(options.get("image_std"))
    if mean is None or std is None or min(std) <= 0:
        raise MalformedError(f"{PREPROCESSOR_NAME} must give image_mean and image_std as three numbers each")
    return side, mean, std


def _side(size: object) -> int | None:
    """Find the side in pixels in any of the ways in which preprocessor files write it."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    if not isinstance(size, dict):
        return None
    if "height" in size:
        return size["height"] if size["height"] == size.get("width") and type(size["height"]) is int else None
    shortest = size.get("shortest_edge")
    return shortest if type(shortest) is int else None


def _triple(value: object) -> tuple[float, float, float] | None:
    if (
        not isinstance(value, list)
        or len(value) != CHANNELS
        or not all(type(x) in {int, float} for x in value)
    ):
        return None
    red, green, blue = (float(x) for x in value)
    return red, green, blue
