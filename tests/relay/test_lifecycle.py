"""The table of states: closed, and every road ends."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import relay
from db import deliveries
from relay.lifecycle import FINAL, GIVE_UP_AFTER, MOVES, RETRY_DELAYS, State, decide_retry, is_legal, move
from tests.db.builders import new_delivery

if TYPE_CHECKING:
    from db.pool import Database

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


def test_what_is_finished_stays_finished_but_a_dead_letter_may_be_brought_back_or_dropped() -> None:
    assert {State.FORWARDED, State.DROPPED, State.DEAD} == FINAL
    ways_back = {(before, after) for before in FINAL for after in State if is_legal(before, after)}
    assert ways_back == {(State.DEAD, State.RECEIVED), (State.DEAD, State.DROPPED)}


async def test_an_illegal_move_is_an_error_and_moves_nothing(database: Database) -> None:
    async with database.connection() as conn:
        delivery_id = await deliveries.insert_delivery(conn, new_delivery())
        assert delivery_id is not None
        with pytest.raises(ValueError, match="no delivery moves from received to forwarded"):
            await move(conn, delivery_id, expected=State.RECEIVED, to=State.FORWARDED, now=START)
        stored = await deliveries.find_delivery(conn, delivery_id)
    assert stored is not None
    assert stored.state is State.RECEIVED


def test_nobody_in_the_relay_moves_a_delivery_past_the_table() -> None:
    """`move` asks the table; whoever called the database's own `advance` would not."""
    callers = {
        path.name
        for path in Path(relay.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "advance"
        if isinstance(node.value, ast.Name) and node.value.id == "deliveries"
    }
    assert callers == {"lifecycle.py"}


@pytest.mark.parametrize("before", [State.RECEIVED, State.EXAMINING, State.HELD, State.DECIDED, State.DEAD])
def test_a_delete_drops_from_where_the_table_lets_it(before: State) -> None:
    """The database drops what a Delete ends by itself; the table must know of it."""
    assert is_legal(before, State.DROPPED)


def test_nothing_is_forwarded_that_was_not_decided_upon() -> None:
    before_forwarded = {state for state, moves in MOVES.items() if State.FORWARDED in moves}
    assert before_forwarded == {State.FORWARDING}
    assert not is_legal(State.RECEIVED, State.FORWARDING)


def test_retries_slow_down_and_end() -> None:
    now, tries, gaps = START, 0, []
    while True:
        tries += 1
        due = decide_retry(tries=tries, queued_at=START, now=now)
        if due is None:
            break
        gaps.append(due - now)
        now = due
    assert gaps == sorted(gaps)
    assert gaps[: len(RETRY_DELAYS)] == list(RETRY_DELAYS)
    assert now <= START + GIVE_UP_AFTER
    assert now > START + GIVE_UP_AFTER - timedelta(hours=7)
