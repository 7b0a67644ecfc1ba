"""A peer's warning tightens, and never more than to a withholding that a person ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from db import alert_hits, cases, verdicts
from relay.model import Door, EvidenceBasis, MediaDecision
from relay.stages.consult import consult_digest
from relay.stages.decide import Condition, Policy, Rule, judge
from relay.stages.record import record_outcome
from scanner.labels import Category
from scanner.report import Basis, UnscannableReason, Verdict, report_to_json
from tests.fediverse.clock import START
from tests.relay.stages.parts import STATE, evidence, finding, reference, report

if TYPE_CHECKING:
    from db.pool import Database
    from scanner.report import Report

POLICY = Policy(
    rules={
        Category.SPAM: Rule(media=MediaDecision.BLOCK, drops_delivery=True, purge=True),
        Category.ADULT_CONTENT: Rule(media=MediaDecision.RELEASE),
    },
    conditions=dict.fromkeys(Condition, MediaDecision.WITHHOLD),
    enforces_media=True,
)
STRICTNESS = {MediaDecision.RELEASE: 0, MediaDecision.WITHHOLD: 1, MediaDecision.BLOCK: 2}


def test_what_a_peer_warned_of_is_withheld_for_a_person_and_no_more() -> None:
    outcome = judge(replace(evidence(), warning="spam"), POLICY)

    assert (outcome.decision, outcome.category) == (MediaDecision.WITHHOLD, "spam")
    assert outcome.needs_case
    assert not outcome.purge
    assert not outcome.retry


def test_what_the_admin_lets_go_anyway_a_warning_does_not_withhold() -> None:
    outcome = judge(replace(evidence(), warning="adult-content"), POLICY)

    assert outcome.decision is MediaDecision.RELEASE


def test_a_moderators_ruling_stands_above_any_warning() -> None:
    allowed = replace(evidence(), basis=EvidenceBasis.RULING, is_allowed=True, report=None, warning="spam")

    assert judge(allowed, POLICY).decision is MediaDecision.RELEASE


_REPORTS = (
    report(),
    report(Verdict.MATCH, findings=(finding(),)),
    report(Verdict.MATCH, findings=(finding(Category.ADULT_CONTENT),)),
    report(Verdict.MATCH, findings=(finding(Category.TVEC, Basis.CLASSIFIER),)),
    report(Verdict.UNSCANNABLE, reason=UnscannableReason.CORRUPT),
)


@given(
    st.sampled_from(_REPORTS),
    st.sampled_from([EvidenceBasis.SCAN, EvidenceBasis.OWN_VERDICT, EvidenceBasis.PEER]),
    st.sampled_from(["spam", "tvec", "adult-content", "unheard-of"]),
)
def test_a_warning_never_loosens_what_was_found(found: Report, basis: EvidenceBasis, warning: str) -> None:
    plain = evidence(found, basis=basis)
    before, after = judge(plain, POLICY), judge(replace(plain, warning=warning), POLICY)

    assert STRICTNESS[after.decision] >= STRICTNESS[before.decision]
    assert after.decision is not MediaDecision.BLOCK or before.decision is MediaDecision.BLOCK
    assert after.purge == before.purge
    assert after.needs_case >= before.needs_case


async def test_bytes_with_a_verdict_of_our_own_carry_the_warning_that_fits_them(database: Database) -> None:
    found = report()
    sha256 = found.fingerprints.sha256
    stored = verdicts.StoredVerdict(
        sha256=sha256,
        state_digest=STATE,
        verdict=found.verdict.value,
        reason=None,
        report=report_to_json(found),
        scanned_at=START,
    )
    async with database.connection() as conn:
        await verdicts.put_verdict(conn, stored)
        await alert_hits.put_hit(
            conn, sha256, issuer="https://peer.example/actor", mac=bytes(32), category="spam", now=START
        )

    piece = await consult_digest(sha256, None, reference(), database=database, state_digest=STATE)

    assert piece is not None
    assert (piece.basis, piece.warning) == (EvidenceBasis.OWN_VERDICT, "spam")


async def test_the_case_says_that_it_rests_on_a_peer(database: Database) -> None:
    outcome = judge(replace(evidence(), warning="spam"), POLICY)

    case_id = await record_outcome(outcome, door=Door.GATEWAY, database=database, now=START)

    assert case_id is not None
    async with database.connection() as conn:
        case = await cases.find_case(conn, case_id)
    assert case is not None
    assert (case.category, case.basis) == ("spam", "peer")
