from __future__ import annotations

import hashlib
import json
import math
import struct

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from signatures.errors import MalformedError
from signatures.jcs import canonicalize, digest_of_document
from signatures.strictjson import JsonValue, parse_json
from tests.vectors_dir import own_vectors, published_vectors

_VALUES = own_vectors("rfc8785/values.json")
_FREE = {"max_bytes": 1_000_000, "max_depth": 32, "allow_floats": True}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.dictionaries(st.text(alphabet='abA@\x01"\\~', max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def _double(text: str) -> float:
    value: float = struct.unpack(">d", bytes.fromhex(text))[0]
    return value


@pytest.mark.parametrize("case", _VALUES["objects"], ids=lambda case: case["name"])
def test_the_examples_of_rfc_8785(case: dict[str, str]) -> None:
    assert canonicalize(parse_json(case["input"].encode(), **_FREE)).decode() == case["output"]


@pytest.mark.parametrize(("bits", "text"), _VALUES["numbers"])
def test_the_numbers_of_rfc_8785(bits: str, text: str) -> None:
    assert canonicalize([_double(bits)]).decode() == f"[{text}]"


@pytest.mark.parametrize("bits", _VALUES["refused_numbers"])
def test_what_is_no_number_in_json_is_refused(bits: str) -> None:
    with pytest.raises(MalformedError):
        canonicalize([_double(bits)])


@given(json_values)
def test_the_fast_way_gives_the_bytes_of_the_other(value: JsonValue) -> None:
    assert canonicalize(value) == rfc8785.dumps(value)


@given(json_values)
def test_canonicalizing_twice_changes_nothing(value: JsonValue) -> None:
    once = canonicalize(value)
    again = parse_json(once, max_bytes=len(once), max_depth=64, allow_floats=True, allow_big_ints=True)
    try:
        assert canonicalize(again) == once
    except MalformedError:
        # A float such as 1e20 is written without a fraction and comes back as a large integer.
        assert any(character.isdigit() for character in once.decode())


@pytest.mark.parametrize(
    "value",
    [2**53, -(2**53), math.nan, math.inf, "\ud800", {"\ud800": 1}, {1: 2}, b"x", object(), {"a": {1}}],
)
def test_what_is_not_json_is_refused(value: object) -> None:
    for nested in (value, [value], {"a": value}):
        with pytest.raises(MalformedError):
            canonicalize(nested)  # type: ignore[arg-type]  # that is the point


def test_a_value_nested_without_end_is_refused() -> None:
    value: list[JsonValue] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(MalformedError):
        canonicalize(value)


def test_a_document_has_one_digest_however_it_is_written() -> None:
    assert digest_of_document({"b": 1, "a": "x"}) == hashlib.sha256(b'{"a":"x","b":1}').digest()


def test_published_documents() -> None:
    folder = published_vectors("jcs/testdata")
    names = sorted(path.name for path in (folder / "input").iterdir())
    assert len(names) == 6
    for name in names:
        value = json.loads((folder / "input" / name).read_bytes())
        expected = (folder / "output" / name).read_bytes()
        assert canonicalize(value) == expected.rstrip(b"\n")


def test_ten_thousand_published_numbers() -> None:
    lines = published_vectors("jcs/es6testfile_10000.txt").read_text().splitlines()
    assert len(lines) == 10_000
    for line in lines:
        bits, text = line.split(",")
        assert canonicalize([_double(bits.zfill(16))]).decode() == f"[{text}]"
