"""One relay tells the others that it disagrees with an issuer. No media is named, and none is touched.

Whoever trusts the teller audits that issuer more for a while. This costs scans and censors nobody, so that a
teller who lies gains little; and one honest auditor serves everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from signatures.errors import Reason, VerificationError
from signatures.objects import (
    IssuerKey,
    SignedObject,
    build_signed_object,
    get_text,
    parse_signed_object,
    verify_announcement,
)
from signatures.origins import parse_origin
from signatures.times import format_json_time

if TYPE_CHECKING:
    from datetime import datetime

    from signatures.keys import PrivateKey
    from signatures.strictjson import JsonObject

DOUBT_TYPE: Final = "MediaScanDoubt"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtBody:
    """What a doubt says.

    Attributes:
        id: Its address.
        teller: Who doubts.
        audience: Whom it is addressed to.
        published: When it was told.
        issuer: Whose attestations are doubted.
        profile: Under which profile.
        key_id: Signed with which key.
    """

    id: str
    teller: str
    audience: str
    published: datetime
    issuer: str
    profile: str
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A doubt that was parsed, and not yet verified."""

    body: DoubtBody
    signed: SignedObject

    @property
    def raw(self) -> bytes:
        """The bytes as received."""
        return self.signed.raw

    @property
    def verification_method(self) -> str:
        """The id of the key that it claims to be signed with."""
        return self.signed.verification_method


def build_doubt(body: DoubtBody, *, key: PrivateKey, verification_method: str) -> bytes:
    """Return the bytes of a signed doubt.

    The caller owes: audits of its own say so, not those of others.

    Raises:
        MalformedError: the body breaks a rule that receivers enforce.
        VerificationError: as `parse_doubt`.
        ValueError: the key is not Ed25519.
    """
    members: JsonObject = {
        "id": body.id,
        "type": DOUBT_TYPE,
        "attributedTo": body.teller,
        "to": body.audience,
        "published": format_json_time(body.published),
        "object": body.issuer,
        "profile": body.profile,
        "key": body.key_id,
    }
    data = build_signed_object(
        members, key=key, verification_method=verification_method, created=body.published
    )
    parse_doubt(data, allow_http=True)
    return data


def parse_doubt(data: bytes, *, allow_http: bool = False) -> Doubt:
    """Parse a doubt and do the checks that need no key.

    Raises:
        MalformedError: its form is broken.
        VerificationError: as `parse_signed_object`; the key is of another origin than the issuer
            (wrong_origin); the teller doubts itself (unsupported_claim).
    """
    signed = parse_signed_object(data, expected_type=DOUBT_TYPE, allow_http=allow_http)
    document = dict(signed.document)
    issuer, profile, key_id = (get_text(document, name) for name in ("object", "profile", "key"))
    parse_origin(profile, allow_http=allow_http)
    origin = parse_origin(issuer, allow_http=allow_http)
    if parse_origin(key_id, allow_http=allow_http) != origin:
        raise VerificationError(Reason.WRONG_ORIGIN, "the key is not of the issuer's origin")
    if issuer == signed.issuer:
        raise VerificationError(Reason.UNSUPPORTED_CLAIM, "the teller doubts itself")
    body = DoubtBody(
        id=signed.id,
        teller=signed.issuer,
        audience=signed.audience,
        published=signed.published,
        issuer=issuer,
        profile=profile,
        key_id=key_id,
    )
    return Doubt(body=body, signed=signed)


def verify_doubt(
    doubt: Doubt,
    *,
    issuer_key: IssuerKey,
    now: datetime,
    trusted_time: datetime | None = None,
    allow_published_test_keys: bool = False,
) -> None:
    """Verify that the teller says this; the order is that of `verify_revocation`.

    The caller owes: the teller is trusted; it counts once a day for an issuer; it is recent.

    Raises:
        MalformedError: the document cannot be canonicalized.
        VerificationError: key_refused, unknown_issuer, wrong_key, key_expired, key_revoked, window or
            bad_signature.
    """
    verify_announcement(
        doubt.signed,
        issuer_key=issuer_key,
        now=now,
        trusted_time=trusted_time,
        allow_published_test_keys=allow_published_test_keys,
    )
