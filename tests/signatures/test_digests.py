from __future__ import annotations

import base64
import csv
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.digests import (
    Digest,
    DigestAlgorithm,
    content_digest,
    digest_multibase,
    legacy_digest,
    parse_digest_field,
    parse_digest_multibase,
    parse_legacy_digest,
    repr_digest_of,
    verify_body_digest,
    verify_digests,
)
from signatures.errors import MalformedError, Reason
from tests.signatures.support import Refusal
from tests.vectors_dir import own_vectors, published_vectors


@pytest.mark.parametrize("case", own_vectors("rfc9530/digests.json")["cases"])
def test_examples_of_rfc_9530_verify(case: dict[str, str]) -> None:
    verify_digests(parse_digest_field(case["field"]), case["body"].encode())
    if case["field"].startswith("sha-256"):
        assert content_digest(case["body"].encode()) == case["field"]


@pytest.mark.parametrize("field", own_vectors("rfc9530/digests.json")["refused"])
def test_an_example_with_too_much_padding_is_refused(field: str) -> None:
    with pytest.raises(MalformedError):
        parse_digest_field(field)


def test_all_published_digests_of_rfc_9530() -> None:
    table = json.loads(published_vectors("rfc9530/rfc9530_digests.json").read_text())
    for case in table["verified"]:
        body = bytes.fromhex(case["content_hex"])
        verify_digests(parse_digest_field(f"{case['alg']}=:{case['digest_b64']}:"), body)
        verify_digests(parse_legacy_digest(f"{case['alg'].upper()}={case['digest_b64']}"), body)
    for _, text, _ in table["known_bad_examples"]:
        with pytest.raises(MalformedError):
            parse_digest_field(f"sha-256=:{text}:")


@given(st.binary(max_size=64))
def test_our_own_headers_verify(body: bytes) -> None:
    headers = (("Digest", legacy_digest(body)), ("Content-Digest", content_digest(body)))
    assert verify_body_digest(headers, body) == ("content-digest", "digest")


@given(st.binary(min_size=1, max_size=64), st.data())
def test_a_flipped_bit_of_the_body_never_verifies(body: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(body) * 8 - 1))
    other = bytearray(body)
    other[position // 8] ^= 1 << position % 8
    for line in (("Digest", legacy_digest(body)), ("Content-Digest", content_digest(body))):
        with Refusal(Reason.DIGEST_MISMATCH):
            verify_body_digest((line,), bytes(other))


def test_one_wrong_digest_among_right_ones_is_enough() -> None:
    wrong = base64.b64encode(bytes(64)).decode()
    with Refusal(Reason.DIGEST_MISMATCH):
        verify_body_digest((("Content-Digest", f"{content_digest(b'x')}, sha-512=:{wrong}:"),), b"x")
    with Refusal(Reason.DIGEST_MISMATCH):
        verify_body_digest((("Content-Digest", content_digest(b"x")), ("Digest", legacy_digest(b"y"))), b"x")


def test_without_a_digest_that_we_know_nothing_verifies() -> None:
    with Refusal(Reason.MISSING_DIGEST):
        verify_body_digest((), b"")
    with Refusal(Reason.MISSING_DIGEST):
        verify_body_digest((("Digest", "MD5=1B2M2Y8AsgTpgAmY7PhCfg=="),), b"")
    with Refusal(Reason.MISSING_DIGEST):
        verify_body_digest((("Content-Digest", "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:"),), b"")


def test_a_doubled_digest_header_is_refused_even_if_both_are_right() -> None:
    line = ("Digest", legacy_digest(b"x"))
    with pytest.raises(MalformedError):
        verify_body_digest((line, line), b"x")


@pytest.mark.parametrize(
    ("field", "bug"),
    [
        ("", "an empty field counted as no digest"),
        ("sha-256", "a bare key"),
        ("sha-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "a value that is no byte sequence"),
        ("sha-256=::", "an empty digest"),
        ("sha-256=:AAAA:", "a digest cut short"),
        (f"{content_digest(b'')}, {content_digest(b'')}", "the last of two wins"),
        ("SHA-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "keys in capitals"),
        ("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:,", "a comma at the end"),
        ("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:;x=1", "parameters passed over"),
    ],
)
def test_a_field_that_does_not_parse_is_malformed(field: str, bug: str) -> None:
    with pytest.raises(MalformedError):
        parse_digest_field(field)


def test_legacy_names_are_case_insensitive_and_unknown_ones_are_left_out() -> None:
    text = legacy_digest(b"x").removeprefix("SHA-256=")
    digest = Digest(algorithm=DigestAlgorithm.SHA_256, value=hashlib.sha256(b"x").digest())
    assert parse_legacy_digest(f"sha-256={text},unixsum=30637") == (digest,)


@given(st.text(max_size=120))
def test_parsing_digests_is_total(text: str) -> None:
    for parse in (parse_digest_field, parse_legacy_digest, parse_digest_multibase):
        try:
            parse(text)
        except MalformedError:
            continue


@given(st.binary(min_size=32, max_size=32))
def test_multihashes_round_trip(sha256: bytes) -> None:
    text = digest_multibase(sha256)
    assert len(text) == 47
    assert text.startswith("zQm")
    assert parse_digest_multibase(text) == sha256


def test_published_multihashes_of_sha2_256() -> None:
    with published_vectors("multibase/multihash/test_cases.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["algorithm"] == "sha2-256"]
    whole = [row for row in rows if row["bits"] == "256"]
    assert whole
    for row in whole:
        sha256 = hashlib.sha256(row["input"].encode()).digest()
        assert b"\x12\x20" + sha256 == bytes.fromhex(row["multihash"])
        assert parse_digest_multibase(digest_multibase(sha256)) == sha256


def test_repr_digest_takes_a_digest_that_is_known() -> None:
    assert repr_digest_of(hashlib.sha256(b"x").digest()) == content_digest(b"x")
