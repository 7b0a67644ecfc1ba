"""The one way in which pixels become a classifier's input.

Every classifier gets the same: the whole picture as it left the decoder (a square of 256 pixels), resized
bilinearly with aligned corners to the side that the model wants, scaled to [0, 1], normalised. Models were
trained on slightly different pipelines; a calibration is measured with this one and names its version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

PREPROCESS_VERSION: Final = "square256-bilinear-1"
"""Changes with anything that may move a score: it stands in calibrations and in the scanner's state."""
IDENTITY: Final = (0.0, 0.0, 0.0)
UNIT: Final = (1.0, 1.0, 1.0)


def prepare(
    frame: NDArray[np.uint8],
    *,
    side: int,
    mean: tuple[float, float, float] = IDENTITY,
    std: tuple[float, float, float] = UNIT,
) -> torch.Tensor:
    """Turn one frame, RGB uint8 [H, W, 3], into float32 [1, 3, side, side]."""
    import numpy  # noqa: ICN001, PLC0415 - beside torch, which a relay without classifiers never loads
    import torch  # noqa: PLC0415 - see above
    from torch.nn import functional  # noqa: PLC0415 - see above

    # A fresh array, for frames may be read-only. Its colours lie innermost, as torch likes it.
    scaled = numpy.true_divide(frame, numpy.float32(255), dtype=numpy.float32)
    pixels = torch.from_numpy(scaled).permute(2, 0, 1)[None]
    if pixels.shape[-2:] != (side, side):
        pixels = functional.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=True)
    if mean != IDENTITY or std != UNIT:
        shape = (1, 3, 1, 1)
        pixels = (pixels - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    return pixels.contiguous(memory_format=torch.channels_last)
