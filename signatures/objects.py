"""What every signed object of the exchange between relays has in common.

An object is JSON with one context, one issuer, one proof, integers only. Parsing does the checks that need
no key, cheapest first; verifying does the ones that do. Source: FEP-8b32, FEP-fe34, and the draft FEP
"Media Scan Attestations" that this project carries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from signatures.admission import admit_key
from signatures.algorithms import SignatureAlgorithm, verify_bytes
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.jcs import canonicalize
from signatures.origins import parse_origin
from signatures.proofs import add_proof, build_hash_data, get_proof, parse_proof_value
from signatures.strictjson import parse_json_object
from signatures.times import parse_json_time, require_utc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signatures.keys import PrivateKey, PublicKey
    from signatures.strictjson import JsonObject, JsonValue

CONTEXT: Final = (
    "https://www.w3.org/ns/activitystreams",
    "https://w3id.org/security/data-integrity/v2",
    "https://w3id.org/fep/f06a",
)
_CONTEXT_LIST: Final = list(CONTEXT)

# An attestation takes about 1.2 kB; eight times that leaves room for long URLs and for extensions.
MAX_OBJECT_BYTES: Final = 8_192
# The deepest object of ours has depth 3; extensions may nest a little.
MAX_OBJECT_DEPTH: Final = 8

# How far an issuer's clock may run ahead of ours.
MAX_AHEAD: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKey:
    """A key of a peer that the operator knows.

    `actor` is the controller: the actor whose `assertionMethod` names the key, and whom the key names in
    return. `expires` and `revoked` are as that actor publishes them.
    """

    actor: str
    key_id: str
    key: PublicKey
    expires: datetime | None = None
    revoked: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedObject:
    """An object whose form is right and whose signature nobody has looked at.

    `raw` are the bytes as received: keep and forward those, never a new serialization.
    """

    type: str
    id: str
    issuer: str
    audience: str
    published: datetime
    created: datetime
    verification_method: str
    signature: bytes
    raw: bytes
    document: Mapping[str, JsonValue] = field(compare=False, repr=False)


def parse_signed_object(data: bytes, *, expected_type: str, allow_http: bool = False) -> SignedObject:
    """Parse an object and do the checks that need no key, in their order.

    Raises:
        MalformedError: not strict JSON of integers, too large or too deep, or a member is missing or of
            the wrong form.
        VerificationError: wrong_type, wrong_context, wrong_suite, wrong_purpose, wrong_proof or
            wrong_origin.
    """
    # 1. Size and depth, then strict JSON.
    document = parse_json_object(data, max_bytes=MAX_OBJECT_BYTES, max_depth=MAX_OBJECT_DEPTH)
    # 2. The type, and the context by equality: no context is ever fetched or processed.
    if document.get("type") != expected_type:
        raise VerificationError(Reason.WRONG_TYPE, f"not a {expected_type}")
    if document.get("@context") != _CONTEXT_LIST:
        raise VerificationError(Reason.WRONG_CONTEXT, "not the context that the type is defined in")
    # 3. Exactly one proof, its suite and purpose; its context is the document's, not just the start of it.
    proof = get_proof(document)
    if proof.get("@context") != _CONTEXT_LIST:
        raise VerificationError(Reason.WRONG_CONTEXT, "the proof does not cover the whole context")
    if "expires" in proof:
        # The object has its own end, which is signed; a second one would be read by some and not by others.
        raise VerificationError(Reason.WRONG_PROOF, "a proof with an end of its own")
    # 4. Identifier, issuer and key on one origin.
    identifier, issuer = get_text(document, "id"), get_text(document, "attributedTo")
    verification_method = get_text(proof, "verificationMethod")
    origin = parse_origin(identifier, allow_http=allow_http)
    for other in (issuer, verification_method):
        if parse_origin(other, allow_http=allow_http) != origin:
            raise VerificationError(Reason.WRONG_ORIGIN, "identifier, issuer and key are not on one origin")
    return SignedObject(
        type=expected_type,
        id=identifier,
        issuer=issuer,
        audience=get_text(document, "to"),
        published=parse_json_time(document.get("published")),
        created=parse_json_time(proof.get("created")),
        verification_method=verification_method,
        signature=parse_proof_value(proof),
        raw=data,
        document=document,
    )


def verify_issuer(
    signed: SignedObject, *, issuer_key: IssuerKey, now: datetime, trusted_time: datetime | None
) -> None:
    """Verify that this key may speak for the issuer now.

    `trusted_time` is when this relay first saw the object, or a witness did, whichever is known.

    Raises:
        VerificationError: the key is not the one named (wrong_key) or not the issuer's (unknown_issuer),
            has run out (key_expired), or was revoked before the object is known to have existed
            (key_revoked).
    """
    if issuer_key.actor != signed.issuer:
        raise VerificationError(Reason.UNKNOWN_ISSUER, "the key's controller is not the issuer")
    if issuer_key.key_id != signed.verification_method:
        raise VerificationError(Reason.WRONG_KEY, "the proof names another key")
    if issuer_key.expires is not None and now >= issuer_key.expires:
        raise VerificationError(Reason.KEY_EXPIRED, "the key has run out")
    # A thief can back-date whatever is signed, so the object's own times say nothing here.
    if issuer_key.revoked is not None and (trusted_time is None or trusted_time >= issuer_key.revoked):
        raise VerificationError(Reason.KEY_REVOKED, "the key was revoked")


def verify_published(signed: SignedObject, *, now: datetime) -> None:
    """Verify that the object and its proof are not from the future, nor the proof older than the object.

    Raises:
        VerificationError: window.
    """
    if signed.published > require_utc(now) + MAX_AHEAD or signed.created > now + MAX_AHEAD:
        raise VerificationError(Reason.WINDOW, "published in the future")
    if signed.created < signed.published:
        raise VerificationError(Reason.WINDOW, "the proof is older than what it proves")


def verify_object_signature(signed: SignedObject, *, key: PublicKey) -> None:
    """Verify the proof itself, over the document that was parsed.

    The caller owes the key's admission, before anything else is believed about it.

    Raises:
        MalformedError: the document cannot be canonicalized.
        VerificationError: wrong_key or bad_signature.
    """
    document = dict(signed.document)
    hash_data = build_hash_data(document, get_proof(document))
    verify_bytes(key, SignatureAlgorithm.ED25519, signed.signature, hash_data)


def verify_announcement(
    signed: SignedObject,
    *,
    issuer_key: IssuerKey,
    now: datetime,
    trusted_time: datetime | None,
    allow_published_test_keys: bool,
) -> None:
    """Verify an object that has no end of its own: its key, its issuer, its times, its proof, in that order.

    Raises:
        MalformedError: the document cannot be canonicalized.
        VerificationError: key_refused, unknown_issuer, wrong_key, key_expired, key_revoked, window or
            bad_signature.
    """
    now = require_utc(now)
    admit_key(issuer_key.key, allow_published_test_keys=allow_published_test_keys)
    verify_issuer(signed, issuer_key=issuer_key, now=now, trusted_time=trusted_time)
    verify_published(signed, now=now)
    verify_object_signature(signed, key=issuer_key.key)


def build_signed_object(
    members: JsonObject, *, key: PrivateKey, verification_method: str, created: datetime
) -> bytes:
    """Return the canonical bytes of an object with its context and proof.

    Raises:
        MalformedError: the members are not canonicalizable.
        ValueError: the key is not Ed25519.
    """
    document: JsonObject = {"@context": list(CONTEXT), **members}
    return canonicalize(
        add_proof(document, key=key, verification_method=verification_method, created=created)
    )


def get_text(document: JsonObject, name: str) -> str:
    """Return a member that is a string and not empty.

    Raises:
        MalformedError: it is not.
    """
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedError(f"{name} is not a string")
    return value


def get_object(document: JsonObject, name: str) -> JsonObject:
    """Return a member that is an object.

    Raises:
        MalformedError: it is not.
    """
    value = document.get(name)
    if not isinstance(value, dict):
        raise MalformedError(f"{name} is not an object")
    return value
