"""Load image classifiers through transformers: architectures that it knows, safetensors weights, no code."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from scanner.classifier import Classifier, set_threads
from scanner.classifier_inputs import read_inputs
from scanner.classifier_precision import (
    Device,
    Precision,
    apply_precision,
    choose_device,
    choose_precision,
    inspect_machine,
)
from scanner.errors import MalformedError
from scanner.model_files import CONFIG_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scanner.calibration import Calibration


def load_transformers(folder: Path, calibration: Calibration, *, at_once: int | None) -> Classifier:
    """Load a checked directory that holds an image classifier.

    Raises:
        MalformedError: the model cannot be loaded, with the reason.
    """
    inputs = read_inputs(folder)
    with library() as transformers:
        model = load_weights(transformers.AutoModelForImageClassification, folder)
        version = transformers.__version__
    names = model.config.id2label
    is_multi_label = model.config.problem_type == "multi_label_classification"
    machine = inspect_machine()
    precision = calibration.precision or choose_precision(machine, model)
    device = choose_device(machine, precision)

    def score(net: Any, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = net(pixel_values=pictures).logits.float()
        return logits.sigmoid() if is_multi_label else logits.softmax(dim=1)

    return Classifier(
        labels=tuple(str(names[column]) for column in range(len(names))),
        runtime={"torch": torch.__version__, "transformers": version},
        infer=build_infer(model, score, device=device, precision=precision),
        side=inputs.side,
        mean=inputs.mean,
        std=inputs.std,
        precision=precision,
        device=device,
        at_once=at_once,
    )


@contextmanager
def library() -> Iterator[Any]:
    """Give transformers, without its hints, progress bars and deprecations: nobody here could act on them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers  # noqa: PLC0415 - seconds of import, for those who bring a model

        log: Any = transformers.utils.logging
        log.set_verbosity_error()
        log.disable_progress_bar()
        yield transformers


def load_weights(kind: Any, folder: Path) -> Any:
    """Load a model of a kind of transformers in full floats, to be read only.

    Raises:
        MalformedError: it is no such model, or its weights do not fit.
    """
    try:
        model, loading = kind.from_pretrained(
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
    return model


def build_infer(
    model: Any,
    score: Callable[[Any, torch.Tensor], torch.Tensor],
    *,
    device: Device,
    precision: Precision,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Build the function from pictures to scores in an arithmetic on a machine.

    Args:
        model: In full floats; it is changed in place.
        score: From the model and pictures in its arithmetic, on its device, to scores in full floats.
        device: Where it runs.
        precision: In which arithmetic.
    """
    set_threads()
    net = apply_precision(model, precision).to(device.value)
    dtype = torch.bfloat16 if precision is Precision.BF16 else torch.float32

    def infer(pictures: torch.Tensor) -> torch.Tensor:
        return score(net, pictures.to(device=device.value, dtype=dtype)).cpu()

    return infer
