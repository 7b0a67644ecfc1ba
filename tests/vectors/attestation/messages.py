"""Requests and answers of the peer API: signed by RFC 9421 with Ed25519, as FASP's protocol basics demand."""

from __future__ import annotations

import base64
import calendar
import hashlib
import time
from typing import TYPE_CHECKING, Final

import rfc8785

from tests.vectors.attestation.kit import (
    ALERT,
    API,
    ATTESTATION,
    ISSUER_API,
    ISSUER_API_ID,
    MEDIA,
    NOW,
    PEER_API,
    PEER_API_ID,
    REVOCATION,
    STATE,
    Json,
    multihash,
    multikey,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SECONDS: Final = calendar.timegm(time.strptime(NOW, "%Y-%m-%dT%H:%M:%SZ"))
_REQUEST: Final = ("@method", "@target-uri", "content-digest")
_RESPONSE: Final = ("@status", "content-digest")
_NONCE: Final = "dGVzdCBub25jZQ"
_LOOKUP: Final = rfc8785.dumps({"digests": [multihash(MEDIA)]}).decode()
_FOUND: Final = f'{{"bits":0,"attestations":[{rfc8785.dumps(sign(ATTESTATION)).decode()}]}}'
# Eight prefixes of 12 bits: that of the media, and others that hide it.
_BITS: Final = 12
_HIDING: Final = ("04c", "2f1", "5a0", "77e", "93b", "b68", "de2")
_PREFIXES: Final = sorted((hashlib.sha256(MEDIA).hexdigest()[: _BITS // 4], *_HIDING))
_BUCKETS: Final = rfc8785.dumps({"bits": _BITS, "prefixes": _PREFIXES}).decode()
_PAGE: Final = (
    f'{{"cursor":43,"bits":0,"items":[{{"seq":42,"kind":"attestation","object":{rfc8785.dumps(sign(ATTESTATION)).decode()}}},'
    f'{{"seq":43,"kind":"revocation","object":{rfc8785.dumps(sign(REVOCATION)).decode()}}}]}}'
)
_STATE: Final = rfc8785.dumps(STATE).decode()
_REFUSAL: Final = rfc8785.dumps(
    {"type": "about:blank", "status": 400, "title": "Future cursor", "error": "FutureCursor"}
).decode()


def make_messages() -> Iterator[Json]:
    yield request("a look-up", "POST", "/lookup", _LOOKUP)
    yield request("a look-up without a nonce", "POST", "/lookup", _LOOKUP, nonce=None)
    yield request("a look-up by prefix", "POST", "/lookup", _BUCKETS)
    yield request("a question for the feed", "GET", "/feed?cursor=41&wait=30", "")
    yield request("a question for a state", "GET", f"/states/{multihash(_STATE.encode())}", "")
    yield request("an alert", "POST", "/alerts", rfc8785.dumps(sign(ALERT)).decode())
    yield request("signed 5 minutes ago", "POST", "/lookup", _LOOKUP, created=_SECONDS - 300)
    yield request("signed 5 minutes ahead", "POST", "/lookup", _LOOKUP, created=_SECONDS + 300)
    yield response("the answer to a look-up", 200, _FOUND)
    yield response("the answer where nothing is found", 200, '{"bits":0,"attestations":[]}')
    yield response("a page of the feed", 200, _PAGE)
    yield response("a state", 200, _STATE)
    yield response("a refusal", 400, _REFUSAL)
    yield from _bad_requests()
    yield from _bad_responses()


def request(
    name: str,
    method: str,
    path: str,
    body: str,
    *,
    covered: tuple[str, ...] = _REQUEST,
    created: int | None = _SECONDS,
    nonce: str | None = _NONCE,
    sent: Json | None = None,
    key: Ed25519PrivateKey = PEER_API,
    expected: str = "valid",
    bug: str = "",
) -> Json:
    """Sign a request; `sent` changes it after that."""
    parts = {"@method": method, "@target-uri": API + path, "content-digest": _digest(body)}
    base, headers = _sign(parts, covered, key, PEER_API_ID, created=created, nonce=nonce)
    message = {"method": method, "targetUri": API + path, "headers": headers, "body": body, **(sent or {})}
    owner = {"id": PEER_API_ID, "multikey": multikey(PEER_API)}
    return _case(name, "request", message, owner, base=base, expected=expected, bug=bug)


def response(
    name: str,
    status: int,
    body: str,
    *,
    covered: tuple[str, ...] = _RESPONSE,
    created: int | None = _SECONDS,
    sent: Json | None = None,
    key: Ed25519PrivateKey = ISSUER_API,
    key_id: str = ISSUER_API_ID,
    expected: str = "valid",
    bug: str = "",
) -> Json:
    """Sign an answer; `sent` changes it after that."""
    parts = {"@status": str(status), "content-digest": _digest(body)}
    base, headers = _sign(parts, covered, key, key_id, created=created, nonce=None)
    message = {"status": status, "headers": headers, "body": body, **(sent or {})}
    owner = {"id": ISSUER_API_ID, "multikey": multikey(ISSUER_API)}
    return _case(name, "response", message, owner, base=base, expected=expected, bug=bug)


def _bad_requests() -> Iterator[Json]:
    line = ("POST", "/lookup", _LOOKUP)
    other = _LOOKUP.replace(multihash(MEDIA), multihash(b"other bytes"))
    digests = {"headers": [["Content-Digest", _digest(_LOOKUP)]]}
    for name, expected, bug, options in (
        ("without a signature", "no_signature", "anyone asks", {"sent": digests}),
        ("of five minutes and a second ago", "stale", "it is replayed", {"created": _SECONDS - 301}),
        ("of five minutes and a second ahead", "future", "it is kept for later", {"created": _SECONDS + 301}),
        ("of no time", "missing_time", "it never grows old", {"created": None}),
        (
            "that leaves out the method",
            "missing_component",
            "a GET is replayed as a POST",
            {"covered": _REQUEST[1:]},
        ),
        (
            "that leaves out the target",
            "missing_component",
            "it is replayed to another relay",
            {"covered": ("@method", "content-digest")},
        ),
        (
            "that leaves out the digest",
            "missing_digest",
            "any body goes with it",
            {"covered": ("@method", "@target-uri")},
        ),
        ("with another body", "digest_mismatch", "the digest is not recomputed", {"sent": {"body": other}}),
        (
            "to another relay",
            "bad_signature",
            "it is replayed to another relay",
            {"sent": {"targetUri": "https://relay.c.example/api/v1/lookup"}},
        ),
        ("by another method", "bad_signature", "the method is not signed", {"sent": {"method": "PUT"}}),
        ("by a stranger", "bad_signature", "the key named is not the key used", {"key": ISSUER_API}),
    ):
        yield request(f"a request {name}", *line, expected=expected, bug=bug, **options)


def _bad_responses() -> Iterator[Json]:
    digests = {"headers": [["Content-Digest", _digest(_FOUND)]]}
    for name, expected, bug, options in (
        ("without a signature", "no_signature", "whoever is on the way answers", {"sent": digests}),
        ("of five minutes and a second ago", "stale", "it is replayed", {"created": _SECONDS - 301}),
        (
            "that leaves out the status",
            "missing_component",
            "a refusal passes as an answer",
            {"covered": _RESPONSE[1:]},
        ),
        ("that leaves out the digest", "missing_digest", "any body goes with it", {"covered": ("@status",)}),
        ("with another status", "bad_signature", "the status is not signed", {"sent": {"status": 404}}),
        (
            "with another body",
            "digest_mismatch",
            "the digest is not recomputed",
            {"sent": {"body": '{"bits":0,"attestations":[]}'}},
        ),
        ("under another key id", "wrong_key", "any key will do", {"key": PEER_API, "key_id": PEER_API_ID}),
        ("by another key", "bad_signature", "the key named is not the key used", {"key": PEER_API}),
    ):
        yield response(f"an answer {name}", 200, _FOUND, expected=expected, bug=bug, **options)


def _case(name: str, kind: str, message: Json, key: Json, *, base: str, expected: str, bug: str) -> Json:
    result: Json = {"name": name, **({"bug": bug} if bug else {}), "expected": expected, "now": NOW}
    result |= {"kind": kind, "key": key, "message": message}
    # What was signed before anything was changed: of use only where nothing was.
    return {**result, "signatureBase": base} if expected == "valid" else result


def _sign(
    parts: dict[str, str],
    covered: tuple[str, ...],
    key: Ed25519PrivateKey,
    key_id: str,
    *,
    created: int | None,
    nonce: str | None,
) -> tuple[str, list[list[str]]]:
    """Sign as RFC 9421 section 2.5 has it, and return the signature base and the header lines."""
    parameters = "(" + " ".join(f'"{name}"' for name in covered) + ")"
    if created is not None:
        parameters += f";created={created}"
    parameters += f';keyid="{key_id}"'
    if nonce is not None:
        parameters += f';nonce="{nonce}"'
    lines = [f'"{name}": {parts[name]}' for name in covered] + [f'"@signature-params": {parameters}']
    base = "\n".join(lines)
    signature = base64.b64encode(key.sign(base.encode())).decode()
    return base, [
        ["Content-Digest", parts["content-digest"]],
        ["Signature-Input", f"sig1={parameters}"],
        ["Signature", f"sig1=:{signature}:"],
    ]


def _digest(body: str) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}:"
