from __future__ import annotations

from relay.metrics import Metrics


def test_what_was_counted_is_rendered() -> None:
    metrics = Metrics()
    metrics.count_answer(status=202)
    metrics.count_delivery(outcome="forwarded")
    metrics.count_media(door="inbox", verdict="match", decision="withhold")
    metrics.count_fetch_failure(reason="timeout")
    metrics.count_attestation(outcome="issued")
    metrics.count_decoder_restarts(2)
    metrics.count_peer_question(kind="lookup", outcome="answered")
    metrics.count_feed_items(kept=3, left_out=1)
    metrics.set_feeds(followed=2, lag_seconds=40.0)
    metrics.observe_step(step="scan", seconds=0.02)
    body, content_type = metrics.render()
    text = body.decode()
    assert content_type.startswith("text/plain")
    for line in (
        'breakwater_inbox_answers_total{status="202"} 1.0',
        'breakwater_deliveries_total{outcome="forwarded"} 1.0',
        'breakwater_media_total{decision="withhold",door="inbox",verdict="match"} 1.0',
        'breakwater_fetch_failures_total{reason="timeout"} 1.0',
        'breakwater_attestations_total{outcome="issued"} 1.0',
        "breakwater_decoder_restarts_total 2.0",
        'breakwater_step_seconds_bucket{le="0.025",step="scan"} 1.0',
        'breakwater_peer_questions_total{kind="lookup",outcome="answered"} 1.0',
        'breakwater_feed_items_total{outcome="left_out"} 1.0',
        "breakwater_feeds_followed 2.0",
        "breakwater_feed_lag_seconds 40.0",
        "process_resident_memory_bytes",
    ):
        assert line in text, line


def test_two_relays_in_a_process_do_not_share_numbers() -> None:
    one, other = Metrics(), Metrics()
    one.count_answer(status=202)
    assert b'status="202"' not in other.render()[0]


def test_a_queue_state_that_emptied_is_no_longer_shown() -> None:
    metrics = Metrics()
    metrics.set_queue({"held": 3, "received": 1})
    metrics.set_queue({"received": 2})
    text = metrics.render()[0].decode()
    assert 'breakwater_queue_deliveries{state="received"} 2.0' in text
    assert 'state="held"' not in text
