"""PDQ as two matrix products.

Everything that PDQ does before the median is linear and separable: two passes of an edge-normalised box
filter, decimation to 64 x 64 and a cosine transform on both sides. So the transform is (D A_H) Y (D A_W)^T,
where A_n (64 x n) depends on one dimension alone and is kept from picture to picture. Each row of A_n has
about n / 64 entries that are not zero, so the first product is taken band by band: each band of the picture
meets only the few rows whose entries reach into it, and is gone from memory before the next one comes.

A picture that was decoded at a reduced scale is hashed with the kernel of its *full* size, whose weights are
folded over the source pixels that each small pixel stands for; hashing the small picture plainly would move
the hash by several times as many bits.

Source: "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm", Facebook, 2019, and its
reference implementation (github.com/facebook/ThreatExchange, pdq/cpp).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

BLOCK: Final = 64
"""Side of the decimated picture. Source: PDQ paper, 3.3."""

TERMS: Final = 16
"""Cosine terms kept on each side: 16 x 16 = 256 bits. Source: PDQ paper, 3.4."""

BITS: Final = TERMS * TERMS

MIN_SIDE: Final = 5
"""A picture with a shorter side has no hash. Source: MIN_HASHABLE_DIM of the reference implementation."""

MIN_QUALITY: Final = 50
"""Below this the hash says nothing about the picture. Source: PDQ README, "Quality metric"."""

RESIZED_SIDE: Final = 512
"""Some list makers squeeze larger pictures to this square first. Source: the reference command line
hasher."""

BAND_PIXELS: Final = 262_144
"""So many pixels are weighed at a time: as floats they fill a mebibyte, which stays in the cache."""

BANDS: Final = 16
"""At least so many bands: a band that is too high meets rows whose entries hardly reach into it."""

CACHED_KERNELS: Final = 64
"""A kernel of a side of 4,000 takes 1 MB; the sizes of what people post repeat."""

LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Source: ITU-R BT.601, as the reference implementation uses it."""

QUALITY_DIVISOR: Final = 90
"""Source: pdqImageDomainQualityMetric of the reference implementation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHash:
    """PDQ of a picture in its eight orientations.

    Attributes:
        dihedral: 32 bytes each: upright, turned by 90, 180 and 270 degrees (counter-clockwise), flipped top
            to bottom, left to right, along the rising and along the falling diagonal (the order of the
            reference implementation).
        quality: 0 to 100.
    """

    dihedral: tuple[bytes, ...]
    quality: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How one axis of a decoded array stands for the picture as it is shown.

    Attributes:
        length: Pixels of the full picture along this axis.
        scale: Source pixels per decoded pixel; the last decoded pixel may stand for fewer.
        is_reversed: Whether the decoded axis was turned round, so that the short pixel comes first.
    """

    length: int
    scale: int = 1
    is_reversed: bool = False


def hash_picture(
    pixels: NDArray[np.uint8], rows: Axis | None = None, columns: Axis | None = None
) -> PictureHash:
    """Hash a picture.

    Args:
        pixels: `uint8 [H, W]` luma or `uint8 [H, W, 3]` RGB, upright.
        rows: What the first axis stands for; None where nothing was reduced.
        columns: What the second axis stands for; None where nothing was reduced.
    """
    height, width = pixels.shape[:2]
    return hash_bands(_bands(pixels), rows or Axis(length=height), columns or Axis(length=width))


def hash_bands(bands: Iterable[NDArray[np.float32]], rows: Axis, columns: Axis) -> PictureHash:
    """Hash a picture that comes in horizontal bands, so that no one holds all of it as floats.

    Args:
        bands: The luma from top to bottom, each band `float32 [h, W]`, upright.
        rows: What the first axis stands for.
        columns: What the second axis stands for.
    """
    if min(rows.length, columns.length) < MIN_SIDE:
        return PictureHash(dihedral=(bytes(BITS // 8),) * len(_ORIENTATIONS), quality=0)
    block = _decimate(bands, _kernel(rows), _kernel(columns))
    return PictureHash(dihedral=_hash_block(block), quality=_quality(block))


def hash_resized(
    pixels: NDArray[np.uint8], rows: Axis | None = None, columns: Axis | None = None
) -> PictureHash:
    """Hash a picture squeezed to 512 x 512 by taking the nearest pixels, where it is larger than that.

    The same arguments as `hash_picture`. Of a reduced picture the small pixel that covers the nearest source
    pixel is taken.
    """
    height, width = pixels.shape[:2]
    rows = rows or Axis(length=height)
    columns = columns or Axis(length=width)
    if max(rows.length, columns.length) <= RESIZED_SIDE:
        return hash_picture(pixels, rows, columns)
    # Whole rows first: picking rows and columns at once goes through the memory pixel by pixel.
    return hash_picture(pixels.take(_nearest(rows, height), axis=0).take(_nearest(columns, width), axis=1))


def _nearest(axis: Axis, decoded: int) -> NDArray[np.intp]:
    source = np.arange(RESIZED_SIDE) * axis.length // RESIZED_SIDE
    if axis.is_reversed:
        return decoded - 1 - (axis.length - 1 - source) // axis.scale
    return source // axis.scale


def _bands(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """Cut the luma of `uint8 [H, W]` or `uint8 [H, W, 3]` into bands."""
    step = band_height(pixels.shape[1], len(pixels))
    for top in range(0, len(pixels), step):
        band = pixels[top : top + step].astype(np.float32)
        yield band if band.ndim == 2 else band @ LUMA  # noqa: PLR2004 - grey already


def band_height(width: int, height: int) -> int:
    """Choose how high the bands of a picture are."""
    return max(min(BAND_PIXELS // width, height // BANDS), 1)


def _decimate(bands: Iterable[NDArray[np.float32]], rows: _Kernel, columns: _Kernel) -> NDArray[np.float32]:
    """Filter and decimate to `float32 [64, 64]`."""
    strips = np.zeros((BLOCK, columns.weights.shape[1]), dtype=np.float32)
    top = 0
    for band in bands:
        bottom = top + len(band)
        # Both ends of the rows' windows move down with the row, so those that meet the band stand together.
        low, high = np.searchsorted(rows.last, top, side="right"), np.searchsorted(rows.first, bottom)
        strips[low:high] += rows.weights[low:high, top:bottom] @ band
        top = bottom
    block: NDArray[np.float32] = strips @ columns.weights.T
    return block


def _hash_block(block: NDArray[np.float32]) -> tuple[bytes, ...]:
    """Take the eight hashes from `float32 [64, 64]`."""
    terms = _COSINES @ block @ _COSINES.T
    turned = np.stack([(terms.T if transpose else terms) for transpose, _, _ in _ORIENTATIONS]) * _SIGNS
    turned = turned.reshape(len(_ORIENTATIONS), BITS)
    # The reference takes the lower of the two middle elements.
    median = np.partition(turned, BITS // 2 - 1, axis=1)[:, BITS // 2 - 1]
    # Term k = 16 i + j is bit k, and hashes are written with the highest bit first.
    packed = np.packbits((turned > median[:, None])[:, ::-1], axis=1)
    return tuple(row.tobytes() for row in packed)


def _quality(block: NDArray[np.float32]) -> int:
    """Measure how much there is to see, from the gradients of `float32 [64, 64]`."""
    # The reference rounds each gradient towards zero before it adds them up.
    down = np.trunc((block[:-1] - block[1:]) * np.float32(100) / np.float32(255))
    across = np.trunc((block[:, :-1] - block[:, 1:]) * np.float32(100) / np.float32(255))
    return min(int(np.abs(down).sum() + np.abs(across).sum()) // QUALITY_DIVISOR, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kernel:
    """Filter and decimation of one axis.

    Attributes:
        weights: `float32 [64, m]`.
        first: For each row, the first column that is not zero.
        last: For each row, the column behind the last that is not zero.
    """

    weights: NDArray[np.float32]
    first: NDArray[np.intp]
    last: NDArray[np.intp]


@lru_cache(maxsize=CACHED_KERNELS)
def _kernel(axis: Axis) -> _Kernel:
    weights = _full_kernel(axis.length)
    if axis.scale > 1:
        starts = np.arange(0, axis.length, axis.scale)
        if axis.is_reversed:
            weights = np.add.reduceat(weights[:, ::-1], starts, axis=1)[:, ::-1]
        else:
            weights = np.add.reduceat(weights, starts, axis=1)
    seen = weights != 0
    return _Kernel(
        weights=np.ascontiguousarray(weights, dtype=np.float32),
        first=seen.argmax(axis=1),
        last=seen.shape[1] - seen[:, ::-1].argmax(axis=1),
    )


def _full_kernel(length: int) -> NDArray[np.float64]:
    """Build A_n: `float64 [64, n]`, the rows of the twice filtered picture that decimation picks."""
    picked = ((np.arange(BLOCK) + 0.5) * length / BLOCK).astype(np.intp)
    low, high = _window(length)
    share = 1.0 / (high - low)
    # A picked row is the mean over its window of rows that are each the mean over their own window. Each of
    # these inner means is a step up where it begins and a step down behind its end; the running sum makes
    # them whole.
    reach = int((high - low).max())
    inner = low[picked][:, None] + np.arange(reach)
    row, column = np.nonzero(inner < high[picked][:, None])
    inner = inner[row, column]
    weight = share[picked][row] * share[inner]
    steps = np.zeros((BLOCK, length + 1))
    np.add.at(steps, (row, low[inner]), weight)
    np.subtract.at(steps, (row, high[inner]), weight)
    kernel = np.cumsum(steps, axis=1)[:, :length]
    kernel[np.abs(kernel) < _ROUNDING] = 0.0
    return kernel


_ROUNDING: Final = 1e-12
"""What the running sums leave where the weight is zero; the smallest true weight is about 1 / length
squared."""


def _window(length: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each position the first pixel of its box and the one behind its last, cut at the edges."""
    # Source: computeJaroszFilterWindowSize and box1DFloat of the reference implementation.
    size = (length + 2 * BLOCK - 1) // (2 * BLOCK)
    ahead = (size + 2) // 2
    at = np.arange(length)
    return np.maximum(at + ahead - size, 0), np.minimum(at + ahead, length)


def _cosines() -> NDArray[np.float32]:
    """Build D: `float32 [16, 64]`, the cosine terms 1 to 16; term 0 is the brightness and left out."""
    term = np.arange(1, TERMS + 1)[:, None]
    at = np.arange(BLOCK)[None, :]
    scale = np.sqrt(2.0 / BLOCK)
    return np.asarray(scale * np.cos(np.pi / (2 * BLOCK) * term * (2 * at + 1)), dtype=np.float32)


_COSINES: Final = _cosines()

_ORIENTATIONS: Final = (
    (False, False, False),
    (True, True, False),
    (False, True, True),
    (True, False, True),
    (False, True, False),
    (False, False, True),
    (True, False, False),
    (True, True, True),
)
"""Each orientation as (transposed, rows reversed, columns reversed), in the order of the reference."""


def _signs() -> NDArray[np.float32]:
    """Reversing an axis changes the sign of its odd cosine terms: `float32 [8, 16, 16]`."""
    # Terms are counted from 1, so the terms with an even index are the odd ones.
    odd = np.where(np.arange(TERMS) % 2 == 0, np.float32(-1), np.float32(1))
    signs = np.ones((len(_ORIENTATIONS), TERMS, TERMS), dtype=np.float32)
    for index, (_, by_rows, by_columns) in enumerate(_ORIENTATIONS):
        signs[index] *= odd[:, None] if by_rows else 1
        signs[index] *= odd[None, :] if by_columns else 1
    return signs


_SIGNS: Final = _signs()
