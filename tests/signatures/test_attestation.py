from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.attestation import AttestationBody, Coverage, build_attestation, parse_attestation
from signatures.attestation_verify import verify_attestation
from signatures.errors import MalformedError, SignatureError, VerificationError
from signatures.objects import CONTEXT, IssuerKey, build_signed_object
from tests.signatures.support import NOW, ed25519_key, rsa_key

ACTOR = "https://relay.a.example/actor"
KEY = ed25519_key("relay")
KEY_ID = f"{ACTOR}#{KEY.public.to_multikey()}"
ISSUER = IssuerKey(actor=ACTOR, key_id=KEY_ID, key=KEY.public)

BODY = AttestationBody(
    id="https://relay.a.example/attestations/1",
    issuer=ACTOR,
    audience=f"{ACTOR}/peers",
    published=NOW,
    end_time=NOW + timedelta(days=7),
    salt=bytes(range(16)),
    sha256=bytes(range(32)),
    size=15_356,
    media_type="image/jpeg",
    coverage=Coverage.FULL,
    profile="https://relay.a.example/profiles/image-2",
    state_as_of=NOW - timedelta(hours=2),
    state_sha256=bytes(range(1, 33)),
)


def build(**changes: Any) -> bytes:
    return build_attestation(replace(BODY, **changes), key=KEY, verification_method=KEY_ID)


digests = st.binary(min_size=32, max_size=32)
bodies = st.builds(
    replace,
    st.just(BODY),
    salt=st.binary(min_size=16, max_size=16),
    sha256=digests,
    size=st.integers(1, 2**53 - 1),
    media_type=st.sampled_from(["image/png", "image/svg+xml", "video/mp4"]),
    end_time=st.integers(1, 30 * 86_400).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    state_as_of=st.integers(0, 10**8).map(lambda seconds: NOW - timedelta(seconds=seconds)),
    state_sha256=digests,
    scan_commitment=st.none() | digests,
)


@given(bodies)
def test_what_is_built_parses_to_the_same_and_verifies(body: AttestationBody) -> None:
    data = build_attestation(body, key=KEY, verification_method=KEY_ID)
    attestation = parse_attestation(data)
    assert attestation.body == body
    assert attestation.raw == data
    assert attestation.verification_method == KEY_ID
    verify_attestation(attestation, issuer_key=ISSUER, now=NOW)


def test_an_attestation_is_small_and_holds_neither_scores_nor_addresses_of_media() -> None:
    data = build()
    assert len(data) < 1_300
    document = json.loads(data)
    assert document["@context"] == list(CONTEXT)
    assert set(document) == {
        "@context", "id", "type", "attributedTo", "to", "published", "endTime", "salt", "media", "verdict",
        "basis", "coverage", "profile", "state", "proof",
    }  # fmt: skip
    assert set(document["media"]) == {"digestMultibase", "size", "mediaType"}


def test_no_flipped_bit_verifies() -> None:
    data = build(scan_commitment=bytes(32))
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            verify_attestation(parse_attestation(bytes(changed)), issuer_key=ISSUER, now=NOW)
        except SignatureError:
            continue
        pytest.fail(f"bit {bit} is not signed")


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_parsing_is_total(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_attestation(data)


_json = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text())
)


@given(st.data())
def test_parsing_is_total_whatever_stands_in_a_member(choice: st.DataObject) -> None:
    document = json.loads(build())
    place = choice.draw(st.sampled_from([document, document["media"], document["state"], document["proof"]]))
    place[choice.draw(st.sampled_from(sorted(place)))] = choice.draw(_json)
    try:
        attestation = parse_attestation(json.dumps(document).encode())
    except SignatureError:
        return
    # What parses all the same was drawn equal, or is of the right form and not what was signed.
    try:
        verify_attestation(attestation, issuer_key=ISSUER, now=NOW)
    except VerificationError:
        return
    assert document == json.loads(build())


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0},
        {"salt": bytes(15)},
        {"media_type": "text/html"},
        {"coverage": Coverage.SAMPLED},
        {"id": "https://relay.b.example/1"},
        {"profile": "image-2"},
        {"profile": "https://relay.a.example/" + "x" * 8_000},
        {"size": 2**53},
    ],
)
def test_what_receivers_refuse_is_never_built(changes: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        build(**changes)


def test_only_an_ed25519_key_attests() -> None:
    with pytest.raises(ValueError, match="Ed25519"):
        build_attestation(BODY, key=rsa_key(), verification_method=KEY_ID)


def test_http_is_for_the_caller_to_allow() -> None:
    actor = "http://127.0.0.1:8080/actor"
    local = replace(BODY, id="http://127.0.0.1:8080/1", issuer=actor, profile="http://127.0.0.1:8080/p")
    data = build_attestation(local, key=KEY, verification_method=f"{actor}#k")
    assert parse_attestation(data, allow_http=True).body == local
    with pytest.raises(MalformedError):
        parse_attestation(data)


def test_members_that_nobody_knows_are_signed_and_kept() -> None:
    document = json.loads(build())
    del document["proof"], document["@context"]
    document["extension"] = {"a": 1}
    data = build_signed_object(document, key=KEY, verification_method=KEY_ID, created=NOW)
    attestation = parse_attestation(data)
    verify_attestation(attestation, issuer_key=ISSUER, now=NOW)
    assert b'"extension":{"a":1}' in attestation.raw
