from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.errors import MalformedError
from signatures.strictjson import parse_json, parse_json_object

_LIMITS = {"max_bytes": 4_096, "max_depth": 8}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_what_json_writes_is_read_back(value: object) -> None:
    for ascii_only in (False, True):
        data = json.dumps(value, ensure_ascii=ascii_only).encode()
        assert parse_json(data, max_bytes=100_000, max_depth=32) == value


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0dD8e1-.tfn ', max_size=60).map(str.encode))
def test_parsing_json_is_total(data: bytes) -> None:
    for allowed in (False, True):
        try:
            parse_json(data, **_LIMITS, allow_floats=allowed, allow_big_ints=allowed)
        except MalformedError:
            continue


@pytest.mark.parametrize(
    ("data", "bug"),
    [
        (b'{"a":1,"a":2}', "the last of two keys wins, and the first for another reader"),
        (b'{"a":1,"\\u0061":2}', "one key in two spellings"),
        (b'[{"b":{"a":1,"a":1}}]', "duplicates only looked for at the top"),
        (b"[NaN]", "NaN"),
        (b"[Infinity]", "infinity"),
        (b"[-Infinity]", "negative infinity"),
        (b'["\\ud800"]', "a lone surrogate"),
        (b'["\\uDC00"]', "a lone low surrogate"),
        (b'{"\\ud800":1}', "a lone surrogate in a key"),
        (b'["\xed\xa0\x80"]', "a surrogate in UTF-8"),
        (b'["\xff"]', "bytes that are not UTF-8"),
        (b"\xef\xbb\xbf[]", "a byte order mark"),
        ("[]".encode("utf-16"), "UTF-16 detected and read"),
        (b'["a\tb"]', "a control character in a string"),
        (b"[1.0]", "a fraction where only integers may stand"),
        (b"[1e2]", "an exponent where only integers may stand"),
        (b"[9007199254740992]", "2**53, which rounds with its neighbour"),
        (b"[-9007199254740992]", "-2**53"),
        (b"[01]", "a leading zero"),
        (b"[1,]", "a comma at the end"),
        (b"[1] x", "text after the value"),
        (b"", "nothing"),
        (b"[" * 9 + b"]" * 9, "nested deeper than allowed"),
        (b"[" * 2_000, "nested until the stack ends"),
        (b'{"a":' * 700, "objects nested until the stack ends"),
        (b" " * 4_095 + b"[]", "longer than allowed"),
        (b"[1" + b"0" * 1_000 + b"]", "a number that takes a second to read"),
    ],
)
def test_what_two_readers_could_read_differently_is_malformed(data: bytes, bug: str) -> None:
    with pytest.raises(MalformedError):
        parse_json(data, **_LIMITS)


def test_activities_may_have_floats_and_long_identifiers() -> None:
    data = b'{"focalPoint":[0.25,-1E2],"id":123456789012345678901}'
    expected = {"focalPoint": [0.25, -100.0], "id": 123456789012345678901}
    assert parse_json(data, **_LIMITS, allow_floats=True, allow_big_ints=True) == expected
    for options in ({"allow_floats": True}, {"allow_big_ints": True}):
        with pytest.raises(MalformedError):
            parse_json(data, **_LIMITS, **options)


@pytest.mark.parametrize("data", [b"[1e999]", b"[" + b"9" * 65 + b"]", b"[0." + b"1" * 70 + b"]"])
def test_numbers_have_an_end_even_where_they_are_allowed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_json(data, **_LIMITS, allow_floats=True, allow_big_ints=True)


def test_brackets_in_strings_are_not_depth() -> None:
    assert parse_json(rb'["[[[[[[[[[[","\"{{{{{{{{{{"]', **_LIMITS) == ["[[[[[[[[[[", '"{{{{{{{{{{']


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse_json(rb'["\ud83d\ude00"]', **_LIMITS) == ["\U0001f600"]


def test_the_deepest_that_is_allowed_is_read() -> None:
    assert parse_json(b"[" * 8 + b"]" * 8 + b" ", **_LIMITS) == [[[[[[[[]]]]]]]]


@pytest.mark.timeout(10)
def test_a_megabyte_of_quotes_costs_one_pass() -> None:
    for data in (b'[[[[[[[[["' + b'\\"' * 500_000, b'[[[[[[[[["' * 100_000):
        with pytest.raises(MalformedError):
            parse_json(data, max_bytes=2_000_000, max_depth=8)


@pytest.mark.parametrize("data", [b"[]", b'"x"', b"1", b"null"])
def test_an_object_is_nothing_else(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_json_object(data, **_LIMITS)
