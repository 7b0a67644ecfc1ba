"""Attestations that hold, and what a verifier may stumble over in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import rfc8785

from tests.vectors.attestation.kit import (
    ACTOR,
    ATTESTATION,
    KEY_ID,
    OTHER,
    SCORES,
    Json,
    case,
    change,
    multihash,
    multikey,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_valid() -> Iterator[Json]:
    yield case("as described", sign(ATTESTATION), "valid")
    pretty = json.dumps(dict(reversed(sign(ATTESTATION).items())), indent=2)
    yield case("written in another order and with blanks", pretty, "valid")
    commitment = multihash(rfc8785.dumps(SCORES))
    yield case("with a commitment", sign(change(ATTESTATION, scanCommitment=commitment)), "valid")
    nothing = {**ATTESTATION, "scanCommitment": None}
    yield case("with a commitment that is null", sign(nothing), "valid")
    for media_type, coverage in (("video/mp4", "sampled"), ("audio/ogg", "prefix"), ("video/webm", "full")):
        document = change(ATTESTATION, media__mediaType=media_type, coverage=coverage)
        yield case(f"{media_type.replace('/', ' ')} with coverage {coverage}", sign(document), "valid")
    elsewhere = change(ATTESTATION, profile="https://profiles.example/image-2")
    yield case("with a profile that others keep", sign(elsewhere), "valid")
    yield from _canonical()
    yield from _in_time()
    yield from _after_revocations()


def _canonical() -> Iterator[Json]:
    for name, extension in (
        ("with a member that nobody knows", {"name": "Grüße, 😀", "list": [1, None, True, [], {}]}),
        # RFC 8785 section 3.2.3 sorts by UTF-16: 😀 is D83D DE00, which comes before FB33.
        ("with names whose order depends on UTF-16", {"\ufb33": 1, "😀": 2, "": 3, "A": 4, "a": 5}),
        ("with text that is escaped", {"text": '\u0000\b\t\n\u000b\f\r\u001f "\\/\u007f\u2028\u2029'}),
        ("with a member named as a prototype", {"__proto__": {"verdict": "match"}, "constructor": 1}),
        ("with the largest and the smallest integer", {"integers": [9007199254740991, -9007199254740991, 0]}),
    ):
        yield case(name, sign(change(ATTESTATION, extension=extension)), "valid")
    escaped = json.dumps(sign(change(ATTESTATION, extension="😀 /")), ensure_ascii=True).replace("/", "\\/")
    yield case("with escapes that need not be", escaped, "valid")
    nonce = sign(ATTESTATION, nonce="z6Mk")
    yield case("with a member of the proof that nobody knows", nonce, "valid")
    good = sign(ATTESTATION)
    full = json.dumps(good) + " " * (8_192 - len(json.dumps(good)))
    yield case("of 8,192 bytes", full, "valid")
    yield case("of depth 8", sign(change(ATTESTATION, extension=[[[[[[[1]]]]]]])), "valid")
    port = {
        "actor": "https://relay.a.example:8443/actor",
        "id": f"https://relay.a.example:8443/actor#{multikey(OTHER)}",
        "multikey": multikey(OTHER),
    }
    document = change(
        ATTESTATION, id="https://relay.a.example:8443/attestations/1?x=~%20", attributedTo=port["actor"]
    )
    signed = sign(document, key=OTHER, verificationMethod=port["id"])
    yield case("on another port, all of it", signed, "valid", key=port)


def _in_time() -> Iterator[Json]:
    yield case("in its last second", sign(ATTESTATION), "valid", now="2026-11-29T02:29:59Z")
    yield case("5 minutes ahead of us", sign(ATTESTATION), "valid", now="2026-11-22T02:25:00Z")
    later = change(ATTESTATION, endTime="2026-12-22T02:30:00Z")
    yield case("a life of 30 days", sign(later), "valid")
    leap = change(
        ATTESTATION,
        published="2028-02-29T23:59:59Z",
        endTime="2028-03-01T00:00:00Z",
        state__asOf="2028-02-29T23:59:59Z",
    )
    yield case("on a leap day", sign(leap), "valid", now="2028-02-29T23:59:59Z")
    proved = sign(ATTESTATION, created="2026-11-22T02:40:00Z")
    yield case("proved after it was published", proved, "valid")
    rotated = {"expires": "2026-11-22T03:00:01Z"}
    yield case("under a key that ends a second later", sign(ATTESTATION), "valid", key=rotated)
    revoked = {"revoked": "2026-11-22T02:50:00Z"}
    seen = {"trusted_time": "2026-11-22T02:49:59Z"}
    yield case("seen before the key was revoked", sign(ATTESTATION), "valid", key=revoked, **seen)


def _after_revocations() -> Iterator[Json]:
    good = sign(ATTESTATION)
    at = "2026-11-22T02:45:00Z"
    targets = {
        "attestation": ATTESTATION["id"],
        "state": ATTESTATION["state"]["digestMultibase"],
        "profile": ATTESTATION["profile"],
        "key": KEY_ID,
    }
    for scope, target in targets.items():
        entry = {"issuer": "https://relay.b.example/actor", "scope": scope, "object": target, "published": at}
        yield case(f"{scope} taken back by a stranger", good, "valid", revocations=[entry])
    for scope, target in (
        ("attestation", "https://relay.a.example/attestations/2"),
        ("state", multihash(b"another state")),
        ("profile", "https://relay.a.example/profiles/image-1"),
        ("key", f"{ACTOR}#{multikey(OTHER)}"),
    ):
        entry = {"issuer": ACTOR, "scope": scope, "object": target, "published": at}
        yield case(f"another {scope} taken back", good, "valid", revocations=[entry])
    before = {"issuer": ACTOR, "scope": "profile", "published": "2026-11-22T02:29:59Z"}
    profile = {**before, "object": targets["profile"]}
    yield case("its profile was taken back before", good, "valid", revocations=[profile])
    key = {"issuer": ACTOR, "scope": "key", "object": KEY_ID, "published": at}
    seen = {"trusted_time": "2026-11-22T02:44:59Z"}
    yield case("its key was taken back after it was seen", good, "valid", revocations=[key], **seen)
