from __future__ import annotations

from dataclasses import replace

import http_sf
import pytest

from signatures.errors import MalformedError, VerificationError
from signatures.http import find_signature, verify_request
from signatures.http_signing import ACCEPT_SIGNATURE, Scheme, sign_request, sign_response
from signatures.message import RequestMessage, ResponseMessage
from tests.signatures.support import KEY_ID, NOW, ed25519_key, get, header, post, rsa_key


def _sign(message: RequestMessage, scheme: Scheme) -> RequestMessage:
    return sign_request(message, key=rsa_key(), key_id=KEY_ID, scheme=scheme, now=NOW)


def test_a_cavage_post_covers_what_mastodon_covers() -> None:
    value = header(_sign(post(), Scheme.CAVAGE), "signature")
    assert value.startswith(
        f'keyId="{KEY_ID}",algorithm="rsa-sha256",'
        'headers="(request-target) host date digest content-type",signature="'
    )


def test_a_cavage_get_covers_host_date_and_accept() -> None:
    assert 'headers="(request-target) host date accept"' in header(_sign(get(), Scheme.CAVAGE), "signature")


def test_an_rfc9421_post_covers_what_mastodon_demands() -> None:
    value = header(_sign(post(), Scheme.RFC9421), "signature-input")
    assert value == (
        'sig1=("@method" "@target-uri" "content-digest");created=1795316400;'
        f'keyid="{KEY_ID}";alg="rsa-v1_5-sha256"'
    )


def test_a_nonce_is_signed_and_read_back() -> None:
    signed = sign_request(
        post(), key=rsa_key(), key_id=KEY_ID, scheme=Scheme.RFC9421, now=NOW, nonce="abc-123"
    )
    assert ';nonce="abc-123"' in header(signed, "signature-input")
    signature = find_signature(signed)
    assert signature is not None
    verify_request(signed, signature, key=rsa_key().public, now=NOW)
    headers = tuple((name, value.replace("abc-123", "abc-124")) for name, value in signed.headers)
    forged = replace(signed, headers=headers)
    signature = find_signature(forged)
    assert signature is not None
    with pytest.raises(VerificationError, match="bad_signature"):
        verify_request(forged, signature, key=rsa_key().public, now=NOW)


def test_headers_of_before_are_replaced_and_others_kept() -> None:
    message = post(headers=(("host", "x"), ("DATE", "x"), ("Digest", "x"), ("X-Kept", "y")))
    signed = _sign(message, Scheme.CAVAGE)
    assert header(signed, "host") == "relay.example"
    assert header(signed, "date") == "Sun, 22 Nov 2026 03:00:00 GMT"
    assert header(signed, "x-kept") == "y"
    assert signed.body == message.body


@pytest.mark.parametrize("scheme", list(Scheme))
def test_nothing_is_signed_twice(scheme: Scheme) -> None:
    signed = _sign(post(), scheme)
    for again in Scheme:
        with pytest.raises(MalformedError):
            _sign(signed, again)
    with pytest.raises(MalformedError):
        sign_response(
            ResponseMessage(status=200, headers=signed.headers, body=b""),
            key=ed25519_key(),
            key_id="id",
            now=NOW,
        )


def test_what_we_ask_for_is_a_structured_field() -> None:
    [label] = http_sf.parse(ACCEPT_SIGNATURE.encode(), tltype="dictionary")
    assert label == "sig1"
