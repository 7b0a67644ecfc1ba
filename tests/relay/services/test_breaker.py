"""A service that keeps failing is left alone, and one request finds out whether it is back."""

from __future__ import annotations

from datetime import timedelta

from relay.services.breaker import FAILURES, OPEN_FOR, Breaker
from tests.fediverse.clock import FrozenClock


def _fail(breaker: Breaker, times: int = FAILURES) -> None:
    for _ in range(times):
        assert breaker.admit()
        breaker.fail()


def test_it_opens_after_ten_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(FrozenClock())
    _fail(breaker, FAILURES - 1)
    assert not breaker.is_open
    _fail(breaker, 1)
    assert breaker.is_open
    assert not breaker.admit()


def test_an_answer_in_between_begins_the_count_anew() -> None:
    breaker = Breaker(FrozenClock())
    _fail(breaker, FAILURES - 1)
    breaker.succeed()
    _fail(breaker, FAILURES - 1)
    assert not breaker.is_open


def test_after_a_minute_one_request_is_let_through_and_its_end_decides() -> None:
    clock = FrozenClock()
    breaker = Breaker(clock)
    _fail(breaker)
    clock.advance(OPEN_FOR)

    assert breaker.admit()
    assert not breaker.admit()
    breaker.fail()
    assert breaker.is_open

    clock.advance(OPEN_FOR)
    assert breaker.admit()
    breaker.succeed()
    assert breaker.admit()
    assert breaker.admit()


def test_a_probe_that_nobody_waited_for_leaves_the_place_to_the_next() -> None:
    clock = FrozenClock()
    breaker = Breaker(clock)
    _fail(breaker)
    clock.advance(OPEN_FOR)
    assert breaker.admit()
    breaker.abandon()
    assert breaker.admit()


def test_a_service_that_asks_to_wait_is_left_alone_for_that_long_but_no_longer_than_an_hour() -> None:
    clock = FrozenClock()
    breaker = Breaker(clock)
    breaker.fail(timedelta(seconds=30))
    assert not breaker.admit()
    clock.advance(timedelta(seconds=30))
    assert breaker.admit()
    breaker.fail(timedelta(days=1))
    clock.advance(timedelta(minutes=59))
    assert breaker.is_open
    clock.advance(timedelta(minutes=1))
    assert not breaker.is_open
