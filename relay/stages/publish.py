"""Publish: tell those who watch that something was decided, in numbers and never in particulars."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from relay.model import Door, EvidenceBasis

if TYPE_CHECKING:
    from relay.metrics import Metrics
    from relay.model import Decision, MediaOutcome

_log = logging.getLogger(__name__)


def publish(decision: Decision, *, metrics: Metrics) -> None:
    """Count the decisions; a new case is announced as a number, without what, whose or where."""
    for outcome in decision.outcomes:
        _count(outcome, door=Door.INBOX, metrics=metrics)
    cases = Counter(outcome.needs_case for outcome in decision.outcomes)[True]
    if cases:
        _log.warning("new_cases count=%d", cases)


def publish_outcome(outcome: MediaOutcome, *, door: Door, is_new_case: bool, metrics: Metrics) -> None:
    """Count the decision about bytes that came by another door than the inbox."""
    _count(outcome, door=door, metrics=metrics)
    if is_new_case:
        _log.warning("new_cases count=1")


def _count(outcome: MediaOutcome, *, door: Door, metrics: Metrics) -> None:
    evidence = outcome.evidence
    # What rests on a peer's word is no verdict of ours.
    report = None if evidence.basis is EvidenceBasis.PEER else evidence.report
    verdict = evidence.basis.value if report is None else report.verdict.value
    metrics.count_media(door=door.value, verdict=verdict, decision=outcome.decision.value)
    if evidence.failure is not None:
        metrics.count_fetch_failure(reason=evidence.failure.value)
