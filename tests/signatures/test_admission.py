from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from signatures.admission import admit_key
from signatures.algorithms import SignatureAlgorithm, verify_bytes
from signatures.edwards import P, add, find_point, has_small_order, is_in_prime_subgroup
from signatures.encoding import encode_base58btc
from signatures.errors import Reason
from signatures.keys import (
    PublicKey,
    ed25519_from_seed,
    parse_ed25519_raw,
    parse_multikey,
    parse_public_key_pem,
)
from tests.signatures.support import Refusal, ed25519_key, rsa_key
from tests.vectors_dir import own_vectors

# The eight points whose order divides 8, and the ways to spell them that are not canonical as well.
# Source: "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020), table 6.
_SMALL_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
)
_NOT_CANONICAL = (
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def _rsa(n: int, e: int) -> PublicKey:
    return parse_multikey(_multikey(rsa.RSAPublicNumbers(e, n).public_key()))


def _multikey(key: rsa.RSAPublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    return encode_base58btc(b"\x85\x24" + der)


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=20, deadline=None)
def test_every_honest_ed25519_key_is_admitted(seed: bytes) -> None:
    admit_key(ed25519_from_seed(seed).public)


def test_an_honest_rsa_key_is_admitted() -> None:
    admit_key(rsa_key().public, allow_published_test_keys=True)


@pytest.mark.parametrize("raw", [*_SMALL_ORDER, *_NOT_CANONICAL])
def test_weak_points_are_refused(raw: str) -> None:
    with Refusal(Reason.KEY_REFUSED):
        admit_key(parse_ed25519_raw(bytes.fromhex(raw)))


def test_what_admission_is_for() -> None:
    """Under the neutral element one constant signature verifies every message."""
    neutral = bytes.fromhex(_SMALL_ORDER[0])
    key = parse_ed25519_raw(neutral)
    for message in (b"one", b"two"):
        verify_bytes(key, SignatureAlgorithm.ED25519, neutral + bytes(32), message)


def test_a_point_with_a_torsion_part_is_refused() -> None:
    """An honest key plus a point of order 8 verifies under some verifiers and not under others."""
    honest = find_point(ed25519_key().public.to_raw())
    torsion = find_point(bytes.fromhex(_SMALL_ORDER[4]))
    assert honest is not None
    assert torsion is not None
    x, y, z, _ = add(honest, torsion)
    inverse = pow(z, -1, P)
    x, y = x * inverse % P, y * inverse % P
    raw = (y | (x & 1) << 255).to_bytes(32, "little")
    mixed = find_point(raw)
    assert mixed is not None
    assert not has_small_order(mixed)
    assert not is_in_prime_subgroup(mixed)
    with Refusal(Reason.KEY_REFUSED):
        admit_key(parse_ed25519_raw(raw))


def test_a_point_has_one_encoding() -> None:
    for number in range(P, 2**255):
        assert find_point(number.to_bytes(32, "little")) is None
    for x_is_zero in (1, P - 1):
        assert find_point(x_is_zero.to_bytes(32, "little")) is not None
        assert find_point((x_is_zero | 1 << 255).to_bytes(32, "little")) is None


def test_a_number_that_is_no_point_is_refused() -> None:
    raw = (2).to_bytes(32, "little")
    assert find_point(raw) is None
    with Refusal(Reason.KEY_REFUSED):
        admit_key(parse_ed25519_raw(raw))


@pytest.mark.parametrize(
    ("bits", "exponent", "bug"),
    [
        (2047, 65_537, "a modulus that can be factored"),
        (8193, 65_537, "a modulus that costs more than it should"),
        (2048, 3, "an exponent small enough for forged padding"),
        (2048, 2**32 + 1, "an exponent that slows verification down"),
    ],
)
def test_weak_rsa_keys_are_refused(bits: int, exponent: int, bug: str) -> None:
    with Refusal(Reason.KEY_REFUSED):
        admit_key(_rsa(2 ** (bits - 1) + 1, exponent))


def test_an_even_modulus_is_refused() -> None:
    with Refusal(Reason.KEY_REFUSED):
        admit_key(_rsa(2**2047 + 2, 65_537))


def test_published_keys_are_refused_unless_allowed() -> None:
    table = own_vectors("rfc9421/examples.json")["keys"]
    published = [
        parse_public_key_pem(table[name]["public_pem"])
        for name in ("test-key-rsa", "test-key-rsa-pss", "test-key-ed25519")
    ]
    published += [
        parse_ed25519_raw(bytes.fromhex(case["public"]))
        for case in own_vectors("rfc8032/section_7_1.json")["cases"]
    ]
    published.append(parse_multikey(own_vectors("fep-8b32/documents.json")["public_multibase"]))
    for key in published:
        admit_key(key, allow_published_test_keys=True)
        with Refusal(Reason.KEY_REFUSED):
            admit_key(key)


def test_an_rsa_key_of_1024_bits_is_refused_whatever_is_allowed() -> None:
    key = parse_public_key_pem(own_vectors("cavage-12/appendix_c.json")["public_pem"])
    with Refusal(Reason.KEY_REFUSED):
        admit_key(key, allow_published_test_keys=True)
