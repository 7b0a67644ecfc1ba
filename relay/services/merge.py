"""Put what services answered into the report of our own detectors; pure.

More evidence never loosens a report: findings are added, a match stays a match, and what an essential service
has not seen is unscannable, however much the others have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from relay.services.answers import Answered, Failed, FailureKind, NotTaken
from scanner.report import Coverage, DetectorRun, RunOutcome, UnscannableReason, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.services.answers import Answer, Facts
    from scanner.report import Finding, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Consulted:
    """A service and what became of it.

    Attributes:
        facts: The service.
        answer: What it answered; None where it was spared.
    """

    facts: Facts
    answer: Answer | None


def merge(report: Report, consulted: Sequence[Consulted]) -> Report:
    """Merge the answers of services into a report, before anybody decides by it."""
    findings = (*report.findings, *(finding for one in consulted for finding in _findings_of(one)))
    reason = report.reason
    for one in consulted:
        reason = reason or _reason_of(one)
    if any(not finding.advisory for finding in findings):
        verdict = Verdict.MATCH
    else:
        verdict = Verdict.NO_MATCH if reason is None else Verdict.UNSCANNABLE
    facts = report.facts
    if facts.coverage is Coverage.FULL and any(_is_sampled(one) for one in consulted):
        facts = replace(facts, coverage=Coverage.SAMPLED)
    return replace(
        report,
        verdict=verdict,
        reason=reason,
        findings=findings,
        detectors=(*report.detectors, *(_run_of(one) for one in consulted)),
        facts=facts,
    )


def _findings_of(one: Consulted) -> tuple[Finding, ...]:
    if not isinstance(one.answer, Answered):
        return ()
    if one.facts.advisory:
        return tuple(replace(finding, advisory=True) for finding in one.answer.findings)
    return one.answer.findings


def _reason_of(one: Consulted) -> UnscannableReason | None:
    """Say why the media count as unscannable because of this service; None where they do not."""
    if not isinstance(one.answer, Failed) or not one.facts.essential:
        return None
    if one.answer.kind is FailureKind.NO_COPY and one.answer.reason is not None:
        return one.answer.reason
    if one.answer.kind is FailureKind.REFUSED:
        # To ask again about the same file gets the same answer: a person has to look.
        return UnscannableReason.UNSUPPORTED
    return UnscannableReason.DETECTOR_UNAVAILABLE


def _is_sampled(one: Consulted) -> bool:
    return isinstance(one.answer, Answered) and one.answer.is_sampled


def _run_of(one: Consulted) -> DetectorRun:
    return DetectorRun(
        name=one.facts.name,
        version=one.facts.version,
        essential=one.facts.essential,
        outcome=_outcome_of(one.answer),
        is_hosted=True,
    )


def _outcome_of(answer: Answer | None) -> RunOutcome:
    match answer:
        case None:
            return RunOutcome.SPARED
        case Answered():
            return RunOutcome.RAN
        case NotTaken():
            return RunOutcome.NOT_APPLICABLE
        case Failed():
            return RunOutcome.FAILED
    assert_never(answer)
