"""An issuer takes back what it attested. It means "scan again", and never "harmful"."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from signatures.digests import parse_digest_multibase
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
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from signatures.attestation import Attestation
    from signatures.keys import PrivateKey
    from signatures.strictjson import JsonObject

REVOCATION_TYPE: Final = "MediaScanRevocation"

# The only action there is.
_ACTION: Final = "rescan"


class Scope(StrEnum):
    """What is taken back: one attestation, or all under a state, a profile or a key."""

    ATTESTATION = "attestation"
    STATE = "state"
    PROFILE = "profile"
    KEY = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationBody:
    """What a revocation says.

    `object` is, by scope: the id of an attestation, the multibase digest of a state, the URL of a profile or
    the id of a key.
    """

    id: str
    issuer: str
    audience: str
    published: datetime
    scope: Scope
    object: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A revocation that was parsed, and not yet verified."""

    body: RevocationBody
    signed: SignedObject

    @property
    def raw(self) -> bytes:
        """The bytes as received, to be kept and forwarded."""
        return self.signed.raw

    @property
    def verification_method(self) -> str:
        """The id of the key that it claims to be signed with."""
        return self.signed.verification_method


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationIndex:
    """The verified revocations that are known, by what they take back."""

    by_object: Mapping[tuple[str, Scope, str | bytes], datetime] = field(default_factory=dict)

    def revokes(self, attestation: Attestation, *, trusted_time: datetime | None = None) -> bool:
        """Say whether the attestation was taken back by its own issuer.

        An attestation and a state, once taken back, never return. A profile goes on under the same name, so
        only what was published until then is taken back. A key's thief can back-date, so only what was
        seen before then, by this relay or a witness, survives its revocation.
        """
        body = attestation.body
        if (body.issuer, Scope.ATTESTATION, body.id) in self.by_object:
            return True
        if (body.issuer, Scope.STATE, body.state_sha256) in self.by_object:
            return True
        profile = self.by_object.get((body.issuer, Scope.PROFILE, body.profile))
        if profile is not None and body.published <= profile:
            return True
        key = self.by_object.get((body.issuer, Scope.KEY, attestation.verification_method))
        return key is not None and (trusted_time is None or trusted_time >= key)


NO_REVOCATIONS: Final = RevocationIndex()


def build_revocation_index(revocations: Iterable[RevocationBody]) -> RevocationIndex:
    """Return the index of revocations that were verified.

    Of several for one object the latest counts for profiles, and the earliest for keys: whichever takes
    back more.

    Raises:
        MalformedError: a state's object is no digest.
    """
    by_object: dict[tuple[str, Scope, str | bytes], datetime] = {}
    for body in revocations:
        target = parse_digest_multibase(body.object) if body.scope is Scope.STATE else body.object
        index = (body.issuer, body.scope, target)
        other = by_object.get(index, body.published)
        choose = min if body.scope is Scope.KEY else max
        by_object[index] = choose(other, body.published)
    return RevocationIndex(by_object=by_object)


def build_revocation(body: RevocationBody, *, key: PrivateKey, verification_method: str) -> bytes:
    """Return the bytes of a signed revocation.

    The caller owes: an attestation's revocation goes only to peers that received it, among benign decoys,
    and never into public; a new list or model is announced by state or profile, which names no item.

    Raises:
        MalformedError: the body breaks a rule that receivers enforce.
        VerificationError: as `parse_revocation`.
        ValueError: the key is not Ed25519.
    """
    members: JsonObject = {
        "id": body.id,
        "type": REVOCATION_TYPE,
        "attributedTo": body.issuer,
        "to": body.audience,
        "published": format_json_time(body.published),
        "scope": body.scope.value,
        "object": body.object,
        "action": _ACTION,
    }
    data = build_signed_object(
        members, key=key, verification_method=verification_method, created=body.published
    )
    parse_revocation(data, allow_http=True)
    return data


def parse_revocation(data: bytes, *, allow_http: bool = False) -> Revocation:
    """Parse a revocation and do the checks that need no key.

    Raises:
        MalformedError: its form is broken.
        VerificationError: as `parse_signed_object`; a scope or action we do not know (unsupported_claim);
            an attestation or key of another origin (wrong_origin).
    """
    signed = parse_signed_object(data, expected_type=REVOCATION_TYPE, allow_http=allow_http)
    document = dict(signed.document)
    if document.get("action") != _ACTION:
        raise VerificationError(Reason.UNSUPPORTED_CLAIM, "an action that we do not know")
    scope = _get_scope(document)
    target = get_text(document, "object")
    match scope:
        case Scope.STATE:
            parse_digest_multibase(target)
        case Scope.PROFILE:
            parse_origin(target, allow_http=allow_http)
        case Scope.ATTESTATION | Scope.KEY:
            # Only an origin takes back what it said itself.
            if parse_origin(target, allow_http=allow_http) != parse_origin(signed.id, allow_http=allow_http):
                raise VerificationError(Reason.WRONG_ORIGIN, "the object is not of the issuer's origin")
    body = RevocationBody(
        id=signed.id,
        issuer=signed.issuer,
        audience=signed.audience,
        published=signed.published,
        scope=scope,
        object=target,
    )
    return Revocation(body=body, signed=signed)


def _get_scope(document: JsonObject) -> Scope:
    try:
        return Scope(get_text(document, "scope"))
    except ValueError as error:
        raise VerificationError(Reason.UNSUPPORTED_CLAIM, "a scope that we do not know") from error


def verify_revocation(
    revocation: Revocation,
    *,
    issuer_key: IssuerKey,
    now: datetime,
    trusted_time: datetime | None = None,
    allow_published_test_keys: bool = False,
) -> None:
    """Verify that the issuer takes this back; the order is that of `verify_attestation`.

    The caller owes: the peer is known and `issuer_key` was fetched from it; what was relied on under the
    object is scanned again. A revocation does not run out.

    Raises:
        MalformedError: the document cannot be canonicalized.
        VerificationError: key_refused, unknown_issuer, wrong_key, key_expired, key_revoked, window or
            bad_signature.
    """
    verify_announcement(
        revocation.signed,
        issuer_key=issuer_key,
        now=now,
        trusted_time=trusted_time,
        allow_published_test_keys=allow_published_test_keys,
    )
