from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from signatures.algorithms import SignatureAlgorithm, sign_bytes
from signatures.cavage import (
    CavageSignature,
    build_cavage_header,
    build_signing_string,
    parse_cavage,
    verify_cavage,
)
from signatures.digests import verify_body_digest
from signatures.encoding import encode_base64
from signatures.errors import MalformedError, Reason
from signatures.http import Scheme, find_signature
from signatures.keys import PrivateKey, parse_public_key_pem
from signatures.message import RequestMessage
from tests.signatures.support import (
    KEY_ID,
    Refusal,
    ed25519_key,
    header,
    message_of,
    post,
    private_key,
    request_of_bytes,
    rsa_key,
)
from tests.vectors_dir import own_vectors, published_vectors

_TABLE = own_vectors("cavage-12/appendix_c.json")
_VALID = 'keyId="k",headers="date",signature="AAAA"'


def _request() -> RequestMessage:
    message = message_of(_TABLE["message"])
    assert isinstance(message, RequestMessage)
    return message


@pytest.mark.parametrize("case", _TABLE["cases"], ids=lambda case: case["name"])
def test_appendix_c_verifies_and_signs_the_same(case: dict[str, str]) -> None:
    message, key = _request(), private_key(_TABLE["private_pkcs8_base64"])
    assert parse_public_key_pem(_TABLE["public_pem"]) == key.public
    value = f'keyId="Test",algorithm="rsa-sha256",headers="{case["headers"]}",signature="{case["signature"]}"'
    parsed = parse_cavage(value)
    assert build_signing_string(message, parsed, target=message.target).decode() == case["signing_string"]
    assert verify_cavage(message, parsed, key=key.public).algorithm is SignatureAlgorithm.RSA_V1_5_SHA256
    covered = tuple(case["headers"].split(" "))
    assert build_cavage_header(message, key=key, key_id="Test", covered=covered) == value


def test_without_a_headers_parameter_only_created_is_covered() -> None:
    assert parse_cavage('keyId="k",signature="AAAA",created=1').covered == ("(created)",)


@pytest.mark.parametrize(
    ("value", "bug"),
    [
        ("", "nothing"),
        ('headers="date",signature="AAAA"', "no key id"),
        ('keyId="",headers="date",signature="AAAA"', "an empty key id"),
        ('keyId="k",headers="date"', "no signature"),
        (f'{_VALID},keyId="l"', "the last of two key ids wins"),
        (f'{_VALID},signature="BBBB"', "the last of two signatures wins"),
        (f"{_VALID},", "a comma at the end"),
        (f"{_VALID} x", "text after the parameters"),
        ('keyId="k" headers="date" signature="AAAA"', "no commas"),
        ('keyId=k,headers="date",signature="AAAA"', "a value that is not quoted"),
        (
            'keyId="a\\"b",headers="date",signature="AAAA"',
            "an escape that ends the string early",
        ),
        ('keyId="k",headers="",signature="AAAA"', "nothing is covered"),
        ('keyId="k",headers="date date",signature="AAAA"', "one header covered twice"),
        ('keyId="k",headers="date  host",signature="AAAA"', "an empty name"),
        ('keyId="k",headers="(secret)",signature="AAAA"', "a pseudo-header that nobody knows"),
        ('keyId="k",headers="date",signature="AA=A"', "loose base64"),
        (f"{_VALID},created=12345678901234", "a time on no calendar"),
        (f'{_VALID},created="soon"', "a time that is no number"),
        (f"{_VALID},created=-1", "a negative time"),
        ('keyId="k",algorithm="rsa-sha256",headers="(created)",signature="AAAA",created=1', "old with new"),
        ('keyId="k",algorithm="hmac-sha256",headers="(expires)",signature="AAAA",expires=1', "old with new"),
        ('keyId="' + "k" * 7_000 + '",headers="date",signature="AAAA"', "a header of any length"),
        (f'keyId="k",headers="{" ".join(f"x{n}" for n in range(33))}",signature="AAAA"', "too many names"),
    ],
)
def test_a_header_that_does_not_parse_is_malformed(value: str, bug: str) -> None:
    with pytest.raises(MalformedError):
        parse_cavage(value)


def test_parameters_that_are_not_known_are_left_alone() -> None:
    assert parse_cavage(f'{_VALID} , opaque="x"').key_id == "k"


@given(st.text(max_size=80) | st.text(alphabet='keyId="signature,hders()=AA \\', max_size=80))
def test_parsing_is_total(value: str) -> None:
    for text in (value, f"{_VALID},{value}"):
        try:
            parse_cavage(text)
        except MalformedError:
            continue


def _sign(message: RequestMessage, key: PrivateKey, **changes: Any) -> CavageSignature:
    signature = CavageSignature(
        key_id=KEY_ID,
        algorithm="hs2019",
        covered=("(request-target)", "content-type"),
        signature=b"",
        created=None,
        expires=None,
    )
    signature = replace(signature, **changes)
    base = build_signing_string(message, signature, target=changes.get("target", message.target))
    return replace(signature, signature=sign_bytes(key, base))


def test_hs2019_takes_the_algorithm_from_the_key() -> None:
    message = post()
    for key, expected in (
        (rsa_key(), SignatureAlgorithm.RSA_V1_5_SHA256),
        (ed25519_key(), SignatureAlgorithm.ED25519),
    ):
        for name in ("hs2019", None):
            signature = _sign(message, key, algorithm=name)
            assert verify_cavage(message, signature, key=key.public).algorithm is expected


def test_hs2019_with_sha512_verifies() -> None:
    message, key = post(), rsa_key()
    signature = _sign(message, key)
    assert isinstance(key.handle, rsa.RSAPrivateKey)
    base = build_signing_string(message, signature, target=message.target)
    signature = replace(signature, signature=key.handle.sign(base, padding.PKCS1v15(), hashes.SHA512()))
    assert verify_cavage(message, signature, key=key.public).algorithm is SignatureAlgorithm.RSA_V1_5_SHA512
    with Refusal(Reason.BAD_SIGNATURE):
        verify_cavage(message, replace(signature, algorithm="rsa-sha256"), key=key.public)


@pytest.mark.parametrize("name", ["hmac-sha256", "rsa-sha1", "ecdsa-sha256", "none", ""])
def test_algorithms_that_we_do_not_verify_are_refused(name: str) -> None:
    message = post()
    with Refusal(Reason.UNKNOWN_SCHEME):
        verify_cavage(message, _sign(message, rsa_key(), algorithm=name), key=rsa_key().public)


def test_a_key_of_another_family_is_refused() -> None:
    message = post()
    with Refusal(Reason.WRONG_KEY):
        verify_cavage(
            message, _sign(message, ed25519_key(), algorithm="rsa-sha256"), key=ed25519_key().public
        )
    with Refusal(Reason.WRONG_KEY):
        verify_cavage(message, _sign(message, rsa_key(), algorithm="ed25519"), key=rsa_key().public)


def test_created_and_expires_are_lines_of_their_own() -> None:
    message = post()
    covered = ("(request-target)", "(created)", "(expires)")
    signature = _sign(message, ed25519_key(), covered=covered, created=5, expires=9)
    base = build_signing_string(message, signature, target="/inbox")
    assert base == b"(request-target): post /inbox\n(created): 5\n(expires): 9"
    verify_cavage(message, signature, key=ed25519_key().public)
    with Refusal(Reason.BAD_SIGNATURE):
        verify_cavage(message, replace(signature, expires=10), key=ed25519_key().public)
    with Refusal(Reason.MISSING_COMPONENT):
        verify_cavage(message, replace(signature, created=None), key=ed25519_key().public)


def test_a_query_that_was_left_out_of_the_target_is_reported() -> None:
    message, key = post(target="/inbox?x=1"), ed25519_key()
    whole = _sign(message, key)
    assert verify_cavage(message, whole, key=key.public).covers_query
    bare = replace(whole, signature=sign_bytes(key, build_signing_string(message, whole, target="/inbox")))
    assert not verify_cavage(message, bare, key=key.public).covers_query
    with Refusal(Reason.BAD_SIGNATURE):
        verify_cavage(replace(message, target="/other?x=1"), bare, key=key.public)


def test_a_covered_header_that_is_missing_doubled_or_not_text_is_refused() -> None:
    message, key = post(), ed25519_key()
    signature = _sign(message, key)
    with Refusal(Reason.MISSING_COMPONENT):
        verify_cavage(replace(message, headers=()), signature, key=key.public)
    for value in ("a\r\nhost: b", "\u00e9", "a\x00"):
        with pytest.raises(MalformedError):
            verify_cavage(replace(message, headers=(("Content-Type", value),)), signature, key=key.public)
    with pytest.raises(MalformedError):
        verify_cavage(replace(message, headers=message.headers * 2), signature, key=key.public)


def test_a_key_id_cannot_write_parameters_of_its_own() -> None:
    with pytest.raises(MalformedError):
        build_cavage_header(post(), key=ed25519_key(), key_id='x",keyId="y', covered=("content-type",))


@pytest.mark.parametrize("name", ["gotosocial-create-image", "snac-create-image"])
def test_captured_requests_parse(name: str) -> None:
    message = request_of_bytes(published_vectors(f"wire/{name}.http").read_bytes())
    signature = find_signature(message)
    assert signature is not None
    assert signature.scheme is Scheme.CAVAGE
    assert {"(request-target)", "host", "date", "digest"} <= set(signature.covered)
    assert len(signature.parsed.signature) == 256
    assert encode_base64(signature.parsed.signature) in header(message, "signature")
    assert verify_body_digest(message.headers, message.body) == ("digest",)
    assert isinstance(signature.parsed, CavageSignature)
    base = build_signing_string(message, signature.parsed, target=message.target)
    assert base.startswith(b"(request-target): post /users/c202/inbox\nhost: 127.0.0.1:18099\n")
