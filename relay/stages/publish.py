"""Publish: tell those who watch that something was decided, in numbers and never in particulars."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from relay.model import Door

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
    report = outcome.evidence.report
    verdict = outcome.evidence.basis.value if report is None else report.verdict.value
    metrics.count_media(door=door.value, verdict=verdict, decision=outcome.decision.value)
    if outcome.evidence.failure is not None:
        metrics.count_fetch_failure(reason=outcome.evidence.failure.value)
