"""Those who watch hear numbers, never particulars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.metrics import Metrics
from relay.model import DeliveryDecision, Evidence, EvidenceBasis, FetchFailure, MediaDecision
from relay.stages.publish import publish
from scanner.report import Verdict
from tests.relay.stages.parts import PICTURE, decision, evidence, finding, outcome, reference, report

if TYPE_CHECKING:
    import pytest

WITHHELD = outcome(
    evidence(report(Verdict.MATCH, findings=(finding(),))),
    MediaDecision.WITHHOLD,
    category="spam",
    needs_case=True,
)
GONE = outcome(
    Evidence(reference=reference(), basis=EvidenceBasis.FETCH, failure=FetchFailure.GONE),
    MediaDecision.WITHHOLD,
    needs_case=True,
)


def test_every_decision_on_media_is_counted_by_verdict_and_decision() -> None:
    metrics = Metrics()

    publish(decision(DeliveryDecision.HOLD, outcome(), WITHHELD, GONE), metrics=metrics)

    shown = metrics.render()[0].decode()
    for labels in (
        'decision="release",door="inbox",verdict="no-match"',
        'decision="withhold",door="inbox",verdict="match"',
        'decision="withhold",door="inbox",verdict="fetch"',
    ):
        assert f"breakwater_media_total{{{labels}}} 1.0" in shown
    assert 'breakwater_fetch_failures_total{reason="gone"} 1.0' in shown


def test_new_cases_are_announced_as_a_number(caplog: pytest.LogCaptureFixture) -> None:
    publish(decision(DeliveryDecision.HOLD, outcome(), WITHHELD, GONE), metrics=Metrics())

    assert [record.getMessage() for record in caplog.records] == ["new_cases count=2"]


def test_without_cases_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    publish(decision(DeliveryDecision.FORWARD, outcome()), metrics=Metrics())

    assert not caplog.records


def test_no_particulars_reach_the_numbers(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()

    publish(decision(DeliveryDecision.HOLD, WITHHELD), metrics=metrics)

    told = metrics.render()[0].decode() + caplog.text
    digest = WITHHELD.evidence.sha256
    assert digest is not None
    for secret in (PICTURE, digest.hex(), "files.example", "spam"):
        assert secret not in told
