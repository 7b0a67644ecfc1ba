"""Choose the perceptual hashes that stand for a file, where a service is asked by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scanner.perceptual import MIN_QUALITY

if TYPE_CHECKING:
    from scanner.report import Fingerprints

MAX_HASHES: Final = 16
"""For one file: every picture that is no animation has fewer, its thumbnails included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The hashes of a file that are asked about.

    Attributes:
        hashes: 32 bytes each; empty where no picture in it can be told by its hash.
        is_sampled: There were more.
    """

    hashes: tuple[bytes, ...]
    is_sampled: bool


def choose_hashes(prints: Fingerprints) -> Chosen:
    """Choose hashes that say something, each once; of many an even sample, the first and the last among them.

    Of a long animation or a video this is a sample of a sample: who asks must say so.
    """
    good = tuple(dict.fromkeys(one.bits for one in prints.pdq if one.quality >= MIN_QUALITY))
    if len(good) <= MAX_HASHES:
        return Chosen(hashes=good, is_sampled=False)
    last = len(good) - 1
    places = sorted({round(step * last / (MAX_HASHES - 1)) for step in range(MAX_HASHES)})
    return Chosen(hashes=tuple(good[place] for place in places), is_sampled=True)


def count_hashes(prints: Fingerprints) -> int:
    """Count the hashes that would be asked about."""
    return len(choose_hashes(prints).hashes)
