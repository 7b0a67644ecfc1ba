"""Trust is earned slowly, lost quickly, and never beyond the bound on lies that are relied on."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.peers import Tier
from relay.trust import (
    ACCEPT_AT,
    ALLIED_FLOOR,
    DEMOTE_AT,
    ENOUGH_GROUPS,
    MODEL_MARGIN,
    RATE_FLOOR,
    SCRUTINY,
    SHARED_FLOOR,
    STEP_DOWN,
    STEP_UP,
    Audited,
    OwnFinding,
    Standing,
    agreement_bound,
    audit_rate,
    compare,
    credit_of,
    is_relied_on,
    scrutinise,
    weigh,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def standing(tier: Tier = Tier.PROBATION, *, credit: float = 0.0) -> Standing:
    return Standing(tier=tier, updated_at=NOW, credit=credit)


def after(start: Standing, *audits: Audited) -> Standing:
    for audited in audits:
        start = weigh(start, audited, now=NOW)
    return start


def test_the_constants_are_those_of_the_published_test() -> None:
    assert pytest.approx(2.303, abs=0.001) == STEP_UP
    assert pytest.approx(-0.0463, abs=0.0001) == STEP_DOWN
    assert pytest.approx(6.898, abs=0.001) == DEMOTE_AT
    assert pytest.approx(-4.604, abs=0.001) == ACCEPT_AT


def test_a_hundred_agreements_in_a_row_end_the_probation_and_ninety_nine_do_not() -> None:
    almost = after(standing(), *[Audited.AGREES] * 99)

    assert almost.tier is Tier.PROBATION
    assert after(almost, Audited.AGREES).tier is Tier.TRUSTED


@pytest.mark.parametrize("tier", [Tier.PROBATION, Tier.TRUSTED, Tier.ALLIED])
def test_three_disagreements_at_once_demote_whoever_it_is(tier: Tier) -> None:
    start = standing(tier, credit=10_000.0)

    assert after(start, Audited.DISAGREES, Audited.DISAGREES).tier is tier
    assert after(start, *[Audited.DISAGREES] * 3).tier is Tier.QUARANTINED


def test_one_hard_contradiction_is_enough_and_takes_all_credit() -> None:
    fallen = after(standing(Tier.ALLIED, credit=10_000.0), Audited.CONTRADICTS)

    assert fallen.tier is Tier.QUARANTINED
    assert fallen.credit == 0.0


def test_nobody_leaves_quarantine_by_agreeing() -> None:
    assert after(standing(Tier.QUARANTINED), *[Audited.AGREES] * 500).tier is Tier.QUARANTINED


def test_what_cannot_be_compared_changes_nothing() -> None:
    start = standing(Tier.TRUSTED, credit=120.0)

    assert weigh(start, Audited.NOT_COMPARABLE, now=NOW + timedelta(days=9)) == start


def test_an_honest_peer_with_ordinary_disagreement_keeps_its_trust() -> None:
    chance = random.Random(7)
    kept = 0
    for _ in range(200):
        one = standing()
        for _ in range(2_000):
            one = weigh(one, Audited.DISAGREES if chance.random() < 0.002 else Audited.AGREES, now=NOW)
        kept += one.tier is Tier.TRUSTED
    assert kept == 200


def test_a_tenth_is_audited_of_whoever_is_trusted_however_long() -> None:
    assert audit_rate(standing(Tier.TRUSTED, credit=1e9), now=NOW) == RATE_FLOOR
    assert audit_rate(standing(Tier.TRUSTED, credit=50.0), now=NOW) == pytest.approx(0.2)


def test_an_ally_has_to_earn_its_lower_floor() -> None:
    assert audit_rate(standing(Tier.ALLIED, credit=499.0), now=NOW) == RATE_FLOOR
    assert audit_rate(standing(Tier.ALLIED, credit=500.0), now=NOW) == pytest.approx(ALLIED_FLOOR)


@pytest.mark.parametrize("tier", [Tier.UNKNOWN, Tier.PROBATION, Tier.QUARANTINED])
def test_everything_is_audited_of_whoever_is_not_relied_on(tier: Tier) -> None:
    assert audit_rate(standing(tier, credit=1e9), now=NOW, groups=99) == 1.0


def test_from_three_independent_scans_on_few_are_repeated() -> None:
    trusted = standing(Tier.TRUSTED, credit=1e9)

    assert audit_rate(trusted, now=NOW, groups=ENOUGH_GROUPS - 1) == RATE_FLOOR
    assert audit_rate(trusted, now=NOW, groups=ENOUGH_GROUPS) == SHARED_FLOOR


def test_others_doubt_has_the_next_ten_audited_and_takes_nothing_else() -> None:
    watched = scrutinise(standing(Tier.TRUSTED, credit=1e9))

    assert not is_relied_on(watched, now=NOW)
    assert audit_rate(watched, now=NOW, groups=99) == 1.0
    assert not is_relied_on(after(watched, *[Audited.AGREES] * (SCRUTINY - 1)), now=NOW)
    assert is_relied_on(after(watched, *[Audited.AGREES] * SCRUTINY), now=NOW)
    assert watched.tier is Tier.TRUSTED


def test_one_disagreement_is_kept_to_oneself_and_two_close_together_are_told() -> None:
    trusted = standing(Tier.TRUSTED, credit=1e9)

    assert not after(trusted, Audited.DISAGREES).is_in_doubt
    assert after(trusted, Audited.DISAGREES, *[Audited.AGREES] * 10, Audited.DISAGREES).is_in_doubt
    assert not after(trusted, Audited.DISAGREES, *[Audited.AGREES] * 60, Audited.DISAGREES).is_in_doubt


def test_after_a_disagreement_the_next_ten_are_scanned_before_they_are_relied_on() -> None:
    fallen = after(standing(Tier.TRUSTED, credit=1e9), Audited.DISAGREES)

    assert not is_relied_on(fallen, now=NOW)
    assert not is_relied_on(after(fallen, *[Audited.AGREES] * 10), now=NOW)
    assert is_relied_on(after(fallen, *[Audited.AGREES] * 11), now=NOW)


def test_credit_halves_in_thirty_days_without_an_audit() -> None:
    trusted = standing(Tier.TRUSTED, credit=200.0)

    assert credit_of(trusted, now=NOW + timedelta(days=30)) == pytest.approx(100.0)
    assert credit_of(trusted, now=NOW - timedelta(days=1)) == 200.0


def test_a_disagreement_ends_the_row_of_valid_audits() -> None:
    assert after(standing(Tier.TRUSTED, credit=5_000.0), Audited.DISAGREES).credit == 0.0


def test_the_shown_bound_needs_many_audits_to_come_near_one() -> None:
    assert agreement_bound(standing()) == 0.0
    few = replace(standing(), audits=10, agreements=10)
    many = replace(standing(), audits=1_000, agreements=1_000)
    # Wilson's bound for n of n is n / (n + z²).
    assert agreement_bound(few) == pytest.approx(10 / (10 + 2.7055), abs=1e-4)
    assert agreement_bound(many) == pytest.approx(0.9973, abs=1e-4)


@pytest.mark.parametrize(
    ("finding", "audited"),
    [
        (OwnFinding(is_match=False), Audited.AGREES),
        (OwnFinding(is_match=True, is_deterministic=True, is_same_state=True), Audited.CONTRADICTS),
        (OwnFinding(is_match=True, is_deterministic=True, was_listed=True), Audited.CONTRADICTS),
        (OwnFinding(is_match=True, is_deterministic=True), Audited.NOT_COMPARABLE),
        (
            OwnFinding(is_match=True, is_deterministic=True, is_same_state=True, was_listed=False),
            Audited.NOT_COMPARABLE,
        ),
        (OwnFinding(is_match=True, is_same_model=True, margin=MODEL_MARGIN + 1), Audited.DISAGREES),
        (OwnFinding(is_match=True, is_same_model=True, margin=MODEL_MARGIN), Audited.NOT_COMPARABLE),
        (OwnFinding(is_match=True, margin=900), Audited.NOT_COMPARABLE),
        (
            OwnFinding(is_match=True, is_same_profile=False, is_same_state=True, margin=900),
            Audited.NOT_COMPARABLE,
        ),
    ],
)
def test_honest_disagreement_is_told_from_lying(finding: OwnFinding, audited: Audited) -> None:
    assert compare(finding) is audited


def test_who_brings_it_counts_no_more_where_enough_have_scanned_the_very_bytes() -> None:
    trusted = standing(Tier.TRUSTED, credit=1e9)
    assert audit_rate(trusted, now=NOW, groups=ENOUGH_GROUPS - 1, risk=0.3) == pytest.approx(0.37)
    assert audit_rate(trusted, now=NOW, groups=ENOUGH_GROUPS, risk=0.3) == SHARED_FLOOR


@given(
    credit=st.floats(0, 1e9),
    groups=st.integers(0, 50),
    risk=st.floats(-1, 2),
    tier=st.sampled_from(Tier),
    days=st.integers(0, 400),
)
def test_a_rate_is_a_probability_that_risk_and_idleness_only_raise(
    credit: float, groups: int, risk: float, tier: Tier, days: int
) -> None:
    one = standing(tier, credit=credit)
    rate = audit_rate(one, now=NOW, groups=groups, risk=risk)

    assert SHARED_FLOOR <= rate <= 1.0
    assert rate >= audit_rate(one, now=NOW, groups=groups)
    assert audit_rate(one, now=NOW + timedelta(days=days), groups=groups, risk=risk) >= rate


@given(st.lists(st.sampled_from([Audited.AGREES, Audited.DISAGREES, Audited.CONTRADICTS]), max_size=60))
def test_one_more_disagreement_never_raises_a_tier(audits: list[Audited]) -> None:
    order = [Tier.QUARANTINED, Tier.PROBATION, Tier.TRUSTED]
    before = after(standing(), *audits)

    assert order.index(after(before, Audited.DISAGREES).tier) <= order.index(before.tier)
