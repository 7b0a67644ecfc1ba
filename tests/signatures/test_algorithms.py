from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.algorithms import SignatureAlgorithm, sign_bytes, verify_bytes
from signatures.errors import Reason
from signatures.keys import PrivateKey, ed25519_from_seed, parse_ed25519_raw
from tests.signatures.support import Refusal, ed25519_key, rsa_key
from tests.vectors_dir import published_vectors

_PAIRS = [
    (rsa_key(), SignatureAlgorithm.RSA_V1_5_SHA256),
    (ed25519_key(), SignatureAlgorithm.ED25519),
]


@pytest.mark.parametrize(("key", "algorithm"), _PAIRS)
@given(data=st.binary(max_size=64), choice=st.data())
def test_a_flipped_bit_never_verifies(
    key: PrivateKey, algorithm: SignatureAlgorithm, data: bytes, choice: st.DataObject
) -> None:
    signature = sign_bytes(key, data)
    verify_bytes(key.public, algorithm, signature, data)
    whole = bytearray(signature + data)
    bit = choice.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    with Refusal(Reason.BAD_SIGNATURE):
        verify_bytes(key.public, algorithm, bytes(whole[: len(signature)]), bytes(whole[len(signature) :]))


@pytest.mark.parametrize("length", [0, 63, 65, 256])
def test_a_signature_of_the_wrong_length_never_verifies(length: int) -> None:
    with Refusal(Reason.BAD_SIGNATURE):
        verify_bytes(ed25519_key().public, SignatureAlgorithm.ED25519, bytes(length), b"")
    with Refusal(Reason.BAD_SIGNATURE):
        verify_bytes(rsa_key().public, SignatureAlgorithm.RSA_V1_5_SHA256, bytes(length), b"")


@pytest.mark.parametrize("algorithm", list(SignatureAlgorithm))
def test_a_key_of_another_family_is_refused_and_never_tried(algorithm: SignatureAlgorithm) -> None:
    other = rsa_key() if algorithm is SignatureAlgorithm.ED25519 else ed25519_key()
    with Refusal(Reason.WRONG_KEY):
        verify_bytes(other.public, algorithm, bytes(64), b"")


def test_published_ed25519_signatures_in_both_directions() -> None:
    lines = published_vectors("ed25519/sign.input").read_text().splitlines()
    assert len(lines) == 1024
    for line in lines:
        secret, public, message, signed = (bytes.fromhex(part) for part in line.split(":")[:4])
        key = ed25519_from_seed(secret[:32])
        assert key.public == parse_ed25519_raw(public)
        assert sign_bytes(key, message) == signed[:64]
        verify_bytes(key.public, SignatureAlgorithm.ED25519, signed[:64], message)
