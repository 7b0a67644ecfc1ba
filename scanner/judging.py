"""From what the detectors answered to what the report says.

The verdict is `match` where any finding decides, else `unscannable` where anything was left unseen, else
`no-match`. What is only tried out stands apart and changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from scanner.report import (
    Basis,
    DetectorRun,
    Report,
    RunOutcome,
    ShadowRun,
    UnscannableReason,
    Verdict,
)

if TYPE_CHECKING:
    from scanner.detector import Detector, DetectorResult, Sample

_RESEMBLING: Final = frozenset({Basis.NEAR_HASH, Basis.CLASSIFIER})
"""Claims that bytes are like something; those about exactly these bytes are never set aside."""


def build_report(
    detectors: tuple[Detector, ...],
    results: dict[str, DetectorResult],
    reason: UnscannableReason | None,
    sample: Sample,
    shadow: frozenset[str],
) -> Report:
    """Build the report of the detectors that were asked.

    Args:
        detectors: All of them.
        results: The answers of those that were asked, by name.
        reason: Why the bytes cannot be examined wholly, as far as decoding tells.
        sample: What the detectors saw.
        shadow: Names of those that are only tried out.
    """
    tried = [one for one in detectors if one.name in shadow and one.name in results]
    detectors = tuple(one for one in detectors if one.name not in shadow)
    standing = overrule({name: result for name, result in results.items() if name not in shadow})
    asked = [one for one in detectors if one.name in results]
    findings = tuple(finding for one in asked for finding in standing[one.name].findings)
    runs = tuple(_build_run(one, results.get(one.name), standing.get(one.name)) for one in detectors)
    if reason is None and any(run.essential and run.outcome is RunOutcome.FAILED for run in runs):
        reason = UnscannableReason.DETECTOR_UNAVAILABLE
    if any(not finding.advisory for finding in findings):
        verdict = Verdict.MATCH
    else:
        verdict = Verdict.NO_MATCH if reason is None else Verdict.UNSCANNABLE
    return Report(
        verdict=verdict,
        reason=reason,
        findings=findings,
        detectors=runs,
        fingerprints=sample.fingerprints,
        facts=sample.facts,
        shadow=tuple(
            ShadowRun(
                run=_build_run(one, results[one.name], results[one.name]),
                findings=results[one.name].findings,
            )
            for one in tried
        ),
    )


def _build_run(
    detector: Detector, result: DetectorResult | None, standing: DetectorResult | None
) -> DetectorRun:
    return DetectorRun(
        name=detector.name,
        version=detector.version,
        essential=detector.essential,
        outcome=_outcome_of(result, standing),
        scores=() if result is None else result.scores,
    )


def overrule(results: dict[str, DetectorResult]) -> dict[str, DetectorResult]:
    """Set aside what merely resembles something, where an allow list holds exactly these bytes.

    Nothing else changes: what could not be examined stays so, for the list says nothing about what the
    detectors did not see.
    """
    if not any(one.allows for one in results.values()):
        return results
    return {
        name: replace(
            one, findings=tuple(finding for finding in one.findings if finding.basis not in _RESEMBLING)
        )
        for name, one in results.items()
    }


def _outcome_of(result: DetectorResult | None, standing: DetectorResult | None) -> RunOutcome:
    if result is None or standing is None:
        return RunOutcome.SPARED
    if result.failed is not None:
        return RunOutcome.FAILED
    if len(standing.findings) < len(result.findings):
        return RunOutcome.OVERRULED
    return RunOutcome.NOT_APPLICABLE if result.not_applicable else RunOutcome.RAN
