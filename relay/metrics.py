"""Count what the relay does, for Prometheus.

No label ever carries an address, a digest, a file name or the name of a peer: labels are closed sets of
words, so that the numbers can be shown to anybody who may see the admin port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

_LATENCY_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds: from a delivery passed straight through to one held for the whole default patience."""


class Metrics:
    """The numbers of one relay, in a registry of their own so that two relays in a process stay apart."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._answers = Counter(
            "breakwater_inbox_answers", "Answers of the inbox door.", ["status"], registry=registry
        )
        # Looking a label up costs more than counting.
        self._answers_by_status: dict[int, Counter] = {}
        self._deliveries = Counter(
            "breakwater_deliveries", "Stored deliveries that reached a state.", ["outcome"], registry=registry
        )
        self._media = Counter(
            "breakwater_media",
            "Media decided upon, by the door that they came in by.",
            ["door", "verdict", "decision"],
            registry=registry,
        )
        self._door_answers = Counter(
            "breakwater_door_answers",
            "Answers of the doors for programs beside the backend.",
            ["door", "status"],
            registry=registry,
        )
        self._fetch_failures = Counter(
            "breakwater_fetch_failures", "Fetches that gave no bytes.", ["reason"], registry=registry
        )
        self._attestations = Counter(
            "breakwater_attestations",
            "Attestations issued, left out, or not to be read.",
            ["outcome"],
            registry=registry,
        )
        self._spared = Counter(
            "breakwater_scans_spared", "Costly scans that the word of a peer has spared.", registry=registry
        )
        self._audits = Counter(
            "breakwater_audits",
            "Audits of what was let go on a peer's word.",
            ["outcome"],
            registry=registry,
        )
        self._rescans = Counter(
            "breakwater_rescans",
            "Files seen before that were compared with changed hash lists, and those that matched.",
            ["outcome"],
            registry=registry,
        )
        self._warned_looks = Counter(
            "breakwater_warned_looks",
            "Files let go before a peer's warning of them that were looked at again, by how that ended.",
            ["outcome"],
            registry=registry,
        )
        self._peer_questions = Counter(
            "breakwater_peer_questions",
            "Questions to peers, by what was asked and how it ended.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._feed_items = Counter(
            "breakwater_feed_items",
            "Attestations in the feeds of peers, kept or left out.",
            ["outcome"],
            registry=registry,
        )
        self._feeds = Gauge("breakwater_feeds_followed", "Feeds of peers that are read.", registry=registry)
        self._feed_lag = Gauge(
            "breakwater_feed_lag_seconds",
            "How long ago the feed was read that was read longest ago.",
            registry=registry,
        )
        self._noisy_hashes = Counter(
            "breakwater_noisy_hashes",
            "Listed hashes that were noticed to fit many different pictures, by what was done.",
            ["state"],
            registry=registry,
        )
        self._errands = Counter(
            "breakwater_errands",
            "Errands on the backend that were carried out, put off or given up.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._list_syncs = Counter(
            "breakwater_list_syncs",
            "Fetches of lists from their makers, by the kind of source.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._list_ages = Gauge(
            "breakwater_list_age_seconds",
            "Since the last whole fetch of the list that waits for one the longest, by the kind of source.",
            ["kind"],
            registry=registry,
        )
        self._lists_overdue = Gauge(
            "breakwater_lists_overdue",
            "Lists that are older than they may be, so that what no list matches is withheld.",
            registry=registry,
        )
        self._restarts = Counter(
            "breakwater_decoder_restarts", "Decoder processes that were replaced early.", registry=registry
        )
        self._queue = Gauge(
            "breakwater_queue_deliveries", "Stored deliveries by state.", ["state"], registry=registry
        )
        self._service_answers = Counter(
            "breakwater_service_answers",
            "Questions to services of others, by how they ended and never by what was said.",
            ["service", "outcome"],
            registry=registry,
        )
        self._service_breaker = Gauge(
            "breakwater_service_breaker_open",
            "1 while a service is left alone because it keeps failing.",
            ["service"],
            registry=registry,
        )
        self._service_budget = Gauge(
            "breakwater_service_budget_left",
            "Requests that a service may get yet today.",
            ["service"],
            registry=registry,
        )
        self._latency = Histogram(
            "breakwater_step_seconds",
            "How long a step of the line took.",
            ["step"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )

    def count_answer(self, *, status: int) -> None:
        """Count an answer of the inbox door."""
        counter = self._answers_by_status.get(status)
        if counter is None:
            counter = self._answers_by_status[status] = self._answers.labels(str(status))
        counter.inc()

    def count_door_answer(self, *, door: str, status: int) -> None:
        """Count an answer of a door for programs beside the backend."""
        self._door_answers.labels(door, str(status)).inc()

    def count_delivery(self, *, outcome: str) -> None:
        """Count a stored delivery that reached a state."""
        self._deliveries.labels(outcome).inc()

    def count_media(self, *, door: str, verdict: str, decision: str) -> None:
        """Count a decision on one piece of media."""
        self._media.labels(door, verdict, decision).inc()

    def count_fetch_failure(self, *, reason: str) -> None:
        """Count a fetch that gave no bytes."""
        self._fetch_failures.labels(reason).inc()

    def count_attestation(self, *, outcome: str) -> None:
        """Count an attestation that was issued, left out on purpose, or could not be read."""
        self._attestations.labels(outcome).inc()

    def count_spared(self) -> None:
        """Count a costly scan that the word of a peer has spared."""
        self._spared.inc()

    def count_audit(self, *, outcome: str) -> None:
        """Count an audit that came to an end."""
        self._audits.labels(outcome).inc()

    def count_rescans(self, *, compared: int, matched: int) -> None:
        """Count files that were compared with changed lists, and those of them that are stopped now."""
        self._rescans.labels("compared").inc(compared)
        self._rescans.labels("matched").inc(matched)

    def count_warned_look(self, *, outcome: str) -> None:
        """Count a look at a file that was let go before a peer's warning of it."""
        self._warned_looks.labels(outcome).inc()

    def count_peer_question(self, *, kind: str, outcome: str) -> None:
        """Count a question to a peer, by the part of its API and not by the peer."""
        self._peer_questions.labels(kind, outcome).inc()

    def count_feed_items(self, *, kept: int, left_out: int) -> None:
        """Count what the feeds of peers brought."""
        self._feed_items.labels("kept").inc(kept)
        self._feed_items.labels("left_out").inc(left_out)

    def set_feeds(self, *, followed: int, lag_seconds: float) -> None:
        """Show how many feeds are read, and how far the last of them lags behind."""
        self._feeds.set(followed)
        self._feed_lag.set(lag_seconds)

    def count_noisy_hashes(self, by_state: Mapping[str, int]) -> None:
        """Count listed hashes that were noticed to fit many different pictures."""
        for state, count in by_state.items():
            self._noisy_hashes.labels(state).inc(count)

    def count_errand(self, *, kind: str, outcome: str) -> None:
        """Count an errand that was carried out, put off or given up."""
        self._errands.labels(kind, outcome).inc()

    def count_service_answer(self, *, service: str, outcome: str) -> None:
        """Count a question to a service of others."""
        self._service_answers.labels(service, outcome).inc()

    def set_service_breaker(self, *, service: str, is_open: bool) -> None:
        """Show whether a service is left alone."""
        self._service_breaker.labels(service).set(int(is_open))

    def set_service_budget(self, *, service: str, left: int) -> None:
        """Show how many requests a service may get yet today."""
        self._service_budget.labels(service).set(left)

    def count_list_sync(self, *, kind: str, outcome: str) -> None:
        """Count a fetch of a list that came to an end."""
        self._list_syncs.labels(kind, outcome).inc()

    def set_list_ages(self, by_kind: Mapping[str, timedelta]) -> None:
        """Show since when the lists were not fetched wholly; kinds that are not named have none."""
        self._list_ages.clear()
        for kind, age in by_kind.items():
            self._list_ages.labels(kind).set(age.total_seconds())

    def set_lists_overdue(self, number: int) -> None:
        """Show how many lists are so old that what no list matches is withheld."""
        self._lists_overdue.set(number)

    def count_decoder_restarts(self, number: int) -> None:
        """Count decoder processes that crashed, hung or ran out of memory."""
        self._restarts.inc(number)

    def set_queue(self, by_state: Mapping[str, int]) -> None:
        """Show how many deliveries are in each state; states that are not named have none."""
        self._queue.clear()
        for state, count in by_state.items():
            self._queue.labels(state).set(count)

    def observe_step(self, *, step: str, seconds: float) -> None:
        """Note how long a step of the line took."""
        self._latency.labels(step).observe(seconds)

    def render(self) -> tuple[bytes, str]:
        """Write everything in Prometheus' text form; the second value is its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
