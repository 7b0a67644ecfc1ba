"""Say when a stored report on some bytes answers for another fetch of the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scanner.report import RunOutcome, UnscannableReason, Verdict
from scanner.settings import TypeCheck
from scanner.sniff import agrees

if TYPE_CHECKING:
    from scanner.report import Report

# These say how the machine fared, not what the bytes are; the next look may end otherwise.
_PASSING: Final = frozenset({UnscannableReason.DETECTOR_UNAVAILABLE, UnscannableReason.TIMEOUT})


def is_reusable(report: Report, declared_type: str | None) -> bool:
    """Tell whether a report holds for these bytes under another declared type.

    The declared type is no part of the digest, but bytes served as something that they are not are
    `unscannable`. A match holds whatever the bytes are called.
    """
    if report.verdict is Verdict.MATCH:
        return report.reason not in _PASSING
    if report.reason in _PASSING or report.reason is UnscannableReason.TYPE_MISMATCH:
        return False
    if report.verdict is Verdict.NO_MATCH and any(
        run.is_hosted and run.outcome is RunOutcome.FAILED for run in report.detectors
    ):
        # Released for want of an answer that was not needed: the next look asks again. A detector of this
        # machine that keeps failing would make every look a scan.
        return False
    found = report.facts.media_type
    return found is None or agrees(declared_type, found, TypeCheck.EXACT)
