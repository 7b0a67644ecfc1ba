"""Write the calibration of a model that is brought: its files pinned, its labels to be mapped."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scanner.calibration import CALIBRATION_NAME, FORMAT, MAX_LABELS, Calibration, parse_calibration
from scanner.errors import MalformedError
from scanner.model_files import (
    INDEX_NAME,
    ONNX_DATA_SUFFIXES,
    ONNX_SUFFIX,
    PROMPTED,
    REQUIRED,
    SAFETENSORS_SUFFIX,
    read_config,
)
from scanner.preprocess import PREPROCESS_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scanner.calibration import LabelRule
    from scanner.classifier_precision import Precision

INT8_NAME: Final = "model-int8.onnx"


def find_files(folder: Path, *, is_prompted: bool, prefers_onnx: bool = False) -> tuple[str, ...]:
    """Find what of a model's directory would be read: weights of one kind, and their configuration.

    Args:
        folder: Of the model.
        is_prompted: Whether it is a zero-shot model, which needs its tokenizer.
        prefers_onnx: Whether a graph is taken where there are safetensors weights, too.

    Raises:
        MalformedError: something is missing.
    """
    try:
        there = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise MalformedError(f"{folder} is no directory that can be read") from error
    required = (*REQUIRED, *PROMPTED) if is_prompted else REQUIRED
    if missing := [name for name in required if name not in there]:
        raise MalformedError(
            f"{folder} lacks {', '.join(missing)}; download it from where the model came from"
        )
    weights = [name for name in there if name.endswith(SAFETENSORS_SUFFIX)]
    graphs = [name for name in there if name.endswith(ONNX_SUFFIX)]
    if graphs and (prefers_onnx or not weights):
        graph = INT8_NAME if INT8_NAME in graphs else graphs[0]
        if len(graphs) > 1 and graph != INT8_NAME:
            raise MalformedError(
                f"{folder} holds several graphs: {', '.join(graphs)}; leave one of them there"
            )
        data = [name for name in there if name.endswith(ONNX_DATA_SUFFIXES)] if graph != INT8_NAME else []
        return (*required, graph, *data)
    if not weights:
        raise MalformedError(
            f"{folder} holds neither *{SAFETENSORS_SUFFIX} weights nor an *{ONNX_SUFFIX} graph; other "
            "formats can hold code and are never loaded"
        )
    return (*required, *weights, *(name for name in (INDEX_NAME,) if name in there))


def read_labels(folder: Path) -> tuple[str, ...]:
    """Read the names of a model's labels from its configuration.

    Raises:
        MalformedError: there are none.
    """
    names = read_config(folder).get("id2label")
    if not isinstance(names, dict) or not 0 < len(names) <= MAX_LABELS:
        raise MalformedError(
            "config.json names no labels (`id2label`), so this is no image classifier; for a zero-shot model "
            "give sentences with --prompts"
        )
    return tuple(str(name) for name in names.values())


def build_draft(
    folder: Path,
    *,
    name: str,
    version: str,
    files: Sequence[str],
    labels: Mapping[str, dict[str, object] | None],
    prompts: Mapping[str, Sequence[str]] | None = None,
    precision: Precision | None = None,
) -> Calibration:
    """Write the calibration of a model into its directory, whole or not at all.

    Args:
        folder: Of the model.
        name: Of the detector.
        version: Of the model and its thresholds.
        files: What is pinned.
        labels: What each label means, as in the file; None where it means nothing, or nothing yet.
        prompts: The sentences of a zero-shot model.
        precision: The arithmetic; None where the machine decides.

    Raises:
        MalformedError: a file cannot be read, or the calibration would not be one.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "preprocess": PREPROCESS_VERSION,
        "files": {one: _digest(folder / one) for one in files},
        "labels": dict(labels),
    }
    if prompts is not None:
        document["prompts"] = {label: list(texts) for label, texts in prompts.items()}
    if precision is not None:
        document["precision"] = str(precision)
    return _write(folder, document)


def write_rules(
    folder: Path, rules: Mapping[str, LabelRule], *, precision: Precision, version: str
) -> Calibration:
    """Put measured thresholds into a directory's calibration; everything else stays as it is.

    Args:
        folder: Of the model.
        rules: By label.
        precision: The arithmetic with which they were measured, which is fixed with them.
        version: The new version of model and thresholds.

    Raises:
        MalformedError: the calibration cannot be read, or cannot be written.
    """
    try:
        document = json.loads((folder / CALIBRATION_NAME).read_bytes())
    except (OSError, ValueError) as error:
        raise MalformedError(f"{CALIBRATION_NAME} cannot be read") from error
    for label, rule in rules.items():
        document["labels"][label] = {
            "category": str(rule.category),
            "label": rule.label,
            "threshold_permille": rule.threshold_permille,
            "false_positives_per_million": rule.false_positives_per_million,
            "measured_on": rule.measured_on,
        }
    document |= {"precision": str(precision), "version": version}
    return _write(folder, document)


def quantize_graph(folder: Path) -> None:
    """Write a graph's copy with 8-bit weights beside it.

    Raises:
        MalformedError: there is not one graph, or what rewrites graphs is not installed.
    """
    graphs = [one for one in folder.glob(f"*{ONNX_SUFFIX}") if one.name != INT8_NAME]
    if len(graphs) != 1:
        raise MalformedError(f"{folder} must hold one *{ONNX_SUFFIX} graph to make an 8-bit one of")
    try:
        # For this alone, and without types of its own.
        from onnxruntime.quantization import (  # type: ignore[import-untyped]  # noqa: PLC0415
            QuantType,
            quantize_dynamic,
        )
    except ImportError as error:
        raise MalformedError(
            "graphs are rewritten by the package onnx, which a relay does not need otherwise; install it for "
            "this step: pip install onnx"
        ) from error
    try:
        quantize_dynamic(graphs[0], folder / INT8_NAME, weight_type=QuantType.QInt8)
    except Exception as error:  # its errors have no common root but this one
        raise MalformedError(f"{graphs[0].name} cannot be rewritten with 8-bit weights") from error


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MalformedError(f"{path.name} cannot be read") from error


def _write(folder: Path, document: dict[str, Any]) -> Calibration:
    data = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    calibration = parse_calibration(data, is_draft=True)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(data)
        Path(file.name).chmod(0o644)
        os.replace(file.name, folder / CALIBRATION_NAME)  # noqa: PTH105 - as one step
    except OSError as error:
        raise MalformedError(f"{folder / CALIBRATION_NAME} cannot be written") from error
    return calibration
