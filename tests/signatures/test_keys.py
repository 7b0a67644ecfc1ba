from __future__ import annotations

import json
import re

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from signatures.algorithms import sign_bytes
from signatures.encoding import encode_base58btc, encode_varint
from signatures.errors import MalformedError
from signatures.keys import (
    KeyAlgorithm,
    PrivateKey,
    ed25519_from_seed,
    generate_ed25519,
    generate_rsa,
    parse_ed25519_raw,
    parse_multikey,
    parse_private_key_pem,
    parse_public_key_pem,
)
from tests.signatures.support import ed25519_key, rsa_key
from tests.vectors_dir import own_vectors, published_vectors


@pytest.mark.parametrize("make", [rsa_key, ed25519_key])
def test_keys_survive_every_spelling(make: object) -> None:
    key: PrivateKey = make()  # type: ignore[operator]  # one of two functions without arguments
    assert parse_private_key_pem(key.to_pem()).public == key.public
    assert parse_public_key_pem(key.public.to_pem()) == key.public
    assert parse_multikey(key.public.to_multikey()) == key.public


def test_generated_keys_are_of_the_kind_that_everyone_verifies() -> None:
    assert generate_ed25519().public.algorithm is KeyAlgorithm.ED25519
    made = generate_rsa()
    assert isinstance(made.handle, rsa.RSAPrivateKey)
    assert made.handle.key_size == 2048
    assert generate_ed25519().public != generate_ed25519().public


def test_a_pkcs1_block_is_the_same_key() -> None:
    handle = rsa_key().public.handle
    pem = handle.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode()
    assert pem.startswith("-----BEGIN RSA PUBLIC KEY-----")
    assert parse_public_key_pem(pem) == rsa_key().public


def test_line_ends_and_blanks_around_a_block_do_not_matter() -> None:
    pem = rsa_key().public.to_pem()
    assert parse_public_key_pem("\n" + pem.replace("\n", "\r\n") + "  \n") == rsa_key().public


@pytest.mark.parametrize(
    ("pem", "bug"),
    [
        ("", "nothing taken for a key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "bytes that are no key"),
        ("x" * 5_000, "a text of any length is read"),
        (rsa_key().public.to_pem() * 2, "the first of two keys wins"),
        ("junk" + rsa_key().public.to_pem(), "text before the block is passed over"),
        (rsa_key().to_pem().decode(), "a private key taken for a public one"),
    ],
)
def test_what_is_not_one_public_key_is_malformed(pem: str, bug: str) -> None:
    with pytest.raises(MalformedError):
        parse_public_key_pem(pem)


def test_other_families_are_malformed() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(MalformedError):
        parse_public_key_pem(public.decode())
    with pytest.raises(MalformedError):
        parse_private_key_pem(private)


def test_an_encrypted_private_key_is_malformed() -> None:
    pem = rsa_key().handle.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    with pytest.raises(MalformedError):
        parse_private_key_pem(pem)


def test_a_multikey_of_a_subject_public_key_info_is_malformed() -> None:
    spki = rsa_key().public.spki
    with pytest.raises(MalformedError):
        parse_multikey(encode_base58btc(encode_varint(0x1205) + spki))
    with pytest.raises(MalformedError):
        parse_multikey(encode_base58btc(encode_varint(0xEC) + ed25519_key().public.to_raw()))
    with pytest.raises(MalformedError):
        parse_multikey(encode_base58btc(encode_varint(0xED) + ed25519_key().public.to_raw() + b"\0"))


@given(st.text(max_size=100), st.binary(max_size=100))
def test_parsing_keys_is_total(text: str, data: bytes) -> None:
    for parse in (parse_public_key_pem, parse_multikey):
        with pytest.raises(MalformedError):
            parse(text)
    with pytest.raises(MalformedError):
        parse_private_key_pem(data)


@given(st.text(alphabet="123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", max_size=60))
def test_a_multikey_is_a_key_in_its_one_spelling_or_malformed(digits: str) -> None:
    for text in ("z" + digits, "z6Mk" + digits):
        try:
            key = parse_multikey(text)
        except MalformedError:
            continue
        assert key.to_multikey() == text


@pytest.mark.parametrize("case", own_vectors("rfc8032/section_7_1.json")["cases"], ids=lambda c: c["name"])
def test_rfc_8032_signs_the_same(case: dict[str, str]) -> None:
    key = ed25519_from_seed(bytes.fromhex(case["seed"]))
    assert key.public == parse_ed25519_raw(bytes.fromhex(case["public"]))
    assert sign_bytes(key, bytes.fromhex(case["message"])).hex() == case["signature"]


def test_published_multikeys_of_fep_521a() -> None:
    text = published_vectors("fep/fep/521a/fep-521a.feature").read_text()
    ed25519_hex, rsa_hex = re.findall(r'hex string "([0-9a-f]+)"', text)
    multikeys = [
        json.loads(block)["publicKeyMultibase"] for block in re.findall(r'"""(.*?)"""', text, re.DOTALL)
    ]
    keys = [parse_multikey(multikey) for multikey in multikeys]
    assert [key.to_raw().hex() for key in keys] == [ed25519_hex, rsa_hex]
    assert [key.to_multikey() for key in keys] == multikeys
