"""The table of states: closed, and every road ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.lifecycle import FINAL, GIVE_UP_AFTER, MOVES, RETRY_DELAYS, State, decide_retry, is_legal

START = datetime(2026, 11, 22, tzinfo=UTC)


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(State)


@pytest.mark.parametrize("state", list(State))
def test_from_every_state_an_end_can_be_reached(state: State) -> None:
    reached, frontier = {state}, {state}
    while frontier:
        frontier = {after for before in frontier for after in MOVES[before]} - reached
        reached |= frontier
    assert reached & FINAL


def test_what_is_finished_stays_finished() -> None:
    assert {State.FORWARDED, State.DROPPED, State.DEAD} == FINAL
    assert not any(is_legal(before, after) for before in FINAL for after in State)


def test_nothing_is_forwarded_that_was_not_decided_upon() -> None:
    before_forwarded = {state for state, moves in MOVES.items() if State.FORWARDED in moves}
    assert before_forwarded == {State.FORWARDING}
    assert not is_legal(State.RECEIVED, State.FORWARDING)


def test_retries_slow_down_and_end() -> None:
    now, tries, gaps = START, 0, []
    while True:
        tries += 1
        due = decide_retry(tries=tries, received_at=START, now=now)
        if due is None:
            break
        gaps.append(due - now)
        now = due
    assert gaps == sorted(gaps)
    assert gaps[: len(RETRY_DELAYS)] == list(RETRY_DELAYS)
    assert now <= START + GIVE_UP_AFTER
    assert now > START + GIVE_UP_AFTER - timedelta(hours=7)
