"""Load image classifiers from ONNX graphs: data without code, run by onnxruntime.

A graph is checked by the runtime when it is loaded: operators that it does not know are refused, for none are
registered, and external data must lie beside the graph, where only pinned files are.
"""

from __future__ import annotations

import platform
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it brings no types
import torch

from scanner.classifier import Classifier, set_threads
from scanner.classifier_inputs import CHANNELS, read_inputs
from scanner.classifier_precision import INT8_FLAGS, Precision, read_cpu_flags
from scanner.errors import MalformedError
from scanner.model_files import ONNX_SUFFIX, read_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scanner.calibration import Calibration
    from scanner.classifier_inputs import Inputs

_PROVIDERS: Final = ["CPUExecutionProvider"]
_MAX_RUN: Final = timedelta(seconds=60)
"""Of one picture. The largest models in use take a third of a second; a graph may loop for ever."""
_QUIET: Final = 4
"""Fatal only: what the runtime writes of a graph belongs into no log of ours."""


def load_onnx(folder: Path, calibration: Calibration, *, at_once: int | None) -> Classifier:
    """Load a checked directory that holds one ONNX graph.

    Raises:
        MalformedError: the graph cannot be loaded or is no image classifier, with the reason.
    """
    if calibration.precision is Precision.BF16:
        raise MalformedError("an ONNX graph brings its own arithmetic: `precision` may be auto, fp32 or int8")
    if calibration.prompts:
        raise MalformedError("zero-shot models are loaded from safetensors weights, not from an ONNX graph")
    inputs = read_inputs(folder)
    config = read_config(folder)
    labels = _read_labels(config)
    (name,) = (name for name in calibration.files if name.endswith(ONNX_SUFFIX))
    session = _open_session(folder / name)
    is_multi_label = config.get("problem_type") == "multi_label_classification"
    infer = _build_infer(session, inputs, len(labels), is_multi_label=is_multi_label)
    set_threads()
    return Classifier(
        labels=labels,
        runtime={
            "onnxruntime": onnxruntime.__version__,
            "torch": torch.__version__,
            # Without an instruction for it sums of products of small integers saturate on the way on some
            # processors, and scores differ by far more than rounding.
            "int8": "exact" if read_cpu_flags() & INT8_FLAGS else platform.machine(),
        },
        infer=infer,
        side=inputs.side,
        mean=inputs.mean,
        std=inputs.std,
        precision=calibration.precision or Precision.FP32,
        at_once=at_once,
    )


def _read_labels(config: dict[str, Any]) -> tuple[str, ...]:
    names = config.get("id2label")
    if not isinstance(names, dict) or {str(column) for column in range(len(names))} != names.keys():
        raise MalformedError("config.json must name the columns of the scores in `id2label`, from 0 on")
    return tuple(str(names[str(column)]) for column in range(len(names)))


def _open_session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    # As with torch: pictures run beside each other rather than one on several processors.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = _QUIET
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=_PROVIDERS)
    except Exception as error:  # its errors have no common root but this one
        raise MalformedError(
            f"{path.name} cannot be loaded; it must be an ONNX graph of known operators, and external data "
            "must be pinned and lie beside it"
        ) from error


def _run_within(limit: timedelta, session: Any, outputs: list[str], inputs: dict[str, Any]) -> Any:
    """Run a graph, and end it between two of its steps when the time is over, which raises its error."""
    options = onnxruntime.RunOptions()
    watch = threading.Timer(limit.total_seconds(), setattr, (options, "terminate", True))
    watch.daemon = True
    watch.start()
    try:
        return session.run(outputs, inputs, options)
    finally:
        watch.cancel()


def _build_infer(
    session: Any, inputs: Inputs, labels: int, *, is_multi_label: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    if len(session.get_inputs()) != 1:
        raise MalformedError("the ONNX graph must have one input, the pictures")
    (wanted,) = session.get_inputs()
    expected = (CHANNELS, inputs.side, inputs.side)
    given = tuple(wanted.shape[1:])
    fits = len(given) == len(expected) and all(
        not isinstance(one, int) or one == other for one, other in zip(given, expected, strict=True)
    )
    if wanted.type != "tensor(float)" or not fits:
        raise MalformedError(
            f"the ONNX graph must take floats of the shape [N, {CHANNELS}, {inputs.side}, {inputs.side}], as "
            "preprocessor_config.json says"
        )
    output = session.get_outputs()[0].name

    def infer(pictures: torch.Tensor) -> torch.Tensor:
        (logits,) = _run_within(_MAX_RUN, session, [output], {wanted.name: pictures.contiguous().numpy()})
        scores = torch.from_numpy(np.asarray(logits, dtype=np.float32))
        return scores.sigmoid() if is_multi_label else scores.softmax(dim=1)

    # The declared shape may leave the number of columns open, so one picture tells.
    try:
        shape = infer(torch.zeros(1, *expected)).shape
    except Exception as error:  # its errors have no common root but this one
        raise MalformedError(
            "the ONNX graph cannot run on one picture, or takes longer than a minute"
        ) from error
    if shape != (1, labels):
        raise MalformedError(f"the ONNX graph must give {labels} scores for a picture, as config.json names")
    return infer
