"""A signed statement that a scanner looked at some bytes and that nothing fired.

It never says "safe": it says that the scanner described by `state`, at `published`, decoded these bytes and
no check under `profile` fired. It names bytes by their digest and never by a URL, so it holds for every
copy of them and for nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from signatures.attestation_verify import verify_attestation
from signatures.digests import digest_multibase, parse_digest_multibase
from signatures.encoding import decode_base64url, encode_base64url
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.objects import (
    CONTEXT,
    IssuerKey,
    SignedObject,
    build_signed_object,
    get_object,
    get_text,
    parse_signed_object,
)
from signatures.origins import parse_origin
from signatures.times import format_json_time, parse_json_time

if TYPE_CHECKING:
    from datetime import datetime

    from signatures.keys import PrivateKey
    from signatures.strictjson import JsonObject

__all__ = [
    "ATTESTATION_TYPE",
    "CONTEXT",
    "Attestation",
    "AttestationBody",
    "Coverage",
    "IssuerKey",
    "build_attestation",
    "parse_attestation",
    "verify_attestation",
]

ATTESTATION_TYPE: Final = "MediaScanAttestation"

# The only values that exist on the wire. Whatever else stands there is not ours to interpret.
_VERDICT: Final = "no-match"
_BASIS: Final = "scan"

# 128 random bits, so that a log leaf cannot be guessed from a digest that is known.
SALT_SIZE: Final = 16

_MEDIA_TYPE: Final = re.compile(r"(?:image|video|audio)/[a-z0-9][a-z0-9.+-]{0,63}")


class Coverage(StrEnum):
    """How much of the media was looked at."""

    FULL = "full"
    SAMPLED = "sampled"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationBody:
    """What an attestation says.

    `sha256` is that of the exact octets of the identity-coded response body, `size` their number,
    `media_type` what they were sniffed as. `profile` names the policy (which harms, which layers);
    `state_sha256` is the digest of the salted state document of the scanner, whose lists are as of
    `state_as_of`. `scan_commitment`, a digest as well, is opened in an audit. Times are whole seconds.
    """

    id: str
    issuer: str
    audience: str
    published: datetime
    end_time: datetime
    salt: bytes
    sha256: bytes
    size: int
    media_type: str
    coverage: Coverage
    profile: str
    state_as_of: datetime
    state_sha256: bytes
    scan_commitment: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """An attestation that was parsed; see `attestation_verify` before relying on it."""

    body: AttestationBody
    signed: SignedObject

    @property
    def raw(self) -> bytes:
        """The bytes as received, to be kept and forwarded."""
        return self.signed.raw

    @property
    def verification_method(self) -> str:
        """The id of the key that it claims to be signed with."""
        return self.signed.verification_method


def build_attestation(body: AttestationBody, *, key: PrivateKey, verification_method: str) -> bytes:
    """Return the bytes of a signed attestation; its proof is created when it is published.

    The caller owes: these bytes were scanned here, fully decoded, and nothing fired; `salt` is fresh chance;
    the attestation is stored before it leaves.

    Raises:
        MalformedError: the body breaks a rule that receivers enforce.
        VerificationError: as `parse_attestation`.
        ValueError: the key is not Ed25519.
    """
    media: JsonObject = {
        "digestMultibase": digest_multibase(body.sha256),
        "size": body.size,
        "mediaType": body.media_type,
    }
    state: JsonObject = {
        "asOf": format_json_time(body.state_as_of),
        "digestMultibase": digest_multibase(body.state_sha256),
    }
    members: JsonObject = {
        "id": body.id,
        "type": ATTESTATION_TYPE,
        "attributedTo": body.issuer,
        "to": body.audience,
        "published": format_json_time(body.published),
        "endTime": format_json_time(body.end_time),
        "salt": encode_base64url(body.salt),
        "media": media,
        "verdict": _VERDICT,
        "basis": _BASIS,
        "coverage": body.coverage.value,
        "profile": body.profile,
        "state": state,
    }
    if body.scan_commitment is not None:
        members["scanCommitment"] = digest_multibase(body.scan_commitment)
    data = build_signed_object(
        members, key=key, verification_method=verification_method, created=body.published
    )
    # What receivers would refuse never leaves; http is theirs to refuse.
    parse_attestation(data, allow_http=True)
    return data


def parse_attestation(data: bytes, *, allow_http: bool = False) -> Attestation:
    """Parse an attestation and do the checks that need no key (steps 1 to 4 of `parse_signed_object`).

    Members that are not known here are left alone: they are signed like the others, and claim nothing.

    Raises:
        MalformedError: its form is broken.
        VerificationError: wrong_type, wrong_context, wrong_suite, wrong_purpose, wrong_proof, wrong_origin,
            or a verdict, basis or coverage that claims something else (unsupported_claim).
    """
    signed = parse_signed_object(data, expected_type=ATTESTATION_TYPE, allow_http=allow_http)
    document = dict(signed.document)
    if document.get("verdict") != _VERDICT or document.get("basis") != _BASIS:
        raise VerificationError(Reason.UNSUPPORTED_CLAIM, "not a no-match by the issuer's own scan")
    media, state = get_object(document, "media"), get_object(document, "state")
    commitment = document.get("scanCommitment")
    profile = get_text(document, "profile")
    parse_origin(profile, allow_http=allow_http)
    body = AttestationBody(
        id=signed.id,
        issuer=signed.issuer,
        audience=signed.audience,
        published=signed.published,
        end_time=parse_json_time(document.get("endTime")),
        salt=decode_base64url(get_text(document, "salt"), size=SALT_SIZE),
        sha256=parse_digest_multibase(get_text(media, "digestMultibase")),
        size=_get_size(media),
        media_type=_get_media_type(media),
        coverage=_get_coverage(document),
        profile=profile,
        state_as_of=parse_json_time(state.get("asOf")),
        state_sha256=parse_digest_multibase(get_text(state, "digestMultibase")),
        scan_commitment=None if commitment is None else _parse_commitment(commitment),
    )
    if body.media_type.startswith("image/") and body.coverage is not Coverage.FULL:
        raise VerificationError(Reason.UNSUPPORTED_CLAIM, "an image that was not looked at in full")
    return Attestation(body=body, signed=signed)


def _get_size(media: JsonObject) -> int:
    size = media.get("size")
    # A boolean is an int to Python, and an empty body is no media.
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        raise MalformedError("size is not a number of bytes")
    return size


def _get_media_type(media: JsonObject) -> str:
    media_type = get_text(media, "mediaType")
    if _MEDIA_TYPE.fullmatch(media_type) is None:
        raise MalformedError("mediaType is no type of media")
    return media_type


def _get_coverage(document: JsonObject) -> Coverage:
    try:
        return Coverage(get_text(document, "coverage"))
    except ValueError as error:
        raise VerificationError(Reason.UNSUPPORTED_CLAIM, "a coverage that we do not know") from error


def _parse_commitment(value: object) -> bytes:
    if not isinstance(value, str):
        raise MalformedError("scanCommitment is not a string")
    return parse_digest_multibase(value)
