from __future__ import annotations

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.errors import MalformedError
from signatures.fields import build_attestation_field, parse_attestation_field
from signatures.objects import MAX_OBJECT_BYTES
from tests.signatures.test_attestation import build


def test_an_attestation_travels_in_a_header_of_a_sensible_length() -> None:
    value = build_attestation_field(build())
    assert len(value) < 1_800
    assert parse_attestation_field(f" {value}\t") == build()


@given(st.binary(min_size=1, max_size=MAX_OBJECT_BYTES))
def test_the_field_is_a_byte_sequence_to_other_parsers_too(data: bytes) -> None:
    value = build_attestation_field(data)
    assert http_sf.parse(value.encode(), tltype="item")[0] == data
    assert parse_attestation_field(value) == data


@pytest.mark.parametrize(
    "value", ["", ":", "::", "AAAA", ":AA=A:", ":AAAA", ":AAAA:;x", ":AAAA:, :AAAA:", ":QR==:"]
)
def test_what_is_not_one_byte_sequence_is_malformed(value: str) -> None:
    with pytest.raises(MalformedError):
        parse_attestation_field(value)


def test_a_field_longer_than_any_object_is_malformed() -> None:
    with pytest.raises(MalformedError):
        parse_attestation_field(build_attestation_field(bytes(MAX_OBJECT_BYTES + 3)))


@given(st.text(max_size=40))
def test_parsing_is_total(value: str) -> None:
    try:
        data = parse_attestation_field(value)
    except MalformedError:
        return
    assert build_attestation_field(data) == value.strip(" \t")
