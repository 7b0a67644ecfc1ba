"""When a batch ends tells nothing about when anything in it was issued."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.exchange.batches import BATCH, LONGEST_DELAY, choose_batch_end
from tests.fediverse.clock import START

CHANCES = st.floats(min_value=0, max_value=1, exclude_max=True)
TIMES = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=400)).map(lambda gap: START + gap)


@given(TIMES, CHANCES)
def test_a_batch_ends_after_it_began_and_within_a_minute(now: datetime, chance: float) -> None:
    end = choose_batch_end(now, chance=chance)
    assert timedelta() < end - now <= LONGEST_DELAY


@given(CHANCES, st.timedeltas(min_value=timedelta(), max_value=BATCH - timedelta(microseconds=1)))
def test_where_in_its_interval_a_batch_began_does_not_show_in_its_end(
    chance: float, since: timedelta
) -> None:
    assert choose_batch_end(START + since, chance=chance) == choose_batch_end(START, chance=chance)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 30), (0.5, 45)])
def test_chance_moves_the_end_within_the_interval_that_follows(chance: float, seconds: int) -> None:
    assert choose_batch_end(START, chance=chance) == START + timedelta(seconds=seconds)
