"""The detectors: one file each, one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scanner.detectors import classifiers, exact, freshness, pdq, vpdq

if TYPE_CHECKING:
    from scanner.detector import Builder

DETECTORS: Final[tuple[Builder, ...]] = (
    exact.BUILDER,
    pdq.BUILDER,
    vpdq.BUILDER,
    freshness.BUILDER,
    classifiers.BUILDER,
)
"""In the order in which they stand in reports; the cheap ones first."""
