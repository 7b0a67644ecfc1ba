"""What services say makes a report stricter or leaves it as it is, never milder."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.services.answers import Answer, Answered, Facts, Failed, FailureKind, NotTaken
from relay.services.merge import Consulted, merge
from scanner.labels import Category
from scanner.report import Basis, Coverage, Finding, Report, RunOutcome, UnscannableReason, Verdict
from tests.relay.stages.parts import finding, report

_STRICTNESS = {Verdict.NO_MATCH: 0, Verdict.UNSCANNABLE: 1, Verdict.MATCH: 2}
MATCH = Finding(detector="one", version="1", category=Category.CSAM_KNOWN, basis=Basis.NEAR_HASH)

answers = st.one_of(
    st.none(),
    st.just(NotTaken()),
    st.sampled_from([Failed(kind=kind) for kind in FailureKind]),
    st.builds(Answered, findings=st.sampled_from([(), (MATCH,)]), is_sampled=st.booleans()),
)
reports = st.builds(
    lambda reason, found: report(
        Verdict.MATCH if found else Verdict.UNSCANNABLE if reason else Verdict.NO_MATCH,
        reason=reason,
        findings=found,
    ),
    st.sampled_from([None, *UnscannableReason]),
    st.sampled_from([(), (finding(),)]),
)


def consulted(answer: Answer | None, *, essential: bool = True, advisory: bool = False) -> Consulted:
    facts = Facts(name="one", version="1", essential=essential, advisory=advisory, state={})
    return Consulted(facts=facts, answer=answer)


consultations = st.lists(
    st.builds(
        lambda answer, kind: consulted(answer, essential=kind == "essential", advisory=kind == "advisory"),
        answers,
        st.sampled_from(["essential", "plain", "advisory"]),
    ),
    max_size=4,
)


@given(reports, consultations)
def test_more_evidence_never_loosens_a_report(before: Report, asked: list[Consulted]) -> None:
    after = merge(before, asked)
    assert _STRICTNESS[after.verdict] >= _STRICTNESS[before.verdict]
    assert set(before.findings) <= set(after.findings)


@given(reports, consultations)
def test_what_an_essential_service_has_not_seen_is_never_a_no_match(
    before: Report, asked: list[Consulted]
) -> None:
    after = merge(before, asked)
    if any(one.facts.essential and isinstance(one.answer, Failed) for one in asked):
        assert after.verdict is not Verdict.NO_MATCH
        assert after.reason is not None


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (None, RunOutcome.SPARED),
        (NotTaken(), RunOutcome.NOT_APPLICABLE),
        (Answered(), RunOutcome.RAN),
        (Failed(kind=FailureKind.TIMEOUT), RunOutcome.FAILED),
    ],
)
def test_every_service_has_its_run_in_the_report(answer: Answer | None, outcome: RunOutcome) -> None:
    after = merge(report(), [consulted(answer)])
    assert [run.outcome for run in after.detectors] == [RunOutcome.RAN, outcome]


def test_a_match_decides() -> None:
    after = merge(report(), [consulted(Answered(findings=(MATCH,)))])
    assert (after.verdict, after.reason) == (Verdict.MATCH, None)


def test_an_advisory_service_only_reports_whatever_it_says() -> None:
    after = merge(report(), [consulted(Answered(findings=(MATCH,)), essential=False, advisory=True)])
    assert after.verdict is Verdict.NO_MATCH
    assert after.findings == (replace(MATCH, advisory=True),)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FailureKind.TIMEOUT, UnscannableReason.DETECTOR_UNAVAILABLE),
        (FailureKind.BREAKER_OPEN, UnscannableReason.DETECTOR_UNAVAILABLE),
        (FailureKind.OVER_BUDGET, UnscannableReason.DETECTOR_UNAVAILABLE),
        # To ask again about the same file would be answered the same.
        (FailureKind.REFUSED, UnscannableReason.UNSUPPORTED),
        (FailureKind.NO_COPY, UnscannableReason.DETECTOR_UNAVAILABLE),
    ],
)
def test_without_an_essential_service_media_are_unscannable(
    kind: FailureKind, reason: UnscannableReason
) -> None:
    after = merge(report(), [consulted(Failed(kind=kind))])
    assert (after.verdict, after.reason) == (Verdict.UNSCANNABLE, reason)


def test_where_nothing_could_be_shown_to_a_service_the_decoder_says_why() -> None:
    failed = Failed(kind=FailureKind.NO_COPY, reason=UnscannableReason.OUT_OF_MEMORY)
    assert merge(report(), [consulted(failed)]).reason is UnscannableReason.OUT_OF_MEMORY
    assert merge(report(), [consulted(failed, essential=False)]).reason is None


def test_without_one_that_is_not_essential_the_others_decide() -> None:
    after = merge(report(), [consulted(Failed(kind=FailureKind.TIMEOUT), essential=False)])
    assert (after.verdict, after.reason) == (Verdict.NO_MATCH, None)


def test_what_a_service_saw_only_a_part_of_is_said_to_be_sampled() -> None:
    after = merge(report(), [consulted(Answered(is_sampled=True))])
    assert after.facts.coverage is Coverage.SAMPLED
