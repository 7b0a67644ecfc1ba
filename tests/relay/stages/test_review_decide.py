"""What no media door can stop, and what must not wait for a person who has already spoken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model import DeliveryDecision, Evidence, EvidenceBasis, Location, MediaDecision, MediaReference
from relay.stages.decide import Policy, decide
from scanner.labels import Category
from scanner.report import Basis, UnscannableReason
from tests.relay.stages.test_decide import ENFORCING, POLICY, finding, pieces, report, scanned

INLINE = MediaReference(url="DATA:image/png;base64,AAAA", location=Location.INLINE)


def inline(piece: Evidence) -> Evidence:
    return replace(piece, reference=INLINE)


@given(st.lists(pieces, max_size=3), pieces.map(inline), st.sampled_from([POLICY, ENFORCING]))
def test_inline_bytes_that_are_not_released_never_go_on(
    others: list[Evidence], piece: Evidence, policy: Policy
) -> None:
    """They travel in the activity, where no door stands before them."""
    decision = decide([*others, piece], policy)
    if decision.outcomes[-1].decision is not MediaDecision.RELEASE:
        assert decision.delivery is not DeliveryDecision.FORWARD


def test_a_media_door_still_lets_the_text_of_linked_media_through() -> None:
    matched = scanned(report(finding(Category.NCII_KNOWN, Basis.EXACT_HASH)))
    assert decide([matched], ENFORCING).delivery is DeliveryDecision.FORWARD


@given(st.lists(pieces, max_size=3))
def test_references_beyond_the_limit_are_not_forwarded_behind_a_door_either(evidence: list[Evidence]) -> None:
    """One of them may be inline."""
    assert decide(evidence, ENFORCING, is_complete=False).delivery is not DeliveryDecision.FORWARD


def test_an_inline_picture_that_could_not_be_scanned_yet_is_looked_at_again() -> None:
    down = inline(scanned(report(reason=UnscannableReason.DETECTOR_UNAVAILABLE, failed=True)))
    assert decide([down], ENFORCING).delivery is DeliveryDecision.RETRY


@pytest.mark.parametrize(("policy", "expected"), [(POLICY, "drop"), (ENFORCING, "forward")])
def test_what_a_moderator_blocked_is_not_held_for_another_ruling(policy: Policy, expected: str) -> None:
    blocked = Evidence(
        reference=MediaReference(url="https://far.example/a.png", location=Location.ATTACHMENT),
        basis=EvidenceBasis.RULING,
        sha256=bytes(32),
        is_allowed=False,
    )
    assert decide([blocked], policy).delivery == expected
    assert decide([inline(blocked)], policy).delivery is DeliveryDecision.DROP


def test_inline_bytes_that_must_not_be_kept_are_not_held() -> None:
    rules = {
        **POLICY.rules,
        Category.CSAM_KNOWN: replace(POLICY.rules[Category.CSAM_KNOWN], drops_delivery=False),
    }
    matched = inline(scanned(report(finding(Category.CSAM_KNOWN, Basis.EXACT_HASH))))
    for policy in (POLICY, ENFORCING):
        assert decide([matched], replace(policy, rules=rules)).delivery is DeliveryDecision.DROP
