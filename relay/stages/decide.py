"""Decide: evidence and policy in, decision out; pure and total.

Two properties hold and are tested: more evidence never loosens a decision, and what was not
examined is never released unless the admin's policy names that very condition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from relay.model import (
    Decision,
    DeliveryDecision,
    Evidence,
    EvidenceBasis,
    FetchFailure,
    MediaDecision,
    MediaOutcome,
)
from scanner.report import Basis, Finding, Report, RunOutcome, UnscannableReason, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scanner.labels import Category


class Condition(StrEnum):
    """The ways of not knowing that a policy names."""

    UNSCANNABLE = "unscannable"
    UNREACHABLE = "unreachable"
    LINK_UNREACHABLE = "link_unreachable"
    DETECTOR_DOWN = "detector_down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What an admin wants done about one category.

    Attributes:
        media: What to do with the media.
        drops_delivery: Drop the whole delivery; else the text is forwarded.
        purge: Keep no copy of the bytes for the ruling.
    """

    media: MediaDecision
    drops_delivery: bool = False
    purge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The admin's table: every category, every way of not knowing, and what the backend lets us do.

    Attributes:
        rules: One rule for each category; a category without one is withheld.
        conditions: What to do about media that nobody could look at.
        enforces_media: A door of ours stands before the backend's own media fetches, so that media
            can stay withheld while the text goes through. Without one the delivery is held, and with one,
            too, where the bytes are in the text.
    """

    rules: Mapping[Category, Rule]
    conditions: Mapping[Condition, MediaDecision]
    enforces_media: bool


_STRICTNESS: Final = {MediaDecision.RELEASE: 0, MediaDecision.WITHHOLD: 1, MediaDecision.BLOCK: 2}
_WITHHOLD: Final = Rule(media=MediaDecision.WITHHOLD)

# Failures that time may mend. The others are answers: asking again gives the same.
_PASSING: Final = frozenset(
    {
        FetchFailure.UNRESOLVED,
        FetchFailure.UNREACHABLE,
        FetchFailure.TIMEOUT,
        FetchFailure.TOO_SLOW,
        FetchFailure.SERVER_ERROR,
        FetchFailure.TLS,
    }
)
_PASSING_REASONS: Final = frozenset({UnscannableReason.DETECTOR_UNAVAILABLE})


def decide(evidence: Iterable[Evidence], policy: Policy, *, is_complete: bool = True) -> Decision:
    """Decide what is done with the media of a delivery and with the delivery itself.

    Args:
        evidence: One piece for each media reference.
        policy: The admin's table.
        is_complete: False where references beyond the admitted number stayed unexamined.
    """
    judged = [_judge(piece, policy) for piece in evidence]
    outcomes = tuple(outcome for outcome, _ in judged)
    delivery, reason = _decide_delivery(judged, policy, is_complete=is_complete)
    return Decision(delivery=delivery, outcomes=outcomes, reason=reason)


def judge(evidence: Evidence, policy: Policy) -> MediaOutcome:
    """Decide what is done with one piece of media, whatever else came with it."""
    return _judge(evidence, policy)[0]


def _decide_delivery(
    judged: list[tuple[MediaOutcome, bool]], policy: Policy, *, is_complete: bool
) -> tuple[DeliveryDecision, str]:
    if any(drops for _, drops in judged):
        return DeliveryDecision.DROP, "policy"
    if not is_complete:
        # No door helps: what nobody looked at may be bytes that travel in the activity itself.
        return DeliveryDecision.HOLD, "too_many_references"
    stopped = [outcome for outcome, _ in judged if outcome.decision is not MediaDecision.RELEASE]
    # What a media door of ours stands before stays withheld there; inline bytes go where the text goes.
    binding = [
        outcome for outcome in stopped if not policy.enforces_media or outcome.evidence.reference.is_inline
    ]
    if not binding:
        return DeliveryDecision.FORWARD, "media_withheld" if stopped else "released"
    return _decide_stopped(binding)


def _decide_stopped(binding: list[MediaOutcome]) -> tuple[DeliveryDecision, str]:
    """Decide about a delivery that must not go on as it is."""
    if any(outcome.evidence.basis is EvidenceBasis.RULING for outcome in binding):
        # A person has decided on exactly these bytes, so that there is nothing to wait for.
        return DeliveryDecision.DROP, "ruled"
    if any(outcome.purge and outcome.evidence.reference.is_inline for outcome in binding):
        # To hold the activity would be to keep the bytes.
        return DeliveryDecision.DROP, "policy"
    # A look that may still succeed is repeated first; a person is asked only about what is final.
    if all(outcome.retry for outcome in binding):
        return DeliveryDecision.RETRY, "not_examined"
    return DeliveryDecision.HOLD, "media_withheld"


def _judge(evidence: Evidence, policy: Policy) -> tuple[MediaOutcome, bool]:
    """Return the outcome for one piece of evidence, and whether it drops the delivery."""
    outcome, drops = _judge_basis(evidence, policy)
    return _heed_warning(outcome, policy), drops


def _heed_warning(outcome: MediaOutcome, policy: Policy) -> MediaOutcome:
    """Withhold what a peer warned of until a person has ruled; a warning drops, blocks and purges nothing."""
    evidence = outcome.evidence
    if evidence.warning is None or evidence.basis is EvidenceBasis.RULING:
        return outcome
    rules = (rule for category, rule in policy.rules.items() if category.value == evidence.warning)
    rule = next(rules, _WITHHOLD)
    is_harmless_here = rule.media is MediaDecision.RELEASE and not rule.drops_delivery
    if outcome.decision is not MediaDecision.RELEASE or is_harmless_here:
        return outcome
    return replace(
        outcome, decision=MediaDecision.WITHHOLD, category=evidence.warning, needs_case=True, retry=False
    )


def _judge_basis(evidence: Evidence, policy: Policy) -> tuple[MediaOutcome, bool]:
    match evidence.basis:
        case EvidenceBasis.RULING:
            decision = MediaDecision.RELEASE if evidence.is_allowed else MediaDecision.BLOCK
            return MediaOutcome(evidence=evidence, decision=decision), False
        case EvidenceBasis.NOT_MEDIA:
            return MediaOutcome(evidence=evidence, decision=MediaDecision.RELEASE), False
        case EvidenceBasis.FETCH:
            return _judge_failure(evidence, policy), False
        case EvidenceBasis.SCAN | EvidenceBasis.OWN_VERDICT | EvidenceBasis.PEER:
            # Whatever a peer says, our own report decides: that of our lists, where its word spared the rest.
            if evidence.report is None:
                return _unknown(evidence, policy, Condition.UNSCANNABLE, retry=True), False
            return _judge_report(evidence, evidence.report, policy)
    assert_never(evidence.basis)


def _judge_failure(evidence: Evidence, policy: Policy) -> MediaOutcome:
    is_passing = evidence.failure in _PASSING
    condition = Condition.UNREACHABLE if evidence.reference.is_declared else Condition.LINK_UNREACHABLE
    return _unknown(evidence, policy, condition, retry=is_passing)


def _unknown(evidence: Evidence, policy: Policy, condition: Condition, *, retry: bool) -> MediaOutcome:
    decision = policy.conditions.get(condition, MediaDecision.WITHHOLD)
    is_stopped = decision is not MediaDecision.RELEASE
    return MediaOutcome(
        evidence=evidence,
        decision=decision,
        needs_case=is_stopped and not retry,
        retry=is_stopped and retry,
    )


def _judge_report(evidence: Evidence, report: Report, policy: Policy) -> tuple[MediaOutcome, bool]:
    match report.verdict:
        case Verdict.MATCH:
            return _judge_match(evidence, report, policy)
        case Verdict.NO_MATCH:
            return MediaOutcome(evidence=evidence, decision=MediaDecision.RELEASE), False
        case Verdict.UNSCANNABLE:
            may_pass = report.reason in _PASSING_REASONS
            condition = Condition.DETECTOR_DOWN if may_pass else Condition.UNSCANNABLE
            return _unknown(evidence, policy, condition, retry=may_pass), False
    assert_never(report.verdict)


def _judge_match(evidence: Evidence, report: Report, policy: Policy) -> tuple[MediaOutcome, bool]:
    # Advisory detectors label and report; they do not decide.
    deciding = [finding for finding in report.findings if not finding.advisory]
    ruled = [(_rule_for(finding, policy), finding.category) for finding in deciding]
    drops = any(rule.drops_delivery for rule, _ in ruled)
    strictest = max(ruled, key=lambda pair: _STRICTNESS[pair[0].media], default=None)
    unknown = _judge_incomplete(evidence, report, policy)
    if strictest is None or (_STRICTNESS[unknown.decision] > _STRICTNESS[strictest[0].media] and not drops):
        return unknown, False
    rule, category = strictest
    outcome = MediaOutcome(
        evidence=evidence,
        decision=MediaDecision.BLOCK if drops else rule.media,
        category=category.value,
        needs_case=rule.media is not MediaDecision.RELEASE or drops,
        purge=any(rule.purge for rule, _ in ruled),
    )
    return outcome, drops


def _judge_incomplete(evidence: Evidence, report: Report, policy: Policy) -> MediaOutcome:
    """Judge what a scan with findings could not see; a harmless match never hides a failure to look."""
    if any(run.essential and run.outcome is RunOutcome.FAILED for run in report.detectors):
        return _unknown(evidence, policy, Condition.DETECTOR_DOWN, retry=True)
    if report.reason is not None:
        return _unknown(evidence, policy, Condition.UNSCANNABLE, retry=False)
    return MediaOutcome(evidence=evidence, decision=MediaDecision.RELEASE)


def _rule_for(finding: Finding, policy: Policy) -> Rule:
    """Return the rule for a finding, softened to withholding where a person must look first."""
    rule = policy.rules.get(finding.category, _WITHHOLD)
    match finding.basis:
        case Basis.EXACT_HASH | Basis.HUMAN:
            return rule
        case Basis.NEAR_HASH | Basis.CLASSIFIER | Basis.PEER | Basis.NOTICE:
            # Nothing is dropped, blocked for good or purged on a near match, a model's or a peer's
            # word: it is withheld, and a person decides.
            if rule.media is MediaDecision.RELEASE and not rule.drops_delivery:
                return rule
            return Rule(media=MediaDecision.WITHHOLD)
    assert_never(finding.basis)
