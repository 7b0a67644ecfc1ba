"""Read a model's files as pinned by its calibration, and nothing else of its directory."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
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
REQUIRED: Final = (CONFIG_NAME, PREPROCESSOR_NAME)
_COPY_BYTES: Final = 1 << 20


def verify_digest(name: str, data: bytes, pins: Mapping[str, bytes]) -> None:
    """Check the bytes of a file against its pin.

    Raises:
        MalformedError: the file is not pinned or has another digest.
    """
    _verify(name, hashlib.sha256(data).digest(), pins)


def read_calibration(folder: Path) -> Calibration:
    """Read a directory's calibration and check that it pins a whole model.

    Raises:
        MalformedError: there is none, it cannot be parsed, or it pins too little or something else than
            weights.
    """
    try:
        with (folder / CALIBRATION_NAME).open("rb") as file:
            calibration = parse_calibration(file.read(MAX_CALIBRATION_BYTES + 1))
    except OSError as error:
        raise MalformedError(
            f"the classifier's directory has no readable {CALIBRATION_NAME}; write one that pins its files"
        ) from error
    for name in REQUIRED:
        if name not in calibration.files:
            raise MalformedError(f"{CALIBRATION_NAME} must pin {name}")
    if not any(name.endswith(".safetensors") for name in calibration.files):
        raise MalformedError(f"{CALIBRATION_NAME} must pin the weights, a file that ends in .safetensors")
    for name in calibration.files:
        if not name.endswith(".safetensors") and name not in {*REQUIRED, INDEX_NAME}:
            raise MalformedError(
                f"{CALIBRATION_NAME} pins {name}, but only safetensors weights and their configuration are "
                "loaded"
            )
    return calibration


def copy_pinned(folder: Path, target: Path, calibration: Calibration) -> None:
    """Copy the pinned files, checking what was copied, so that what is loaded is what was checked.

    Raises:
        MalformedError: a file is missing, too large, or has another digest.
    """
    left = MAX_MODEL_BYTES
    for name in calibration.files:
        try:
            size = (folder / name).stat().st_size
            left -= size
            if left < 0:
                raise MalformedError(f"the model is larger than {MAX_MODEL_BYTES:,} bytes")
            shutil.copyfile(folder / name, target / name)
            with (target / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise MalformedError(f"{name}, which {CALIBRATION_NAME} pins, cannot be read") from error
        _verify(name, digest, calibration.files)


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
