"""Those who stall cost themselves time, not the others."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.model import FetchFailure
from relay.tools.lanes import MAX_LANES_PER_SENDER, Lanes
from relay.tools.standing import Standings
from tests.fediverse.clock import FrozenClock


@pytest.mark.parametrize("failure", [FetchFailure.TIMEOUT, FetchFailure.TOO_SLOW])
def test_an_origin_that_stalls_three_times_in_a_row_is_left_alone_for_half_a_minute(
    failure: FetchFailure,
) -> None:
    clock = FrozenClock()
    standings = Standings(clock)
    for _ in range(3):
        assert not standings.is_left_alone("a.example")
        standings.note("a.example", failure)
    assert standings.is_left_alone("a.example")
    assert not standings.is_left_alone("b.example")

    clock.advance(timedelta(seconds=30))
    assert not standings.is_left_alone("a.example")
    standings.note("a.example", failure)
    assert standings.is_left_alone("a.example")


@pytest.mark.parametrize("ending", [None, FetchFailure.GONE, FetchFailure.SERVER_ERROR])
def test_whatever_is_quick_makes_up_for_what_was_slow(ending: FetchFailure | None) -> None:
    standings = Standings(FrozenClock())
    for _ in range(2):
        standings.note("a.example", FetchFailure.TIMEOUT)
    standings.note("a.example", ending)
    standings.note("a.example", FetchFailure.TIMEOUT)
    assert not standings.is_left_alone("a.example")


def test_no_sender_takes_more_lanes_than_its_share_and_all_together_no_more_than_there_are() -> None:
    lanes = Lanes(width=3, per_sender=2)
    with lanes.enter("a"), lanes.enter("a"):
        assert not lanes.has_share_left("a")
        assert lanes.has_lane_for("b")
        with lanes.enter("b"):
            assert not lanes.has_lane_for("c")
            assert lanes.has_share_left("c")
    assert lanes.has_lane_for("a")


def test_one_sender_never_fills_the_lanes() -> None:
    assert Lanes()._width > MAX_LANES_PER_SENDER * 2
