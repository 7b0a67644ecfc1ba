from __future__ import annotations

import csv
import json

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.encoding import (
    MAX_BASE58_CHARS,
    decode_base58btc,
    decode_base64,
    decode_base64url,
    decode_varint,
    encode_base58btc,
    encode_base64,
    encode_base64url,
    encode_varint,
)
from signatures.errors import MalformedError
from tests.vectors_dir import published_vectors


@given(st.binary(max_size=200))
def test_every_encoding_gives_back_what_it_was_given(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data
    assert decode_base58btc(encode_base58btc(data)) == data
    assert decode_base64url(encode_base64url(data), size=len(data)) == data


@given(st.binary(max_size=100))
def test_base58_agrees_with_another_implementation(data: bytes) -> None:
    assert encode_base58btc(data) == "z" + base58.b58encode(data).decode()


@given(st.text(max_size=80))
def test_decoders_give_a_value_or_say_malformed(text: str) -> None:
    for decode in (decode_base64, decode_base58btc, lambda t: decode_base64url(t, size=16)):
        try:
            data = decode(text)
        except MalformedError:
            continue
        assert text in {encode_base64(data), encode_base58btc(data), encode_base64url(data)}


@pytest.mark.parametrize(
    ("text", "bug"),
    [
        ("QQ", "padding left out"),
        ("QQ=", "padding cut short"),
        ("QQ===", "padding overdone"),
        ("QR==", "trailing bits that are not zero: two spellings of one signature"),
        ("QQ==QQ==", "data after the padding"),
        ("Q Q==", "blanks inside"),
        ("QQ==\n", "a line break at the end"),
        ("_-8=", "the alphabet of URLs"),
        ("\uff31\uff31==", "full-width letters"),
    ],
)
def test_base64_has_one_spelling(text: str, bug: str) -> None:
    with pytest.raises(MalformedError):
        decode_base64(text)


def test_a_long_base58_text_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(MalformedError):
        decode_base58btc("z" + "2" * MAX_BASE58_CHARS)
    with pytest.raises(MalformedError):
        decode_base58btc("z" + "2" * 100_000)


@pytest.mark.parametrize("name", ["basic", "leading_zero", "two_leading_zeros"])
def test_published_multibase_values(name: str) -> None:
    path = published_vectors(f"multibase/tests/{name}.csv")
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines, skipinitialspace=True))
    plain = rows[0][1].encode().decode("unicode_escape").encode("latin-1")
    values = dict(rows[1:])
    assert encode_base58btc(plain) == values["base58btc"]
    assert decode_base58btc(values["base58btc"]) == plain
    assert encode_base64url(plain) == values["base64url"]
    assert decode_base64url(values["base64url"], size=len(plain)) == plain


@given(st.integers(min_value=0, max_value=2**62), st.binary(max_size=8))
def test_varints_round_trip_and_leave_the_rest(value: int, rest: bytes) -> None:
    assert decode_varint(encode_varint(value) + rest) == (value, rest)


@given(st.binary(max_size=12))
def test_varints_have_one_spelling(data: bytes) -> None:
    try:
        value, rest = decode_varint(data)
    except MalformedError:
        return
    assert encode_varint(value) + rest == data


def test_published_varints() -> None:
    for case in json.loads(published_vectors("multibase/varint/varint_vectors.json").read_text()):
        data = bytes.fromhex(case["hex"])
        if "error" in case:
            with pytest.raises(MalformedError):
                decode_varint(data)
        else:
            assert decode_varint(data) == (case["value"], b"")
            assert encode_varint(case["value"]) == data
