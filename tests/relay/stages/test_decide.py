"""The decision: pure, total, monotone, and never loose about what nobody looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.assembly import build_policy
from relay.config import Settings
from relay.model import (
    DeliveryDecision,
    Evidence,
    EvidenceBasis,
    FetchFailure,
    Location,
    MediaDecision,
    MediaReference,
)
from relay.stages.decide import Condition, Policy, Rule, decide, judge
from scanner.labels import Category
from scanner.report import (
    Basis,
    DetectorRun,
    Finding,
    Fingerprints,
    MediaFacts,
    Report,
    RunOutcome,
    UnscannableReason,
    Verdict,
)
from scanner.sniff import MediaType

POLICY = build_policy(Settings())
ENFORCING = replace(POLICY, enforces_media=True)
STRICTNESS = {MediaDecision.RELEASE: 0, MediaDecision.WITHHOLD: 1, MediaDecision.BLOCK: 2}
DELIVERY_STRICTNESS = {
    DeliveryDecision.FORWARD: 0,
    DeliveryDecision.RETRY: 1,
    DeliveryDecision.HOLD: 2,
    DeliveryDecision.DROP: 3,
}
REFERENCE = MediaReference(url="https://far.example/a.png", location=Location.ATTACHMENT)


def finding(category: Category, basis: Basis, *, advisory: bool = False) -> Finding:
    return Finding(detector="d", version="1", category=category, basis=basis, advisory=advisory)


def report(*findings: Finding, reason: UnscannableReason | None = None, failed: bool = False) -> Report:
    deciding = any(not one.advisory for one in findings)
    reason = UnscannableReason.DETECTOR_UNAVAILABLE if failed and reason is None else reason
    verdict = Verdict.MATCH if deciding else Verdict.UNSCANNABLE if reason else Verdict.NO_MATCH
    outcome = RunOutcome.FAILED if failed else RunOutcome.RAN
    return Report(
        verdict=verdict,
        reason=reason,
        findings=findings,
        detectors=(DetectorRun(name="d", version="1", essential=True, outcome=outcome),),
        fingerprints=Fingerprints(sha256=bytes(32), sha1=bytes(20), md5=bytes(16)),
        facts=MediaFacts(size=1, media_type=MediaType.PNG),
    )


def scanned(one: Report) -> Evidence:
    return Evidence(reference=REFERENCE, basis=EvidenceBasis.SCAN, sha256=bytes(32), report=one)


def unfetched(failure: FetchFailure, *, is_declared: bool = True) -> Evidence:
    reference = replace(REFERENCE, is_declared=is_declared)
    return Evidence(reference=reference, basis=EvidenceBasis.FETCH, failure=failure)


findings = st.builds(finding, st.sampled_from(Category), st.sampled_from(Basis), advisory=st.booleans())
reports = st.builds(
    lambda some, reason, failed: report(*some, reason=reason, failed=failed),
    st.lists(findings, max_size=3),
    st.none() | st.sampled_from(UnscannableReason),
    st.booleans(),
)
pieces = st.one_of(
    reports.map(scanned),
    reports.map(lambda one: replace(scanned(one), basis=EvidenceBasis.PEER)),
    st.builds(unfetched, st.sampled_from(FetchFailure), is_declared=st.booleans()),
    st.just(Evidence(reference=REFERENCE, basis=EvidenceBasis.NOT_MEDIA)),
    st.builds(
        lambda allowed: Evidence(
            reference=REFERENCE, basis=EvidenceBasis.RULING, sha256=bytes(32), is_allowed=allowed
        ),
        st.booleans(),
    ),
)


@given(st.lists(pieces, max_size=4), pieces, st.sampled_from([POLICY, ENFORCING]))
def test_more_evidence_never_loosens_a_decision(
    evidence: list[Evidence], more: Evidence, policy: Policy
) -> None:
    before, after = decide(evidence, policy), decide([*evidence, more], policy)
    assert DELIVERY_STRICTNESS[after.delivery] >= DELIVERY_STRICTNESS[before.delivery]
    assert after.outcomes[: len(evidence)] == before.outcomes


@given(reports, st.sampled_from([POLICY, ENFORCING]))
def test_the_word_of_a_peer_never_loosens_what_our_own_lists_say(one: Report, policy: Policy) -> None:
    relied_on = replace(scanned(one), basis=EvidenceBasis.PEER)
    own, other = judge(scanned(one), policy), judge(relied_on, policy)
    assert replace(other, evidence=own.evidence) == own


@given(reports, findings)
def test_another_finding_never_loosens_what_is_done_with_the_media(one: Report, extra: Finding) -> None:
    more = report(
        *one.findings,
        extra,
        reason=one.reason,
        failed=any(run.outcome is RunOutcome.FAILED for run in one.detectors),
    )
    before, after = judge(scanned(one), POLICY), judge(scanned(more), POLICY)
    assert STRICTNESS[after.decision] >= STRICTNESS[before.decision]


@given(st.lists(pieces, max_size=4), st.sampled_from([POLICY, ENFORCING]))
def test_what_was_not_examined_is_never_released(evidence: list[Evidence], policy: Policy) -> None:
    for outcome in decide(evidence, policy).outcomes:
        if outcome.decision is MediaDecision.RELEASE:
            piece = outcome.evidence
            assert piece.basis is not EvidenceBasis.FETCH
            assert piece.report is None or piece.report.reason is None


@given(st.lists(pieces, max_size=4))
def test_without_a_media_door_nothing_withheld_is_forwarded(evidence: list[Evidence]) -> None:
    decision = decide(evidence, POLICY)
    if any(outcome.decision is not MediaDecision.RELEASE for outcome in decision.outcomes):
        assert decision.delivery is not DeliveryDecision.FORWARD


@given(st.lists(pieces, max_size=4))
def test_references_beyond_the_limit_hold_the_delivery(evidence: list[Evidence]) -> None:
    assert decide(evidence, POLICY, is_complete=False).delivery is not DeliveryDecision.FORWARD


@pytest.mark.parametrize("basis", [Basis.NEAR_HASH, Basis.CLASSIFIER, Basis.PEER, Basis.NOTICE])
@pytest.mark.parametrize("category", list(Category))
def test_no_word_but_an_exact_match_blocks_drops_or_purges(category: Category, basis: Basis) -> None:
    harsh = replace(
        POLICY,
        rules={category: Rule(media=MediaDecision.BLOCK, drops_delivery=True, purge=True)},
    )
    decision = decide([scanned(report(finding(category, basis)))], harsh)
    assert decision.outcomes[0].decision is MediaDecision.WITHHOLD
    assert not decision.outcomes[0].purge
    assert decision.delivery is DeliveryDecision.HOLD


def test_an_exact_match_of_known_abuse_drops_the_delivery_and_purges_the_bytes() -> None:
    decision = decide([scanned(report(finding(Category.CSAM_KNOWN, Basis.EXACT_HASH)))], POLICY)
    assert decision.delivery is DeliveryDecision.DROP
    assert decision.outcomes[0].decision is MediaDecision.BLOCK
    assert decision.outcomes[0].purge
    assert decision.outcomes[0].needs_case


def test_known_intimate_imagery_is_blocked_and_its_text_forwarded_behind_a_media_door() -> None:
    evidence = [scanned(report(finding(Category.NCII_KNOWN, Basis.EXACT_HASH)))]
    assert decide(evidence, ENFORCING).outcomes[0].decision is MediaDecision.BLOCK
    assert decide(evidence, ENFORCING).delivery is DeliveryDecision.FORWARD
    assert decide(evidence, POLICY).delivery is DeliveryDecision.HOLD


def test_an_advisory_finding_labels_and_does_not_decide() -> None:
    evidence = scanned(report(finding(Category.CSAM_SUSPECTED, Basis.CLASSIFIER, advisory=True)))
    assert judge(evidence, POLICY).decision is MediaDecision.RELEASE


def test_a_harmless_match_does_not_hide_that_the_rest_was_not_seen() -> None:
    adult = finding(Category.ADULT_CONTENT, Basis.EXACT_HASH)
    assert judge(scanned(report(adult)), POLICY).decision is MediaDecision.RELEASE
    truncated = report(adult, reason=UnscannableReason.TRUNCATED)
    assert judge(scanned(truncated), POLICY).decision is MediaDecision.WITHHOLD


def test_a_failure_that_may_pass_is_looked_at_again_before_a_person_is_asked() -> None:
    decision = decide([unfetched(FetchFailure.TIMEOUT)], POLICY)
    assert decision.delivery is DeliveryDecision.RETRY
    assert not decision.outcomes[0].needs_case


def test_a_detector_that_is_down_withholds_and_is_asked_again() -> None:
    outcome = judge(scanned(report(failed=True)), POLICY)
    assert outcome.decision is MediaDecision.WITHHOLD
    assert outcome.retry


def test_a_category_without_a_rule_is_withheld() -> None:
    bare = Policy(rules={}, conditions={}, enforces_media=False)
    for category in Category:
        outcome = judge(scanned(report(finding(category, Basis.EXACT_HASH))), bare)
        assert outcome.decision is MediaDecision.WITHHOLD
    assert judge(unfetched(FetchFailure.GONE), bare).decision is MediaDecision.WITHHOLD


def test_the_admin_may_let_unreachable_links_pass_and_nothing_else_with_them() -> None:
    loose = replace(
        POLICY, conditions={**POLICY.conditions, Condition.LINK_UNREACHABLE: MediaDecision.RELEASE}
    )
    assert judge(unfetched(FetchFailure.TIMEOUT, is_declared=False), loose).decision is MediaDecision.RELEASE
    assert judge(unfetched(FetchFailure.TIMEOUT), loose).decision is MediaDecision.WITHHOLD


def test_a_ruling_outweighs_every_report() -> None:
    allowed = Evidence(reference=REFERENCE, basis=EvidenceBasis.RULING, sha256=bytes(32), is_allowed=True)
    assert judge(allowed, POLICY).decision is MediaDecision.RELEASE
    assert judge(replace(allowed, is_allowed=False), POLICY).decision is MediaDecision.BLOCK
