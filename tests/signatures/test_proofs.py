from __future__ import annotations

import copy
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.algorithms import sign_bytes
from signatures.encoding import decode_base58btc, encode_base58btc
from signatures.errors import MalformedError, Reason
from signatures.keys import PrivateKey, ed25519_from_seed, parse_multikey
from signatures.proofs import add_proof, build_hash_data, get_proof, verify_proof
from signatures.times import parse_json_time
from tests.signatures.support import NOW, Refusal, ed25519_key, rsa_key
from tests.signatures.test_jcs import json_values
from tests.vectors_dir import own_vectors, published_vectors

_TABLE = own_vectors("fep-8b32/documents.json")
_METHOD = "https://server.example/users/alice#ed25519-key"
_DOCUMENT: dict[str, Any] = {"@context": ["https://www.w3.org/ns/activitystreams"], "type": "Note"}


def _secret(multibase: str) -> PrivateKey:
    """Read an Ed25519 private key as the specifications print it (multicodec 0x1300)."""
    data = decode_base58btc(multibase)
    assert data[:2] == b"\x80\x26"
    return ed25519_from_seed(data[2:34])


def _signed(document: dict[str, Any] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = add_proof(
        copy.deepcopy(_DOCUMENT if document is None else document),
        key=ed25519_key(),
        verification_method=_METHOD,
        created=NOW,
    )
    return made


def test_fep_8b32_verifies_and_signs_the_same() -> None:
    key = _secret(_TABLE["secret_multibase"])
    assert parse_multikey(_TABLE["public_multibase"]) == key.public
    verify_proof(_TABLE["signed"], key=key.public)
    made = add_proof(
        _TABLE["unsigned"],
        key=key,
        verification_method=_TABLE["verification_method"],
        created=parse_json_time(_TABLE["created"]),
    )
    assert made == _TABLE["signed"]


def test_the_form_of_2023_does_not_pass_as_current() -> None:
    with Refusal(Reason.WRONG_CONTEXT):
        verify_proof(_TABLE["older"], key=parse_multikey(_TABLE["public_multibase"]))
    assert "@context" in _TABLE["older"]


def _blocks(path: str) -> list[dict[str, Any]]:
    text = published_vectors(path).read_text()
    return [json.loads(block) for block in re.findall(r'"""(.*?)"""', text, re.DOTALL)]


def test_the_published_documents_of_fep_8b32() -> None:
    _, signed, again, actor = _blocks("fep/fep/8b32/fep-8b32.feature")
    key = parse_multikey(actor["assertionMethod"][0]["publicKeyMultibase"])
    assert signed == again == _TABLE["signed"]
    verify_proof(signed, key=key)
    _, older, _, _ = _blocks("fep/fep-8b32.older-2023.feature")
    assert older == _TABLE["older"]


def test_the_published_identity_proof_of_fep_c390() -> None:
    claim, signed, actor = _blocks("fep/fep/c390/fep-c390.feature")
    key = parse_multikey(claim["subject"].removeprefix("did:key:"))
    verify_proof(signed, key=key)
    assert actor["attachment"] == [signed]
    secret = _secret(_TABLE["secret_multibase"])
    proof = signed["proof"]
    made = add_proof(
        claim,
        key=secret,
        verification_method=proof["verificationMethod"],
        created=parse_json_time(proof["created"]),
    )
    assert made == signed


def test_the_published_credential_of_vc_di_eddsa() -> None:
    folder = published_vectors("vc-di-eddsa/TestVectors")
    key = parse_multikey(json.loads((folder / "keyPair.json").read_text())["publicKeyMultibase"])
    signed = json.loads((folder / "eddsa-jcs-2022/signedJCS.json").read_text())
    verify_proof(signed, key=key)
    hashes = build_hash_data(signed, signed["proof"]).hex()
    assert hashes == (folder / "eddsa-jcs-2022/combinedHashJCS.txt").read_text().strip()
    other = json.loads((folder / "eddsa-rdfc-2022/signedDataInt.json").read_text())
    with Refusal(Reason.WRONG_SUITE):
        verify_proof(other, key=key)


@pytest.mark.parametrize("name", ["signedProofSet2", "signedProofChain2"])
def test_published_documents_with_several_proofs_are_refused(name: str) -> None:
    document = json.loads(
        published_vectors(f"vc-di-eddsa/TestVectors/proof-set-chain/{name}.json").read_text()
    )
    with Refusal(Reason.WRONG_PROOF):
        verify_proof(document, key=ed25519_key().public)


@given(
    st.dictionaries(st.text().filter(lambda name: name not in {"proof", "@context"}), json_values, max_size=4)
)
def test_what_we_sign_verifies_whatever_it_holds(members: dict[str, Any]) -> None:
    try:
        signed = _signed({**_DOCUMENT, **members})
    except MalformedError:
        return  # A float that no integer of 53 bits can be told from.
    verify_proof(signed, key=ed25519_key().public)
    with Refusal(Reason.BAD_SIGNATURE):
        verify_proof({**signed, "type": "Other"}, key=ed25519_key().public)


def test_every_bit_of_the_signature_counts() -> None:
    signed = _signed()
    signature = decode_base58btc(signed["proof"]["proofValue"])
    for bit in range(512):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        signed["proof"]["proofValue"] = encode_base58btc(bytes(changed))
        with Refusal(Reason.BAD_SIGNATURE):
            verify_proof(signed, key=ed25519_key().public)


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("type", "Ed25519Signature2020", Reason.WRONG_SUITE),
        ("cryptosuite", "eddsa-rdfc-2022", Reason.WRONG_SUITE),
        ("proofPurpose", "authentication", Reason.WRONG_PURPOSE),
        ("@context", ["https://evil.example/"], Reason.WRONG_CONTEXT),
        ("@context", ["https://www.w3.org/ns/activitystreams", "x"], Reason.WRONG_CONTEXT),
        ("created", "2026-11-22T03:00:01Z", Reason.BAD_SIGNATURE),
        # A fraction and an offset are well-formed: other implementations write them.
        ("created", "2026-11-22T03:00:00.25+01:00", Reason.BAD_SIGNATURE),
        ("verificationMethod", "https://server.example/other", Reason.BAD_SIGNATURE),
        ("nonce", "x", Reason.BAD_SIGNATURE),
    ],
)
def test_every_option_of_a_proof_counts(member: str, value: object, reason: Reason) -> None:
    signed = _signed()
    signed["proof"][member] = value
    with Refusal(reason):
        verify_proof(signed, key=ed25519_key().public)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("proofValue", None),
        ("proofValue", "z1"),
        ("proofValue", 1),
        ("created", "now"),
        ("verificationMethod", 1),
    ],
)
def test_a_proof_with_a_broken_member_is_malformed(member: str, value: object) -> None:
    signed = _signed()
    signed["proof"][member] = value
    with pytest.raises(MalformedError):
        verify_proof(signed, key=ed25519_key().public)


@pytest.mark.parametrize("proof", [None, [], "x", 1, [{}, {}]])
def test_without_exactly_one_proof_nothing_verifies(proof: object) -> None:
    with Refusal(Reason.WRONG_PROOF):
        get_proof({**_DOCUMENT, "proof": proof})  # type: ignore[dict-item]  # that is the point
    with Refusal(Reason.WRONG_PROOF):
        get_proof(_DOCUMENT)


def test_a_context_that_only_starts_the_same_is_what_was_signed() -> None:
    """vc-di-eddsa lets a document gain contexts at the end; whoever minds compares them (attestations do)."""
    signed = _signed()
    signed["@context"] = [*signed["@context"], "https://more.example/"]
    verify_proof(signed, key=ed25519_key().public)
    signed["@context"].reverse()
    with Refusal(Reason.WRONG_CONTEXT):
        verify_proof(signed, key=ed25519_key().public)


def test_an_empty_context_is_not_the_absence_of_one() -> None:
    signed = _signed({"type": "Note"})
    verify_proof(signed, key=ed25519_key().public)
    signed["proof"]["@context"] = []
    with Refusal(Reason.WRONG_CONTEXT):
        verify_proof(signed, key=ed25519_key().public)


def test_a_proof_with_an_end_needs_a_time_and_obeys_it() -> None:
    key = ed25519_key()
    proof = {**_signed()["proof"], "expires": "2026-11-22T04:00:00Z"}
    signature = sign_bytes(key, build_hash_data(_DOCUMENT, proof))
    signed = {**_DOCUMENT, "proof": {**proof, "proofValue": encode_base58btc(signature)}}
    verify_proof(signed, key=key.public, now=NOW)
    for now in (None, NOW + timedelta(hours=1)):
        with Refusal(Reason.EXPIRED):
            verify_proof(signed, key=key.public, now=now)


def test_rsa_neither_makes_nor_verifies_a_proof() -> None:
    with Refusal(Reason.WRONG_KEY):
        verify_proof(_signed(), key=rsa_key().public)
    with pytest.raises(ValueError, match="Ed25519"):
        add_proof(_DOCUMENT, key=rsa_key(), verification_method=_METHOD, created=NOW)


def test_nothing_is_proved_twice() -> None:
    with pytest.raises(ValueError, match="already"):
        add_proof(_signed(), key=ed25519_key(), verification_method=_METHOD, created=NOW)
