"""Where a classifier's thresholds might lie: what a set of harmless pictures, or of rulings, supports.

Every share is given with the bounds of its Wilson interval, and a threshold is proposed by the upper bound:
few pictures then ask for a higher threshold, never for a lower one. Nothing here changes a calibration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Z: Final = 1.96
"""Of an interval that holds the truth in 95 of 100 cases."""
PERMILLE: Final = 1000
BINS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share that was counted, with what it may really be.

    Attributes:
        count: How many of them.
        total: Of how many.
        low: Lower Wilson bound, 0 to 1.
        high: Upper Wilson bound, 0 to 1; 1 where nothing was counted.
    """

    count: int
    total: int
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A threshold and what it would have done.

    Attributes:
        threshold_permille: 1 to 1000; None where no threshold keeps the wanted share.
        wrong: Of harmless pictures, those at or above it; of rulings, those of them that were released.
        kept: Of what was upheld, the share at or above it; None where nobody ruled.
        needed: How many pictures the wanted share takes at least, if none of them is at fault.
    """

    threshold_permille: int | None
    wrong: Share
    kept: Share | None
    needed: int


def count_share(count: int, total: int) -> Share:
    """Bound a counted share. Source: Wilson 1927, as in Brown, Cai and DasGupta 2001, section 3.1.1."""
    if total == 0:
        return Share(count=0, total=0, low=0.0, high=1.0)
    share, square = count / total, Z * Z
    centre = (share + square / (2 * total)) / (1 + square / total)
    reach = Z * math.sqrt(share * (1 - share) / total + square / (4 * total * total)) / (1 + square / total)
    low = 0.0 if count == 0 else centre - reach
    high = 1.0 if count == total else centre + reach
    return Share(count=count, total=total, low=low, high=high)


def count_needed(share: float) -> int:
    """Return how many pictures without a fault it takes before the upper bound is as low as `share`."""
    return math.ceil(Z * Z * (1 - share) / share)


def histogram(scores: NDArray[np.integer]) -> list[int]:
    """Count scores, 0 to 1000, in bins of equal width; the last one holds 1000 itself, too."""
    counts, _ = np.histogram(scores, bins=BINS, range=(0, PERMILLE))
    return [int(count) for count in counts]


def propose_by_benign(scores: NDArray[np.integer], *, rate: float) -> Proposal:
    """Propose the lowest threshold that harmless pictures reach no more often than wanted.

    Args:
        scores: Of harmless pictures, 0 to 1000.
        rate: The wanted share of them at or above it, by its upper bound; above 0, below 1.
    """
    total = len(scores)
    above = _count_above(scores)
    for threshold in range(1, PERMILLE + 1):
        wrong = count_share(int(above[threshold]), total)
        if wrong.high <= rate:
            return Proposal(threshold_permille=threshold, wrong=wrong, kept=None, needed=count_needed(rate))
    wrong = count_share(int(above[PERMILLE]), total)
    return Proposal(threshold_permille=None, wrong=wrong, kept=None, needed=count_needed(rate))


def propose_by_rulings(rulings: Sequence[tuple[int, bool]], *, rate: float, at_least: int) -> Proposal:
    """Propose the lowest threshold above which moderators released no more than wanted.

    Below the present threshold nobody was asked because of this classifier, so that what was ruled on there
    came to light by something else, and says nothing about the rest.

    Args:
        rulings: Score, 0 to 1000, and whether the media was upheld.
        rate: The wanted share of released media at or above it, by its upper bound; above 0, below 1.
        at_least: The present threshold.
    """
    upheld = np.array([score for score, is_upheld in rulings if is_upheld], dtype=np.int64)
    released = np.array([score for score, is_upheld in rulings if not is_upheld], dtype=np.int64)
    right, wrong = _count_above(upheld), _count_above(released)
    needed = count_needed(rate)
    for threshold in range(max(at_least, 1), PERMILLE + 1):
        share = count_share(int(wrong[threshold]), int(wrong[threshold] + right[threshold]))
        if share.high <= rate:
            kept = count_share(int(right[threshold]), int(right[at_least]))
            return Proposal(threshold_permille=threshold, wrong=share, kept=kept, needed=needed)
    share = count_share(int(wrong[at_least]), int(wrong[at_least] + right[at_least]))
    return Proposal(threshold_permille=None, wrong=share, kept=None, needed=needed)


def _count_above(scores: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count for each threshold, 0 to 1000, the scores at or above it."""
    counts = np.bincount(scores, minlength=PERMILLE + 1)
    return counts[::-1].cumsum()[::-1]
