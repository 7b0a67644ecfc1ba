"""Thresholds are proposed by what the pictures support at worst, never by what they show at best."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.classifier_thresholds import (
    count_needed,
    count_share,
    histogram,
    propose_by_benign,
    propose_by_rulings,
)


def test_the_bounds_are_those_of_the_published_examples() -> None:
    # Source: Brown, Cai and DasGupta 2001; Newcombe 1998, table I (81 of 263, 15 of 148, 0 of 20).
    for count, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        share = count_share(count, total)
        assert (share.low, share.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert count_share(0, 0).high == 1


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_share_lies_within_its_bounds(count: int, more: int) -> None:
    share = count_share(count, count + more)
    assert 0 <= share.low <= count / (count + more) <= share.high <= 1


@given(st.floats(0.0005, 0.5))
def test_so_many_pictures_are_needed_and_not_fewer(rate: float) -> None:
    needed = count_needed(rate)
    assert count_share(0, needed).high <= rate
    assert count_share(0, max(needed - 2, 1)).high > rate


@given(st.lists(st.integers(0, 1000), max_size=400), st.floats(0.01, 0.5))
def test_the_proposed_threshold_is_the_lowest_that_keeps_the_rate(scores: list[int], rate: float) -> None:
    array = np.array(scores, dtype=np.int64)
    proposal = propose_by_benign(array, rate=rate)
    keeps = [t for t in range(1, 1001) if count_share(int((array >= t).sum()), len(array)).high <= rate]
    assert proposal.threshold_permille == (keeps[0] if keeps else None)
    if keeps:
        assert proposal.wrong.count == int((array >= keeps[0]).sum())


def test_too_few_pictures_propose_nothing_and_say_how_many_it_takes() -> None:
    proposal = propose_by_benign(np.zeros(100, dtype=np.int64), rate=0.001)
    assert proposal.threshold_permille is None
    assert proposal.needed == 3838
    assert propose_by_benign(np.zeros(3838, dtype=np.int64), rate=0.001).threshold_permille == 1


def test_rulings_raise_a_threshold_and_never_lower_it() -> None:
    rulings = [(600, False)] * 30 + [(700, True)] * 60 + [(100, True)] * 50
    proposal = propose_by_rulings(rulings, rate=0.1, at_least=500)
    assert proposal.threshold_permille == 601
    assert (proposal.wrong.count, proposal.wrong.total) == (0, 60)
    assert proposal.kept is not None
    assert (proposal.kept.count, proposal.kept.total) == (60, 60)
    # Everything was upheld, yet nobody knows what lies below.
    assert propose_by_rulings([(900, True)] * 60, rate=0.1, at_least=500).threshold_permille == 500


def test_rulings_that_contradict_each_other_propose_nothing() -> None:
    proposal = propose_by_rulings([(800, True), (800, False)] * 40, rate=0.1, at_least=500)
    assert proposal.threshold_permille is None
    assert (proposal.wrong.count, proposal.wrong.total) == (40, 80)


def test_every_score_falls_into_one_bin() -> None:
    bins = histogram(np.array([0, 49, 50, 999, 1000]))
    assert (bins[0], bins[1], bins[-1], sum(bins)) == (2, 1, 2, 5)
