"""Tell perceptual hashes of pictures from those of flat areas, stripes and placeholders."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

MIN_WEIGHT: Final = 64
"""A PDQ hash compares 256 numbers with their median, so about half of its bits are set. Hashes with fewer
than 64 or more than 192 bits set are placeholders (all zeros is a common one), not hashes of pictures."""
_SIDE: Final = 16
_MAX_PATTERNS: Final = 2
"""Rows (or columns) of a hash that repeat one or two patterns come from stripes, gradients and alternating
fillers; two rows of a picture's hash are equal with a chance of 1 in 65,536."""


_ROWS: Final = struct.Struct(f"{_SIDE}H")


def is_degenerate(pdq: bytes) -> bool:
    """Tell whether a hash, 32 bytes, says nothing about a picture, so that it must match none."""
    weight = int.from_bytes(pdq).bit_count()
    if not MIN_WEIGHT <= weight <= len(pdq) * 8 - MIN_WEIGHT:
        return True
    # Two patterns of columns make each row none, all, one pattern or its inverse: four rows at most. Lists
    # hold millions of hashes, and nearly all of them end here.
    if len(set(_ROWS.unpack(pdq))) > 2 * _MAX_PATTERNS:
        return False
    bits = np.unpackbits(np.frombuffer(pdq, dtype=np.uint8)).reshape(_SIDE, _SIDE)
    return any(len(np.unique(side, axis=0)) <= _MAX_PATTERNS for side in (bits, bits.T))
