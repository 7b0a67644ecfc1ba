"""What relays tell each other beside attestations parses to what was built, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.alert import AlertBody, build_alert, parse_alert, seal_digest, verify_alert
from signatures.doubt import DoubtBody, build_doubt, parse_doubt, verify_doubt
from signatures.errors import MalformedError, Reason, SignatureError, VerificationError
from tests.signatures.support import NOW
from tests.signatures.test_attestation import ACTOR, ISSUER, KEY, KEY_ID

OTHER = "https://relay.b.example"
ALERT = AlertBody(
    id="https://relay.a.example/alerts/1",
    issuer=ACTOR,
    recipient=f"{OTHER}/actor",
    published=NOW,
    mac=seal_digest(bytes(32), key=bytes([1] * 32)),
    category="spam",
)
DOUBT = DoubtBody(
    id="https://relay.a.example/doubts/1",
    teller=ACTOR,
    audience=f"{ACTOR}/peers",
    published=NOW,
    issuer=f"{OTHER}/actor",
    profile=f"{OTHER}/profiles/image-1",
    key_id=f"{OTHER}/actor#z6Mk",
)


def _alert(body: AlertBody = ALERT) -> bytes:
    return build_alert(body, key=KEY, verification_method=KEY_ID)


def _doubt(body: DoubtBody = DOUBT) -> bytes:
    return build_doubt(body, key=KEY, verification_method=KEY_ID)


def test_what_is_built_parses_to_the_same_and_verifies() -> None:
    alert, doubt = parse_alert(_alert()), parse_doubt(_doubt())
    assert (alert.body, doubt.body) == (ALERT, DOUBT)
    assert alert.verification_method == doubt.verification_method == KEY_ID
    assert doubt.raw == _doubt()
    verify_alert(alert, issuer_key=ISSUER, now=NOW)
    verify_doubt(doubt, issuer_key=ISSUER, now=NOW)


def _check_alert(data: bytes) -> None:
    verify_alert(parse_alert(data), issuer_key=ISSUER, now=NOW)


def _check_doubt(data: bytes) -> None:
    verify_doubt(parse_doubt(data), issuer_key=ISSUER, now=NOW)


@pytest.mark.parametrize(("data", "check"), [(_alert(), _check_alert), (_doubt(), _check_doubt)])
def test_no_flipped_bit_verifies(data: bytes, check: Any) -> None:
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureError):
            check(bytes(changed))


@given(st.binary(max_size=60))
def test_parsing_is_total(data: bytes) -> None:
    for parse in (parse_alert, parse_doubt):
        with pytest.raises(MalformedError):
            parse(data)


@pytest.mark.parametrize(
    "changes",
    [{"category": "Spam"}, {"category": "a" * 64}, {"mac": bytes(31)}, {"mac": bytes(33)}],
    ids=["capitals", "too long", "a short mac", "a long mac"],
)
def test_an_alert_of_another_form_is_neither_built_nor_read(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        _alert(replace(ALERT, **changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issuer": ACTOR, "key_id": KEY_ID}, Reason.UNSUPPORTED_CLAIM),
        ({"key_id": KEY_ID}, Reason.WRONG_ORIGIN),
    ],
    ids=["about itself", "with the key of another"],
)
def test_a_doubt_is_about_another_relay_and_one_of_its_keys(changes: dict[str, str], reason: Reason) -> None:
    with pytest.raises(VerificationError) as caught:
        _doubt(replace(DOUBT, **changes))
    assert caught.value.reason is reason


def test_a_sealed_digest_is_the_hmac_of_rfc_4231() -> None:
    # RFC 4231 section 4.7: a key longer than a block, and data that is no digest, sealed the same way.
    sealed = seal_digest(
        b"Test Using Larger Than Block-Size Key - Hash Key First", key=bytes.fromhex("aa" * 131)
    )
    assert sealed.hex() == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
