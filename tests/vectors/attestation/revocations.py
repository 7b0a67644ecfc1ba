"""Revocations: valid ones of each scope, and one for every rule that is theirs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vectors.attestation.kit import (
    ATTESTATION,
    KEY_ID,
    NOW,
    OTHER,
    REVOCATION,
    Json,
    case,
    change,
    multihash,
    multikey_of,
    sign,
)
from tests.vectors.attestation.refused import UNSOUND_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_revocations() -> Iterator[Json]:
    good = sign(REVOCATION)
    yield case("of a state", good, "valid")
    for scope, target in (
        ("attestation", ATTESTATION["id"]),
        ("profile", ATTESTATION["profile"]),
        ("key", KEY_ID),
    ):
        yield case(f"of {scope}", sign(change(REVOCATION, scope=scope, object=target)), "valid")
    yield case("of last year", sign(REVOCATION), "valid", now="2027-11-22T03:00:00Z")
    yield from _broken()
    yield from _standing(good)


def _broken() -> Iterator[Json]:
    speaks = "a peer takes back what others said"
    everything = "everything is taken back"
    for name, changes, expected, step, bug in (
        ("an unknown scope", {"scope": "media"}, "unsupported_claim", 5, "it is read as another"),
        ("an unknown action", {"action": "delete"}, "unsupported_claim", 5, "a peer deletes things"),
        ("no action", {"action": None}, "unsupported_claim", 5, "a default is assumed"),
        (
            "an attestation of others",
            {"scope": "attestation", "object": "https://b.example/1"},
            "wrong_origin",
            5,
            speaks,
        ),
        (
            "a key of others",
            {"scope": "key", "object": "https://b.example/actor#k"},
            "wrong_origin",
            5,
            speaks,
        ),
        ("a state that is no digest", {"object": "x"}, "malformed", 5, "it matches nothing"),
        ("a profile that is no URL", {"scope": "profile", "object": "x"}, "malformed", 5, "as above"),
        ("no object", {"object": None}, "malformed", 5, everything),
        ("a list of objects", {"object": [REVOCATION["object"]]}, "malformed", 5, everything),
        ("no scope", {"scope": None}, "malformed", 5, everything),
        ("an attestation's type", {"type": "MediaScanAttestation"}, "wrong_type", 2, "types are mixed up"),
        ("the future", {"published": "2026-11-22T03:05:01Z"}, "window", 8, "it outranks every later one"),
        (
            "another issuer",
            {"attributedTo": "https://relay.a.example/users/bob"},
            "unknown_issuer",
            7,
            "whoever is on the origin speaks for all",
        ),
    ):
        yield case(name, sign(change(REVOCATION, **changes)), expected, bug, step=step)


def _standing(good: Json) -> Iterator[Json]:
    altered = change(good, object=multihash(b"another state"))
    bug = "the object is not signed"
    yield case("an altered object", altered, "bad_signature", bug, step=9)
    bug = "the key named is not the key used"
    yield case("signed by another key", sign(REVOCATION, key=OTHER), "bad_signature", bug, step=9)
    revoked = {"revoked": "2026-11-22T02:40:00Z"}
    yield case("a revoked key", good, "key_revoked", "a thief takes back", step=7, key=revoked)
    ended = {"expires": NOW}
    yield case("a key at its end", good, "key_expired", "old keys live for ever", step=7, key=ended)
    neutral = {"multikey": multikey_of(bytes.fromhex(UNSOUND_KEYS["that is the neutral element"]))}
    yield case("a key of small order", good, "key_refused", "one signature for all", step=6, key=neutral)
    yield case("no proof", REVOCATION, "wrong_proof", "unsigned is as good as signed", step=3)
