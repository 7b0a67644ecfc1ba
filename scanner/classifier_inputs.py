"""What a model's own files say about its input; `scanner.preprocess` decides the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scanner.errors import MalformedError
from scanner.model_files import PREPROCESSOR_NAME, read_json
from scanner.preprocess import IDENTITY, UNIT

if TYPE_CHECKING:
    from pathlib import Path

MIN_SIDE: Final = 16
MAX_SIDE: Final = 1024
"""Frames are 256 pixels wide, so a model that wants four times that sees no more and only takes longer."""
RESCALE: Final = 1 / 255
RESCALE_TOLERANCE: Final = 1e-6
CHANNELS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a model wants to see.

    Attributes:
        side: Of the square picture, in pixels.
        mean: Of each colour, subtracted.
        std: Of each colour, divided by.
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def read_inputs(folder: Path) -> Inputs:
    """Read the input's side, mean and standard deviation.

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
        return Inputs(side=side, mean=IDENTITY, std=UNIT)
    mean, std = _triple(options.get("image_mean")), _triple(options.get("image_std"))
    if mean is None or std is None or min(std) <= 0:
        raise MalformedError(f"{PREPROCESSOR_NAME} must give image_mean and image_std as three numbers each")
    return Inputs(side=side, mean=mean, std=std)


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
