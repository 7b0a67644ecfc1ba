"""One relay warns another of exact bytes, sealed so that nobody else can tell which.

An alert holds the HMAC-SHA-256 of the digest under a key that only the two of them have, and a category. Who
gets hold of it learns that there was something, not what; who has the key has to hold the bytes, or their
digest, to know. Nothing is deleted on its word: see the caller's duties at `verify_alert`.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from signatures.encoding import decode_base64url, encode_base64url
from signatures.errors import MalformedError
from signatures.objects import (
    IssuerKey,
    SignedObject,
    build_signed_object,
    get_text,
    parse_signed_object,
    verify_announcement,
)
from signatures.times import format_json_time

if TYPE_CHECKING:
    from datetime import datetime

    from signatures.keys import PrivateKey
    from signatures.strictjson import JsonObject

ALERT_TYPE: Final = "MediaScanAlert"
MAC_SIZE: Final = 32
ALERT_KEY_SIZE: Final = 32

_CATEGORY: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBody:
    """What an alert says.

    Attributes:
        id: Its address.
        issuer: Who warns.
        recipient: The actor that is warned, and nobody else.
        published: When it was issued.
        mac: What `seal_digest` returns for the bytes.
        category: What they are, in the words that the two admins chose.
    """

    id: str
    issuer: str
    recipient: str
    published: datetime
    mac: bytes
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert that was parsed, and not yet verified."""

    body: AlertBody
    signed: SignedObject

    @property
    def verification_method(self) -> str:
        """The id of the key that it claims to be signed with."""
        return self.signed.verification_method


def seal_digest(sha256: bytes, *, key: bytes) -> bytes:
    """Seal the digest of some bytes with the key of a pair."""
    return hmac.digest(key, sha256, "sha256")


def build_alert(body: AlertBody, *, key: PrivateKey, verification_method: str) -> bytes:
    """Return the bytes of a signed alert.

    The caller owes: both admins agreed on the category; the terms of the list that the finding rests on allow
    it; the finding is an exact match or a person's ruling.

    Raises:
        MalformedError: the body breaks a rule that receivers enforce.
        VerificationError: as `parse_alert`.
        ValueError: the key is not Ed25519.
    """
    members: JsonObject = {
        "id": body.id,
        "type": ALERT_TYPE,
        "attributedTo": body.issuer,
        "to": body.recipient,
        "published": format_json_time(body.published),
        "mac": encode_base64url(body.mac),
        "category": body.category,
    }
    data = build_signed_object(
        members, key=key, verification_method=verification_method, created=body.published
    )
    parse_alert(data, allow_http=True)
    return data


def parse_alert(data: bytes, *, allow_http: bool = False) -> Alert:
    """Parse an alert and do the checks that need no key.

    Raises:
        MalformedError: its form is broken.
        VerificationError: as `parse_signed_object`.
    """
    signed = parse_signed_object(data, expected_type=ALERT_TYPE, allow_http=allow_http)
    document = dict(signed.document)
    category = get_text(document, "category")
    if _CATEGORY.fullmatch(category) is None:
        raise MalformedError("category is no category")
    body = AlertBody(
        id=signed.id,
        issuer=signed.issuer,
        recipient=signed.audience,
        published=signed.published,
        mac=decode_base64url(get_text(document, "mac"), size=MAC_SIZE),
        category=category,
    )
    return Alert(body=body, signed=signed)


def verify_alert(
    alert: Alert,
    *,
    issuer_key: IssuerKey,
    now: datetime,
    trusted_time: datetime | None = None,
    allow_published_test_keys: bool = False,
) -> None:
    """Verify that the issuer warns of this; the order is that of `verify_attestation`.

    The caller owes: it is addressed to us; both sides agreed on the category; bytes that fit are withheld and
    brought before a person, never deleted or blocked for good; how often the issuer was right is counted.

    Raises:
        MalformedError: the document cannot be canonicalized.
        VerificationError: key_refused, unknown_issuer, wrong_key, key_expired, key_revoked, window or
            bad_signature.
    """
    verify_announcement(
        alert.signed,
        issuer_key=issuer_key,
        now=now,
        trusted_time=trusted_time,
        allow_published_test_keys=allow_published_test_keys,
    )
