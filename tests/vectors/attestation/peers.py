"""What peers tell each other beside attestations: alerts and doubts, and a case for every rule of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vectors.attestation.kit import (
    ACTOR,
    ALERT,
    DOUBT,
    KEY_ID,
    NOW,
    OTHER,
    Json,
    case,
    change,
    multibase64url,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_alerts() -> Iterator[Json]:
    yield case("of some bytes", sign(ALERT), "valid")
    yield case("of last year", sign(ALERT), "valid", now="2027-11-22T03:00:00Z")
    for name, changes, bug in (
        ("a seal of 31 bytes", {"mac": multibase64url(bytes(31))}, "part of a seal is compared"),
        ("a seal of 33 bytes", {"mac": multibase64url(bytes(33))}, "two sizes of one member"),
        ("a seal in hexadecimal digits", {"mac": "f" + "00" * 32}, "another multibase is read"),
        ("no seal", {"mac": None}, "everything is meant"),
        ("no category", {"category": None}, "a default is assumed"),
        ("a category in capitals", {"category": "Spam"}, "two spellings of one category"),
        ("a category that is text", {"category": "it is spam"}, "text of strangers is shown"),
        ("a category of 64 characters", {"category": "a" * 64}, "text of any length is shown"),
        ("no recipient", {"to": None}, "it is meant for everybody"),
    ):
        yield case(name, sign(change(ALERT, **changes)), "malformed", bug, step=5)
    yield from _standing(ALERT, "mac", multibase64url(bytes(32)))


def make_doubts() -> Iterator[Json]:
    yield case("of an issuer", sign(DOUBT), "valid")
    for name, changes, expected, bug in (
        ("of oneself", {"object": ACTOR, "key": KEY_ID}, "unsupported_claim", "nobody means that"),
        (
            "of another origin's key",
            {"key": "https://b.example/actor#k"},
            "wrong_origin",
            "one who is honest is doubted with one who is not",
        ),
        ("of nobody", {"object": None}, "malformed", "everybody is doubted"),
        ("of no profile", {"profile": None}, "malformed", "every profile is doubted"),
        ("of a profile that is no URL", {"profile": "image-1"}, "malformed", "it is resolved here"),
        ("of no key", {"key": None}, "malformed", "every key is doubted"),
    ):
        yield case(name, sign(change(DOUBT, **changes)), expected, bug, step=5)
    yield from _standing(DOUBT, "profile", "https://relay.c.example/profiles/image-2")


def _standing(document: Json, member: str, other: str) -> Iterator[Json]:
    good = sign(document)
    altered = change(good, **{member: other})
    bug = "something is not signed"
    yield case(f"an altered {member}", altered, "bad_signature", bug, step=9)
    bug = "the key named is not the key used"
    yield case("signed by another key", sign(document, key=OTHER), "bad_signature", bug, step=9)
    bug = "one type passes as the other"
    attestation = sign(change(document, type="MediaScanAttestation"))
    yield case("the type of an attestation", attestation, "wrong_type", bug, step=2)
    ended = {"expires": NOW}
    yield case("a key at its end", good, "key_expired", "old keys live for ever", step=7, key=ended)
    revoked = {"revoked": "2026-11-22T02:40:00Z"}
    yield case("a revoked key", good, "key_revoked", "a thief speaks", step=7, key=revoked)
    ahead = sign(change(document, published="2026-11-22T03:05:01Z"))
    yield case("of the future", ahead, "window", "it stays recent for as long as it likes", step=8)
    yield case("no proof", document, "wrong_proof", "unsigned is as good as signed", step=3)
