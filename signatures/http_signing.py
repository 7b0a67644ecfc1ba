"""Make signatures over HTTP messages, with the headers that Mastodon and FASP expect.

Source: Mastodon's documentation of HTTP signatures (spec/security), FASP general v0.1 (protocol basics).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from signatures.cavage import REQUEST_TARGET, build_cavage_header
from signatures.digests import content_digest, legacy_digest
from signatures.errors import MalformedError
from signatures.keys import KeyAlgorithm
from signatures.message import RequestMessage, ResponseMessage, find_header, without_headers
from signatures.rfc9421 import build_rfc9421_headers
from signatures.times import format_http_date, to_seconds

if TYPE_CHECKING:
    from datetime import datetime

    from signatures.keys import PrivateKey
    from signatures.message import Headers

# What we ask for in a 401 (RFC 9421 section 5.1): what the verifiers behind us can verify.
ACCEPT_SIGNATURE: Final = 'sig1=("@method" "@target-uri" "content-digest");created;alg="rsa-v1_5-sha256"'

_LABEL: Final = "sig1"

_WITHOUT_BODY: Final = frozenset({"GET", "HEAD"})


class Scheme(StrEnum):
    """How the signature of a message is written."""

    CAVAGE = "cavage"
    RFC9421 = "rfc9421"


class Profile(StrEnum):
    """Whose rules about coverage hold.

    The fediverse signs bodies where there are any; FASP signs RFC 9421 with Ed25519 over the digest of
    every body, the empty one included.
    """

    FEDIVERSE = "fediverse"
    FASP = "fasp"


def requires_digest(message: RequestMessage, profile: Profile) -> bool:
    """Say whether the digest of the body must be signed."""
    return profile is Profile.FASP or bool(message.body) or message.method.upper() not in _WITHOUT_BODY


def sign_request(
    message: RequestMessage,
    *,
    key: PrivateKey,
    key_id: str,
    scheme: Scheme,
    now: datetime,
    profile: Profile = Profile.FEDIVERSE,
    nonce: str | None = None,
) -> RequestMessage:
    """Return the request with Host, Date, its digest and a signature; older ones of those are replaced.

    A `nonce` (RFC 9421 section 2.3) makes two signatures of one second over equal requests differ; cavage has
    no place for one, and leaves it out.

    Raises:
        MalformedError: it is signed already, or a header or the key id cannot be signed.
        ValueError: the profile is FASP and the scheme or the key is not of it.
    """
    if profile is Profile.FASP and (
        scheme is not Scheme.RFC9421 or key.public.algorithm is not KeyAlgorithm.ED25519
    ):
        raise ValueError("FASP signs with RFC 9421 and Ed25519")
    _require_unsigned(message.headers)
    unsigned = _replace_headers(message, now=now, scheme=scheme, profile=profile)
    if scheme is Scheme.CAVAGE:
        added: Headers = (("Signature", _cavage(unsigned, key=key, key_id=key_id, profile=profile)),)
    else:
        parameters: dict[str, str | int] = {"created": to_seconds(now), "keyid": key_id}
        if nonce is not None:
            parameters["nonce"] = nonce
        added = _rfc9421(unsigned, key=key, parameters=parameters, profile=profile)
    return _with_headers(unsigned, unsigned.headers + added)


def sign_response(
    response: ResponseMessage, *, key: PrivateKey, key_id: str, now: datetime
) -> ResponseMessage:
    """Return the response with Content-Digest and a signature over it and the status (FASP).

    Raises:
        MalformedError: it is signed already, or the key id cannot be signed.
        ValueError: the key is not Ed25519.
    """
    if key.public.algorithm is not KeyAlgorithm.ED25519:
        raise ValueError("FASP signs with Ed25519")
    _require_unsigned(response.headers)
    digest = ("Content-Digest", content_digest(response.body))
    unsigned = ResponseMessage(
        status=response.status,
        headers=(*without_headers(response.headers, "content-digest"), digest),
        body=response.body,
    )
    added = build_rfc9421_headers(
        unsigned,
        key=key,
        label=_LABEL,
        covered=("@status", "content-digest"),
        parameters={"created": to_seconds(now), "keyid": key_id},
    )
    return ResponseMessage(status=response.status, headers=unsigned.headers + added, body=response.body)


def _require_unsigned(headers: Headers) -> None:
    # Two signatures on one message are what `find_signature` refuses, so none such is made here.
    if len(without_headers(headers, "signature", "signature-input")) != len(headers):
        raise MalformedError("the message is signed already")


def _replace_headers(
    message: RequestMessage, *, now: datetime, scheme: Scheme, profile: Profile
) -> RequestMessage:
    added: Headers = (("Host", message.authority), ("Date", format_http_date(now)))
    if requires_digest(message, profile):
        digest = (
            ("Digest", legacy_digest(message.body))
            if scheme is Scheme.CAVAGE
            else ("Content-Digest", content_digest(message.body))
        )
        added += (digest,)
    kept = without_headers(message.headers, "host", "date", "digest", "content-digest")
    return _with_headers(message, added + kept)


def _with_headers(message: RequestMessage, headers: Headers) -> RequestMessage:
    return RequestMessage(
        method=message.method,
        scheme=message.scheme,
        authority=message.authority,
        target=message.target,
        headers=headers,
        body=message.body,
    )


def _cavage(message: RequestMessage, *, key: PrivateKey, key_id: str, profile: Profile) -> str:
    covered = [REQUEST_TARGET, "host", "date"]
    if requires_digest(message, profile):
        covered.append("digest")
    # Mastodon signs the content type of what it posts and the Accept of what it fetches.
    covered.extend(
        name for name in ("content-type", "accept") if find_header(message.headers, name) is not None
    )
    return build_cavage_header(message, key=key, key_id=key_id, covered=tuple(covered))


def _rfc9421(
    message: RequestMessage, *, key: PrivateKey, parameters: dict[str, str | int], profile: Profile
) -> Headers:
    covered = ["@method", "@target-uri"]
    if requires_digest(message, profile):
        covered.append("content-digest")
    # FASP prints its parameters without `alg`; Mastodon takes RSASSA-PKCS1-v1_5 and likes to hear so.
    if key.public.algorithm is KeyAlgorithm.RSA:
        parameters = {**parameters, "alg": "rsa-v1_5-sha256"}
    return build_rfc9421_headers(
        message, key=key, label=_LABEL, covered=tuple(covered), parameters=parameters
    )
