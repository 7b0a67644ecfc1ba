"""Only what a peer's own description of its scanner rules out counts against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.exchange.comparing import HOSTED, compare_report, has_objection, is_agreement
from relay.trust import Audited
from scanner.labels import Category
from scanner.report import Basis, DetectorRun, Finding, Report, RunOutcome, UnscannableReason, Verdict
from tests.relay.stages.parts import report

MODEL = "model"
LISTED = {"name": "known", "version": "7", "digest": "aa", "entries": 3, "distance": 31}
EXACT = Finding(
    detector="exact",
    version="1",
    category=Category.SPAM,
    basis=Basis.EXACT_HASH,
    list_name="known",
    list_version="7",
)
NEAR = replace(EXACT, detector="pdq", basis=Basis.NEAR_HASH, distance=15)
SCORED = Finding(
    detector=MODEL,
    version="1",
    category=Category.SPAM,
    basis=Basis.CLASSIFIER,
    label="drawn",
    score_permille=950,
)


def state(
    *, listed: dict[str, Any] | None = None, threshold: int = 800, salt: str = "ours", advisory: bool = False
) -> dict[str, Any]:
    rules = {"spam": {"category": "spam", "label": "drawn", "permille": threshold}}
    return {
        "format": 1,
        "salt": salt,
        "detectors": [
            {"name": "exact", "version": "1", "state": {"lists": [listed or LISTED]}},
            {"name": "pdq", "version": "1", "state": {"lists": [listed or LISTED]}},
            {"name": MODEL, "version": "1", "advisory": advisory, "state": {"thresholds": rules}},
        ],
    }


def compared(finding: Finding, theirs: dict[str, Any]) -> Audited:
    return compare_report(report(Verdict.MATCH, findings=(finding,)), ours=state(), theirs=theirs)


def test_the_same_scanner_under_another_salt_contradicts_itself() -> None:
    theirs = state(salt="theirs")
    assert compared(EXACT, theirs) is Audited.CONTRADICTS
    assert compared(NEAR, theirs) is Audited.CONTRADICTS
    assert compared(SCORED, theirs) is Audited.DISAGREES


def test_the_very_list_that_holds_the_digest_contradicts_whatever_else_differs() -> None:
    assert compared(EXACT, state(threshold=900)) is Audited.CONTRADICTS


@pytest.mark.parametrize("change", [{"version": "6"}, {"digest": "bb"}, {"name": "another"}])
def test_another_list_or_an_older_one_is_nobodys_fault(change: dict[str, str]) -> None:
    assert compared(EXACT, state(listed={**LISTED, **change})) is Audited.NOT_COMPARABLE


def test_a_distance_counts_only_where_everything_is_the_same() -> None:
    assert compared(NEAR, state(threshold=900)) is Audited.NOT_COMPARABLE


@pytest.mark.parametrize("distance", [16, 31, None])
def test_a_distance_that_another_processor_may_round_away_counts_against_nobody(distance: int | None) -> None:
    assert compared(replace(NEAR, distance=distance), state(salt="theirs")) is Audited.NOT_COMPARABLE


def test_another_version_of_a_detector_may_compare_fewer_kinds_of_digests() -> None:
    theirs = state()
    theirs["detectors"][0]["version"] = "0"
    assert compared(EXACT, theirs) is Audited.NOT_COMPARABLE


def test_another_threshold_is_another_model() -> None:
    assert compared(SCORED, state(threshold=801)) is Audited.NOT_COMPARABLE


def test_whether_a_model_decides_is_each_admins_own_affair() -> None:
    assert compared(SCORED, state(advisory=True)) is Audited.DISAGREES


def test_a_score_close_to_the_threshold_counts_against_nobody() -> None:
    assert compared(replace(SCORED, score_permille=820), state()) is Audited.NOT_COMPARABLE
    assert compared(replace(SCORED, score_permille=821), state()) is Audited.DISAGREES


def test_of_several_findings_the_gravest_counts() -> None:
    found = report(Verdict.MATCH, findings=(replace(SCORED, score_permille=810), EXACT, SCORED))
    assert compare_report(found, ours=state(), theirs=state()) is Audited.CONTRADICTS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["detectors", "name", "state", "lists", "thresholds", "label", "salt", "exact", MODEL]
)
documents = st.dictionaries(
    names,
    st.lists(st.dictionaries(names, json_values | names, max_size=4), max_size=3) | json_values,
    max_size=4,
)


@given(documents, st.sampled_from([EXACT, NEAR, SCORED]))
def test_whatever_a_peer_says_of_its_scanner_is_read_and_incriminates_nobody_by_chance(
    theirs: dict[str, Any], finding: Finding
) -> None:
    assert compared(finding, theirs) is Audited.NOT_COMPARABLE


def asked(outcome: RunOutcome = RunOutcome.RAN, **changes: Any) -> Report:
    run = DetectorRun(name=MODEL, version="1", essential=False, outcome=outcome)
    whole = report()
    return replace(whole, detectors=(*whole.detectors, run), **changes)


def test_only_a_whole_scan_that_found_nothing_at_all_confirms_a_peer() -> None:
    costly = frozenset({MODEL})
    assert is_agreement(asked(), costly)
    assert not is_agreement(report(), costly)
    for outcome in (
        RunOutcome.FAILED,
        RunOutcome.SPARED,
        RunOutcome.NOT_APPLICABLE,
        RunOutcome.OVERRULED,
    ):
        assert not is_agreement(asked(outcome), costly)
    unknown = asked(verdict=Verdict.UNSCANNABLE, reason=UnscannableReason.TIMEOUT)
    assert not is_agreement(unknown, costly)
    assert not has_objection(unknown)
    # What is reported without deciding here may well be what the peer should have found.
    advisory = asked(findings=(replace(SCORED, advisory=True),))
    assert not is_agreement(advisory, costly)
    assert has_objection(advisory)


@pytest.mark.parametrize("basis", [Basis.EXACT_HASH, Basis.NEAR_HASH])
def test_what_a_service_knows_today_counts_against_no_peer(basis: Basis) -> None:
    # It is asked by both, and may have learnt it in between.
    hosted = {"name": "shield", "version": "1", "state": {HOSTED: True}}
    ours, theirs = ({**state(salt=salt), "detectors": [hosted]} for salt in ("ours", "theirs"))
    found = report(Verdict.MATCH, findings=(replace(EXACT, detector="shield", basis=basis),))
    assert compare_report(found, ours=ours, theirs=theirs) is Audited.NOT_COMPARABLE
