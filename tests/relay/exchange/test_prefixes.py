"""A prefix names its bucket and nothing finer, in one spelling, and is hidden among others."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.exchange.prefixes import (
    MAX_BITS,
    PADDED_TO,
    Prefix,
    cut_prefix,
    decide_bits,
    pad_prefixes,
    parse_prefix,
)
from signatures.errors import MalformedError

DIGESTS = st.binary(min_size=32, max_size=32)
BITS = st.integers(min_value=0, max_value=MAX_BITS)


def _draw(seed: int) -> random.Random:
    return random.Random(seed)


@given(DIGESTS, BITS)
def test_what_is_written_is_read_as_the_same(sha256: bytes, bits: int) -> None:
    prefix = cut_prefix(sha256, bits=bits)
    assert parse_prefix(str(prefix), bits=bits) == prefix


@given(DIGESTS, DIGESTS, BITS)
def test_a_bucket_holds_exactly_the_digests_that_begin_so(sha256: bytes, other: bytes, bits: int) -> None:
    prefix = cut_prefix(sha256, bits=bits)
    assert prefix.first <= sha256 <= prefix.last
    assert (prefix.first <= other <= prefix.last) == (cut_prefix(other, bits=bits) == prefix)


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("", 4),
        ("a", 0),
        ("ab", 4),
        ("A", 4),
        ("g", 4),
        ("+1", 8),
        ("\u0661", 4),
        ("1", 3),  # The lowest bit is beyond three.
        ("a3f1", 12),
        ("a31", 11),
        (" a", 8),
    ],
)
def test_any_other_spelling_is_refused(text: str, bits: int) -> None:
    with pytest.raises(MalformedError):
        parse_prefix(text, bits=bits)


@pytest.mark.parametrize(
    ("live", "bits"), [(0, 0), (256, 0), (511, 0), (512, 1), (1_023, 1), (1_000_000, 11), (1 << 90, 64)]
)
def test_a_bucket_holds_about_256(live: int, bits: int) -> None:
    assert decide_bits(live) == bits


@given(st.sets(st.integers(0, 2**12 - 1), min_size=1, max_size=300), st.integers())
def test_a_question_is_padded_so_that_it_does_not_tell_how_many_are_meant(
    values: set[int], seed: int
) -> None:
    wanted = {Prefix(bits=12, value=value) for value in values}
    questions = list(pad_prefixes(wanted, bits=12, draw=_draw(seed).randrange))

    assert {len(question) for question in questions} <= set(PADDED_TO)
    assert wanted <= {prefix for question in questions for prefix in question}
    for question in questions:
        # In the order of their values, so that the order does not tell them apart either.
        assert [prefix.value for prefix in question] == sorted({prefix.value for prefix in question})


def test_where_there_are_fewer_buckets_than_padding_all_are_asked_for() -> None:
    wanted = [Prefix(bits=1, value=1)]
    (question,) = pad_prefixes(wanted, bits=1, draw=_draw(1).randrange)
    assert [prefix.value for prefix in question] == [0, 1]
    assert [str(prefix) for prefix in question] == ["0", "8"]
    (everything,) = pad_prefixes([Prefix(bits=0, value=0)], bits=0, draw=_draw(1).randrange)
    assert [str(prefix) for prefix in everything] == [""]
