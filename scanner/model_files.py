"""Read a model's files as pinned by its calibration, and nothing else of its directory."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import stat
from typing import TYPE_CHECKING, Any, Final

from scanner.calibration import CALIBRATION_NAME, MAX_CALIBRATION_BYTES, Calibration, parse_calibration
from scanner.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_MODEL_BYTES: Final = 8 << 30
"""Twice the largest image classifier in common use; a bound on what a mistaken path makes us copy."""
CONFIG_NAME: Final = "config.json"
PREPROCESSOR_NAME: Final = "preprocessor_config.json"
INDEX_NAME: Final = "model.safetensors.index.json"
TOKENIZER_NAME: Final = "tokenizer.json"
TOKENIZER_CONFIG_NAME: Final = "tokenizer_config.json"
ONNX_SUFFIX: Final = ".onnx"
ONNX_DATA_SUFFIXES: Final = (".onnx_data", ".onnx.data")
"""As the exporters in use name the weights that do not fit into the graph's own file."""
SAFETENSORS_SUFFIX: Final = ".safetensors"
REQUIRED: Final = (CONFIG_NAME, PREPROCESSOR_NAME)
PROMPTED: Final = (TOKENIZER_NAME, TOKENIZER_CONFIG_NAME)
"""What a zero-shot model needs beside, to read its sentences."""


def verify_digest(name: str, data: bytes, pins: Mapping[str, bytes]) -> None:
    """Check the bytes of a file against its pin.

    Raises:
        MalformedError: the file is not pinned or has another digest.
    """
    _verify(name, hashlib.sha256(data).digest(), pins)


def read_calibration(folder: Path, *, is_draft: bool = False) -> Calibration:
    """Read a directory's calibration and check that it pins a whole model.

    Args:
        folder: Of the model.
        is_draft: Whether all labels may still be without a meaning.

    Raises:
        MalformedError: there is none, it cannot be parsed, or it pins too little or something else than
            weights.
    """
    try:
        if not (folder / CALIBRATION_NAME).is_file():
            raise FileNotFoundError
        with (folder / CALIBRATION_NAME).open("rb") as file:
            calibration = parse_calibration(file.read(MAX_CALIBRATION_BYTES + 1), is_draft=is_draft)
    except OSError as error:
        raise MalformedError(
            f"the classifier's directory has no readable {CALIBRATION_NAME}; `breakwater classifier add` "
            "writes one that pins its files"
        ) from error
    required = (*REQUIRED, *PROMPTED) if calibration.prompts else REQUIRED
    for name in required:
        if name not in calibration.files:
            raise MalformedError(f"{CALIBRATION_NAME} must pin {name}")
    weights = [name for name in calibration.files if name.endswith(SAFETENSORS_SUFFIX)]
    graphs = [name for name in calibration.files if name.endswith(ONNX_SUFFIX)]
    if not (bool(weights) ^ (len(graphs) == 1)) or len(graphs) > 1:
        raise MalformedError(
            f"{CALIBRATION_NAME} must pin the weights: files that end in {SAFETENSORS_SUFFIX}, or one that "
            f"ends in {ONNX_SUFFIX}, but not both"
        )
    for name in calibration.files:
        is_data = bool(graphs) and name.endswith(ONNX_DATA_SUFFIXES)
        if name not in {*required, *weights, *graphs, INDEX_NAME} and not is_data:
            raise MalformedError(
                f"{CALIBRATION_NAME} pins {name}, but only safetensors weights or an ONNX graph and their "
                "configuration are loaded"
            )
    return calibration


def copy_pinned(folder: Path, target: Path, calibration: Calibration) -> None:
    """Copy the pinned files, checking what was copied, so that what is loaded is what was checked.

    Raises:
        MalformedError: a file is missing, no plain file, too large, or has another digest.
    """
    left = MAX_MODEL_BYTES
    for name in calibration.files:
        try:
            found = (folder / name).stat()
            if not stat.S_ISREG(found.st_mode):
                raise MalformedError(f"{name}, which {CALIBRATION_NAME} pins, is no plain file")
            left -= found.st_size
            if left < 0:
                raise MalformedError(f"the model is larger than {MAX_MODEL_BYTES:,} bytes")
            shutil.copyfile(folder / name, target / name)
            with (target / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise MalformedError(f"{name}, which {CALIBRATION_NAME} pins, cannot be read") from error
        _verify(name, digest, calibration.files)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the model's configuration.

    Raises:
        MalformedError: it is not a JSON object, or asks for code.
    """
    config = read_json(folder / CONFIG_NAME)
    if "auto_map" in config:
        raise MalformedError(f"{CONFIG_NAME} asks for code of its own, which is never run; use another model")
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the model's small JSON files.

    Raises:
        MalformedError: it is not a JSON object.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise MalformedError(f"{path.name} is not JSON") from error
    if not isinstance(document, dict):
        raise MalformedError(f"{path.name} is not a JSON object")
    return document


def _verify(name: str, digest: bytes, pins: Mapping[str, bytes]) -> None:
    pinned = pins.get(name)
    if pinned is None or not hmac.compare_digest(digest, pinned):
        raise MalformedError(
            f"{name} is not the file that {CALIBRATION_NAME} pins; if you replaced it on purpose, measure "
            "the thresholds again and write its new SHA-256"
        )
