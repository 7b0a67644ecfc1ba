"""Signed HTTP messages: which signature there is, what it must cover, and how old it may be.

The schemes themselves are in `signatures.cavage` and `signatures.rfc9421`, making signatures in
`signatures.http_signing`; this is what makes a valid signature worth something.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from signatures.cavage import CREATED, REQUEST_TARGET, CavageSignature, parse_cavage, verify_cavage
from signatures.digests import verify_body_digest
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.http_signing import (
    ACCEPT_SIGNATURE,
    Profile,
    Scheme,
    requires_digest,
    sign_request,
    sign_response,
)
from signatures.keys import KeyAlgorithm
from signatures.message import find_header, normal_authority
from signatures.rfc9421 import Rfc9421Signature, parse_rfc9421, verify_rfc9421
from signatures.times import from_seconds, parse_http_date, require_utc

if TYPE_CHECKING:
    from signatures.algorithms import SignatureAlgorithm
    from signatures.keys import PublicKey
    from signatures.message import RequestMessage, ResponseMessage

__all__ = [
    "ACCEPT_SIGNATURE",
    "FASP_FRESHNESS",
    "INBOX_FRESHNESS",
    "Freshness",
    "HttpSignature",
    "Profile",
    "Scheme",
    "VerifiedRequest",
    "find_signature",
    "fresh_until",
    "sign_request",
    "sign_response",
    "verify_request",
    "verify_response",
]

_DIGEST_NAMES: Final = ("content-digest", "digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How old a signed time may be, and how far ahead of our clock."""

    max_age: timedelta
    max_ahead: timedelta


# Mastodon takes a Date for 5 minutes and an hour of margin; what is older than that here would be refused
# by most backends as well. 5 minutes ahead is the skew of a clock that nobody looks after.
INBOX_FRESHNESS: Final = Freshness(max_age=timedelta(minutes=65), max_ahead=timedelta(minutes=5))
# FASP general v0.1 as Mastodon enforces it: requests older than 5 minutes are refused.
FASP_FRESHNESS: Final = Freshness(max_age=timedelta(minutes=5), max_ahead=timedelta(minutes=5))


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSignature:
    """The one signature of a message that is meant for us, parsed and not yet verified."""

    scheme: Scheme
    key_id: str
    parsed: CavageSignature | Rfc9421Signature

    @property
    def covered(self) -> tuple[str, ...]:
        """What it covers whole, by name."""
        if isinstance(self.parsed, CavageSignature):
            return self.parsed.covered
        return tuple(component.name for component in self.parsed.covered if not component.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRequest:
    """What a verified signature says.

    `signed_at` is the latest time it covers. `covers_query` is False where a sender signed the path alone.
    """

    scheme: Scheme
    key_id: str
    algorithm: SignatureAlgorithm
    covered: tuple[str, ...]
    signed_at: datetime
    covers_query: bool


def find_signature(message: RequestMessage | ResponseMessage) -> HttpSignature | None:
    """Return the signature that a message carries for us, None where it carries none.

    A message may carry further RFC 9421 signatures that are tagged for other applications; two that are
    not tagged leave it open who is speaking.

    Raises:
        MalformedError: a signature header is broken, doubled or half there, or there is not exactly one
            untagged signature with a key id.
    """
    if find_header(message.headers, "signature-input") is not None:
        untagged = [signature for signature in parse_rfc9421(message.headers) if signature.tag is None]
        if len(untagged) != 1 or not untagged[0].key_id:
            raise MalformedError("not exactly one untagged signature with a keyid")
        return HttpSignature(scheme=Scheme.RFC9421, key_id=untagged[0].key_id, parsed=untagged[0])
    value = find_header(message.headers, "signature")
    if value is None:
        return None
    parsed = parse_cavage(value)
    return HttpSignature(scheme=Scheme.CAVAGE, key_id=parsed.key_id, parsed=parsed)


def verify_request(
    message: RequestMessage,
    signature: HttpSignature,
    *,
    key: PublicKey,
    now: datetime,
    freshness: Freshness = INBOX_FRESHNESS,
    profile: Profile = Profile.FEDIVERSE,
) -> VerifiedRequest:
    """Verify that the holder of `key` sent this request, to this authority, with this body, just now.

    The caller owes: `signature` came from `find_signature(message)`; `key` is the one that its `key_id`
    names, was admitted, and its owner names it in return on one origin (FEP-fe34); `message.authority` is
    one of our own; the same request is not acted upon twice (a signature may be replayed while it is
    fresh).

    Raises:
        MalformedError: a header that the signature leans on stands there twice or does not parse.
        VerificationError: the first rule below that does not hold.
    """
    # 1. The scheme and the family of the key are those of the profile (unknown_scheme, wrong_key).
    _require_profile(signature, key, profile)
    # 2. Method, target, authority, a time and the digest of the body are covered (missing_…).
    _require_coverage(message, signature, profile)
    # 3. The Host that was covered is the authority that the request reached (wrong_authority).
    _require_authority(message, signature)
    # 4. Every covered time is within the window, and it has not run out (stale, future, expired).
    signed_at = _require_fresh(message, signature, now=require_utc(now), freshness=freshness)
    # 5. The signature is over what it covers, by an algorithm of this key (wrong_key, bad_signature).
    if isinstance(signature.parsed, CavageSignature):
        result = verify_cavage(message, signature.parsed, key=key)
        algorithm, covers_query = result.algorithm, result.covers_query
    else:
        algorithm, covers_query = verify_rfc9421(message, signature.parsed, key=key), True
    # 6. Every digest there is, is that of the body (digest_mismatch): last, for a body may be large.
    if requires_digest(message, profile) or not set(_DIGEST_NAMES).isdisjoint(signature.covered):
        verify_body_digest(message.headers, message.body)
    return VerifiedRequest(
        scheme=signature.scheme,
        key_id=signature.key_id,
        algorithm=algorithm,
        covered=signature.covered,
        signed_at=signed_at,
        covers_query=covers_query,
    )


def fresh_until(message: RequestMessage, *, max_age: timedelta) -> datetime:
    """Return until when a request passes where signatures may be so old. Nothing is verified here.

    Raises:
        MalformedError: as `find_signature`, or its times do not parse.
        VerificationError: there is no signature, or no time that it covers (no_signature, missing_time,
            missing_component).
    """
    signature = find_signature(message)
    if signature is None:
        raise VerificationError(Reason.NO_SIGNATURE, "a request without a signature")
    times = _signed_times(message, signature)
    if not times:
        raise VerificationError(Reason.MISSING_TIME, "no time is signed")
    end, expires = min(times) + max_age, signature.parsed.expires
    return end if expires is None else min(end, from_seconds(expires))


def verify_response(
    response: ResponseMessage,
    *,
    key: PublicKey,
    key_id: str,
    now: datetime,
    freshness: Freshness = FASP_FRESHNESS,
) -> None:
    """Verify a response of the FASP profile: Ed25519 over `@status` and `content-digest`.

    The caller owes: `key` was admitted, and this response came on the connection of the request; nothing
    in the profile binds the two.

    Raises:
        MalformedError: as `find_signature`, or a digest that does not parse.
        VerificationError: no_signature, unknown_scheme, wrong_key, missing_component, missing_digest,
            missing_time, stale, future, expired, bad_signature or digest_mismatch.
    """
    signature = find_signature(response)
    if signature is None:
        raise VerificationError(Reason.NO_SIGNATURE, "a response without a signature")
    parsed = signature.parsed
    if isinstance(parsed, CavageSignature) or key.algorithm is not KeyAlgorithm.ED25519:
        raise VerificationError(Reason.UNKNOWN_SCHEME, "responses are signed with RFC 9421 and Ed25519")
    if signature.key_id != key_id:
        raise VerificationError(Reason.WRONG_KEY, "a response under another key id")
    if not parsed.covers("@status"):
        raise VerificationError(Reason.MISSING_COMPONENT, "@status is not covered")
    if not parsed.covers("content-digest"):
        raise VerificationError(Reason.MISSING_DIGEST, "content-digest is not covered")
    _require_window(_signed_times(response, signature), parsed.expires, require_utc(now), freshness)
    verify_rfc9421(response, parsed, key=key)
    verify_body_digest(response.headers, response.body)


def _require_profile(signature: HttpSignature, key: PublicKey, profile: Profile) -> None:
    if profile is Profile.FASP:
        if signature.scheme is not Scheme.RFC9421:
            raise VerificationError(Reason.UNKNOWN_SCHEME, "peers sign with RFC 9421")
        if key.algorithm is not KeyAlgorithm.ED25519:
            raise VerificationError(Reason.WRONG_KEY, "peers sign with Ed25519")


def _require_coverage(message: RequestMessage, signature: HttpSignature, profile: Profile) -> None:
    parsed = signature.parsed
    covered = set(signature.covered)
    if isinstance(parsed, CavageSignature):
        _require(REQUEST_TARGET in covered, "the request target")
        _require("host" in covered, "host")
        digest_names = set(_DIGEST_NAMES)
        has_time = not covered.isdisjoint((CREATED, "date"))
    else:
        whole_target = not covered.isdisjoint(("@target-uri", "@request-target"))
        _require("@method" in covered, "@method")
        _require(whole_target or "@path" in covered, "the target")
        _require(whole_target or message.query is None or "@query" in covered, "@query")
        _require(not covered.isdisjoint(("@target-uri", "@authority", "host")), "the authority")
        _require(profile is not Profile.FASP or "@target-uri" in covered, "@target-uri")
        digest_names = {"content-digest"}
        has_time = parsed.created is not None or (profile is not Profile.FASP and "date" in covered)
    if not has_time:
        raise VerificationError(Reason.MISSING_TIME, "no time is signed")
    if requires_digest(message, profile) and covered.isdisjoint(digest_names):
        raise VerificationError(Reason.MISSING_DIGEST, "the digest of the body is not signed")


def _require(claim: bool, name: str) -> None:  # noqa: FBT001 (one claim, read where it is made)
    if not claim:
        raise VerificationError(Reason.MISSING_COMPONENT, f"{name} is not covered")


def _require_authority(message: RequestMessage, signature: HttpSignature) -> None:
    if "host" not in signature.covered:
        return  # `@authority` and `@target-uri` are built from the authority itself.
    host = find_header(message.headers, "host")
    expected = normal_authority(message.scheme, message.authority)
    if host is None or normal_authority(message.scheme, host) != expected:
        raise VerificationError(Reason.WRONG_AUTHORITY, "the signed Host is not where the request arrived")


def _require_fresh(
    message: RequestMessage, signature: HttpSignature, *, now: datetime, freshness: Freshness
) -> datetime:
    times = _signed_times(message, signature)
    _require_window(times, signature.parsed.expires, now, freshness)
    return max(times)


def _signed_times(message: RequestMessage | ResponseMessage, signature: HttpSignature) -> list[datetime]:
    """Return the times that the signature covers; an unsigned Date says nothing."""
    parsed = signature.parsed
    times = []
    if parsed.created is not None and (isinstance(parsed, Rfc9421Signature) or CREATED in parsed.covered):
        times.append(from_seconds(parsed.created))
    if "date" in signature.covered:
        date = find_header(message.headers, "date")
        if date is None:
            raise VerificationError(Reason.MISSING_COMPONENT, "date is covered and not there")
        times.append(parse_http_date(date))
    return times


def _require_window(times: list[datetime], expires: int | None, now: datetime, freshness: Freshness) -> None:
    if not times:
        raise VerificationError(Reason.MISSING_TIME, "no time is signed")
    # Every one of them, so that a fresh Date cannot carry an old `created` or the other way round.
    if min(times) < now - freshness.max_age:
        raise VerificationError(Reason.STALE, "signed too long ago")
    if max(times) > now + freshness.max_ahead:
        raise VerificationError(Reason.FUTURE, "signed in the future")
    # `expires` is obeyed even where it is not covered: it can only ever make us refuse.
    if expires is not None and now >= from_seconds(expires):
        raise VerificationError(Reason.EXPIRED, "the signature has run out")
