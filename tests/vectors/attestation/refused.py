"""Attestations of the right form that are not to be believed, in the order in which they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import base58

from tests.vectors.attestation.kit import (
    ACTOR,
    ATTESTATION,
    CONTEXT,
    ISSUER,
    ISSUER_API,
    KEY_ID,
    NOW,
    OTHER,
    Json,
    case,
    change,
    multibase,
    multihash,
    multikey,
    multikey_of,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_SPEAKS: Final = "one origin speaks for another"
_UNKNOWN: Final = "what is unknown is taken for a no-match"

# Source of the first: RFC 8032, the neutral element; of the others: "Taming the many EdDSAs" (Chalkias,
# Garillot, Nikolaenko 2020), table 6. The last is the issuer's own key plus a point of order 8.
UNSOUND_KEYS: Final = {
    "that is the neutral element": "01" + "00" * 31,
    "of order 2": "ec" + "ff" * 30 + "7f",
    "of order 4": "00" * 32,
    "of order 8": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "of order 8, on the other side": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "in another spelling": "ee" + "ff" * 30 + "7f",
    "with the sign of a zero": "01" + "00" * 30 + "80",
    "off the curve": "02" + "00" * 31,
    "outside the prime-order subgroup": "39de54bddb9c076860b98593e3b79bb453f2e5093edc2a6ff8cc12b7be14fb64",
}


def make_refused() -> Iterator[Json]:
    yield from _types_and_contexts()
    yield from _proofs()
    yield from _origins()
    yield from _claims()
    yield from _keys()
    yield from _times()
    yield from _signatures()
    yield from _revoked()


def _types_and_contexts() -> Iterator[Json]:
    good = sign(ATTESTATION)
    for name, kind, bug in (
        ("another type", "Note", "any signed object of the issuer is an attestation"),
        ("a list of types", ["MediaScanAttestation"], "a type for every reader"),
        ("no type", None, "a default is assumed"),
        ("the type of a revocation", "MediaScanRevocation", "one type passes as the other"),
    ):
        yield case(name, sign(change(ATTESTATION, type=kind)), "wrong_type", bug, step=2)
    bug = "terms that mean something else"
    for name, context in (
        ("in another order", [CONTEXT[1], CONTEXT[0], CONTEXT[2]]),
        ("with one more", [*CONTEXT, "https://evil.example/context"]),
        ("with one less", CONTEXT[:2]),
        ("with definitions", [*CONTEXT[:2], {"verdict": "https://evil.example/#x"}]),
        ("that is a string", CONTEXT[0]),
    ):
        document = change(ATTESTATION, **{"@context": context})
        yield case(f"a context {name}", sign(document), "wrong_context", bug, step=2)
    gained = change(good, **{"@context": [*CONTEXT, "https://evil.example/context"]})
    bug = "the proof covers its start only"
    yield case("a context that grew after signing", gained, "wrong_context", bug, step=2)
    shorter = sign(ATTESTATION, **{"@context": CONTEXT[:2]})
    yield case("a proof of part of the context", shorter, "wrong_context", "the rest is not signed", step=3)
    older = sign(ATTESTATION, **{"@context": None})
    bug = "the form of 2023 passes as current"
    yield case("a proof of no context", older, "wrong_context", bug, step=3)


def _proofs() -> Iterator[Json]:
    good = sign(ATTESTATION)
    for suite in ("eddsa-rdfc-2022", "ecdsa-jcs-2019", "none", ["eddsa-jcs-2022"]):
        name = suite if isinstance(suite, str) else "in a list"
        document = sign(ATTESTATION, cryptosuite=suite)
        yield case(f"suite {name}", document, "wrong_suite", "any suite is verified as ours", step=3)
    other = sign(ATTESTATION, type="RsaSignature2017")
    yield case("another type of proof", other, "wrong_suite", "any suite is verified as ours", step=3)
    for purpose in ("authentication", None):
        document = sign(ATTESTATION, proofPurpose=purpose)
        name = "another purpose" if purpose else "no purpose"
        yield case(name, document, "wrong_purpose", "a proof made for something else", step=3)
    two = change(good, proof=[good["proof"], sign(ATTESTATION, key=OTHER)["proof"]])
    ends = sign(ATTESTATION, expires="2026-12-22T02:30:00Z")
    for name, document, bug in (
        ("no proof", ATTESTATION, "unsigned is as good as signed"),
        ("a list of one proof", change(good, proof=[good["proof"]]), "two forms of one object"),
        ("two proofs", two, "one of them is verified and the other believed"),
        ("a proof that is a link", change(good, proof="https://relay.a.example/p"), "it is fetched"),
        ("a proof with an end", ends, "two ends, of which each reader obeys one"),
    ):
        yield case(name, document, "wrong_proof", bug, step=3)


def _origins() -> Iterator[Json]:
    for name, url in (
        ("another host", "https://relay.b.example/actor"),
        ("a host below", "https://a.relay.a.example/actor"),
        ("a host above", "https://a.example/actor"),
        ("a host that begins alike", "https://relay.a.example.evil.example/actor"),
        ("another port", "https://relay.a.example:8443/actor"),
    ):
        for member in ("id", "attributedTo"):
            document = sign(change(ATTESTATION, **{member: url}))
            yield case(f"{member} on {name}", document, "wrong_origin", _SPEAKS, step=4)
        method = sign(ATTESTATION, verificationMethod=f"{url}#{multikey(ISSUER)}")
        yield case(f"key on {name}", method, "wrong_origin", _SPEAKS, step=4)


def _claims() -> Iterator[Json]:
    for name, changes in (
        ("a match", {"verdict": "match"}),
        ("clean", {"verdict": "clean"}),
        ("a verdict in capitals", {"verdict": "No-Match"}),
        ("a list of verdicts", {"verdict": ["no-match"]}),
        ("no verdict", {"verdict": None}),
        ("copied from a peer", {"basis": "peer"}),
        ("judged by a human", {"basis": "human"}),
        ("no basis", {"basis": None}),
        ("unknown coverage", {"coverage": "most"}),
        ("an image in part", {"coverage": "prefix"}),
        ("an image in samples", {"coverage": "sampled"}),
    ):
        document = sign(change(ATTESTATION, **changes))
        yield case(name, document, "unsupported_claim", _UNKNOWN, step=5)
    video = sign(change(ATTESTATION, media__mediaType="video/mp4", coverage="most"))
    yield case("unknown coverage of a video", video, "unsupported_claim", _UNKNOWN, step=5)


def _keys() -> Iterator[Json]:
    good = sign(ATTESTATION)
    for name, raw in UNSOUND_KEYS.items():
        key = {"multikey": multikey_of(bytes.fromhex(raw))}
        bug = "one signature verifies everything, or verifiers disagree"
        yield case(f"a key {name}", good, "key_refused", bug, step=6, key=key)
    # R is the neutral element and S is 0: S·B = R + k·A for every message where A is the neutral element.
    forged = change(good, proof__proofValue=multibase(b"\x01" + bytes(63)))
    neutral = {"multikey": multikey_of(bytes.fromhex(UNSOUND_KEYS["that is the neutral element"]))}
    bug = "a forgery that every plain verifier accepts"
    yield case("a signature that verifies everything", forged, "key_refused", bug, step=6, key=neutral)
    bob = {"actor": "https://relay.a.example/users/bob"}
    bug = "whoever is on the origin speaks for all"
    yield case("another actor's key", good, "unknown_issuer", bug, step=7, key=bob)
    key_id = {"id": f"{ACTOR}#other"}
    yield case("another key id", good, "wrong_key", "any key of the issuer is tried", step=7, key=key_id)
    bug = "old keys live for ever"
    yield case("a key at its end", good, "key_expired", bug, step=7, key={"expires": NOW})
    revoked = {"revoked": "2026-11-22T02:50:00Z"}
    yield case("a revoked key", good, "key_revoked", "a thief back-dates", step=7, key=revoked)
    at = {"trusted_time": "2026-11-22T02:50:00Z"}
    yield case(
        "first seen when the key was revoked", good, "key_revoked", "off by one", step=7, key=revoked, **at
    )


def _times() -> Iterator[Json]:
    bug = "attestations outside of any window hold"
    for name, changes, options in (
        ("published 5 minutes and a second ahead", {"published": "2026-11-22T03:05:01Z"}, {}),
        ("proved in the future", {}, {"created": "2026-11-22T03:05:01Z"}),
        ("proved before it was published", {}, {"created": "2026-11-22T02:29:59Z"}),
        ("a life of 30 days and a second", {"endTime": "2026-12-22T02:30:01Z"}, {}),
        ("a life of nothing", {"endTime": "2026-11-22T02:30:00Z"}, {}),
        ("an end before its start", {"endTime": "2026-11-21T02:30:00Z"}, {}),
        ("a state of the future", {"state__asOf": "2026-11-22T02:30:01Z"}, {}),
        ("proved at its end", {"endTime": "2026-11-22T02:50:00Z"}, {"created": "2026-11-22T02:50:00Z"}),
    ):
        yield case(name, sign(change(ATTESTATION, **changes), **options), "window", bug, step=8)
    good = sign(ATTESTATION)
    at_end = {"now": "2026-11-29T02:30:00Z"}
    yield case("at its end", good, "expired", "old attestations hold", step=8, **at_end)


def _signatures() -> Iterator[Json]:
    good = sign(ATTESTATION)
    bug = "the key named is not the key used"
    yield case("signed by another key", sign(ATTESTATION, key=OTHER), "bad_signature", bug, step=9)
    api = sign(ATTESTATION, key=ISSUER_API)
    yield case("signed by the key for requests", api, "bad_signature", "any key of the actor does", step=9)
    signature = base58.b58decode(good["proof"]["proofValue"][1:])
    scalar = int.from_bytes(signature[32:], "little") + _ORDER
    stretched = multibase(signature[:32] + scalar.to_bytes(32, "little"))
    bug = "RFC 8032 section 5.1.7 demands S below the order, or signatures are malleable"
    yield case("S beyond the order", change(good, proof__proofValue=stretched), "bad_signature", bug, step=9)
    swapped = multibase(signature[32:] + signature[:32])
    yield case(
        "S and R swapped",
        change(good, proof__proofValue=swapped),
        "bad_signature",
        "halves are told apart by nothing",
        step=9,
    )
    other = sign(change(ATTESTATION, media__size=1))["proof"]["proofValue"]
    for name, changes in (
        ("id", {"id": "https://relay.a.example/attestations/2"}),
        ("audience", {"to": "https://www.w3.org/ns/activitystreams#Public"}),
        ("published", {"published": "2026-11-22T02:29:59Z"}),
        ("end", {"endTime": "2026-11-29T02:30:01Z"}),
        ("salt", {"salt": "uAAECAwQFBgcICQoLDA0ODg"}),
        ("digest", {"media__digestMultibase": multihash(b"other bytes")}),
        ("size", {"media__size": 36}),
        ("media type", {"media__mediaType": "image/png"}),
        ("profile", {"profile": "https://relay.a.example/profiles/image-3"}),
        ("state", {"state__digestMultibase": multihash(b"another state")}),
        ("date of the state", {"state__asOf": "2026-11-22T00:00:01Z"}),
        ("time of the proof", {"proof__created": "2026-11-22T02:30:01Z"}),
        ("commitment that was added", {"scanCommitment": multihash(b"scores")}),
        ("member that was added", {"extension": 1}),
        ("member of the proof that was added", {"proof__nonce": "x"}),
        ("proof of another object", {"proof__proofValue": other}),
    ):
        document = change(good, **changes)
        yield case(f"an altered {name}", document, "bad_signature", "something is not signed", step=9)
    dropped = change(sign(change(ATTESTATION, extension=1)), extension=None)
    bug = "only the members that are known are signed"
    yield case("a member that was taken away", dropped, "bad_signature", bug, step=9)
    null = {**good, "scanCommitment": None}
    yield case("a null that was added", null, "bad_signature", "null and absent are signed alike", step=9)
    composed = sign(change(ATTESTATION, extension="\u00e9"))
    normalized = change(composed, extension="e\u0301")
    bug = "text is normalized before it is signed"
    yield case("text in another normal form", normalized, "bad_signature", bug, step=9)


def _revoked() -> Iterator[Json]:
    good = sign(ATTESTATION)
    bug = "what was taken back still holds"
    for name, scope, target in (
        ("itself", "attestation", ATTESTATION["id"]),
        ("its state", "state", ATTESTATION["state"]["digestMultibase"]),
        ("its profile", "profile", ATTESTATION["profile"]),
        ("its key", "key", KEY_ID),
    ):
        entry = {"issuer": ACTOR, "scope": scope, "object": target, "published": "2026-11-22T02:45:00Z"}
        yield case(f"{name} was taken back", good, "revoked", bug, step=10, revocations=[entry])
    state = ATTESTATION["state"]["digestMultibase"]
    entry = {"issuer": ACTOR, "scope": "state", "object": state, "published": "2026-11-22T02:00:00Z"}
    bug = "a state that was taken back returns"
    yield case("its state was taken back before", good, "revoked", bug, step=10, revocations=[entry])
    entry = {
        "issuer": ACTOR,
        "scope": "profile",
        "object": ATTESTATION["profile"],
        "published": ATTESTATION["published"],
    }
    bug = "off by one"
    yield case(
        "its profile was taken back at the same second", good, "revoked", bug, step=10, revocations=[entry]
    )
    entry = {"issuer": ACTOR, "scope": "key", "object": KEY_ID, "published": "2026-11-22T02:45:00Z"}
    seen = {"trusted_time": "2026-11-22T02:45:00Z"}
    yield case(
        "its key was taken back when it was seen", good, "revoked", bug, step=10, revocations=[entry], **seen
    )
