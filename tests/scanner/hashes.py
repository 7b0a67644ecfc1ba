"""Hashes for the tests of matching: at random, near each other, and the slow way to compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scanner.index import SLOT_BITS, SLOTS

if TYPE_CHECKING:
    from numpy.typing import NDArray


def chance(seed: int) -> np.random.Generator:
    """Make a generator of repeatable chance."""
    return np.random.default_rng(seed)


def random_hashes(seed: int, rows: int = 5_000) -> NDArray[np.uint8]:
    """Make hashes that are far from each other, uint8 [rows, 32]."""
    return chance(seed).integers(0, 256, (rows, 32), dtype=np.uint8)


def flip(bits: bytes, positions: list[int]) -> bytes:
    """Change some bits of a hash."""
    value = int.from_bytes(bits, "big")
    for position in positions:
        value ^= 1 << (255 - position)
    return value.to_bytes(32, "big")


def evenly(distance: int, seed: int) -> list[int]:
    """Choose `distance` bits, spread over the slots as evenly as possible: the hardest to find."""
    dice = chance(seed)
    slots = dice.permutation(SLOTS)
    offsets = [dice.permutation(SLOT_BITS) for _ in range(SLOTS)]
    return [
        int(slots[i % SLOTS]) * SLOT_BITS + int(offsets[slots[i % SLOTS]][i // SLOTS])
        for i in range(distance)
    ]


def brute_force(hashes: NDArray[np.uint8], query: bytes, distance: int) -> list[tuple[int, int]]:
    """Compare with every row: (row, distance), the nearest first."""
    distances = np.bitwise_count(hashes ^ np.frombuffer(query, dtype=np.uint8)).sum(axis=1, dtype=int)
    return sorted(
        ((row, int(found)) for row, found in enumerate(distances) if found <= distance),
        key=lambda pair: (pair[1], pair[0]),
    )
