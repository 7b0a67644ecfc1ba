"""Make the vectors of attestations and revocations: valid ones, and one for every rule that can be broken.

Signed here with `cryptography`, `rfc8785` and `base58` alone, so that the package under test is held against
another reading of the same specification. Run as `python -m tests.vectors.make_attestation_vectors`; a test
runs it again and compares. The keys come from printed seeds and are refused in production. Licence: CC0-1.0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vectors.attestation_kit import (
    ACTOR,
    ATTESTATION,
    CONTEXT,
    ISSUER,
    KEY_ID,
    NOW,
    OTHER,
    REVOCATION,
    Json,
    case,
    change,
    multibase,
    multihash,
    multikey,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path(__file__).parent / "attestation"


def _valid() -> Iterator[Json]:
    yield case("as described", sign(ATTESTATION), "valid")
    pretty = json.dumps(dict(reversed(sign(ATTESTATION).items())), indent=2)
    yield case("written in another order and with blanks", pretty, "valid")
    yield case("with a commitment", sign(change(ATTESTATION, scanCommitment=multihash(b"scores"))), "valid")
    video = change(ATTESTATION, media__mediaType="video/mp4", coverage="sampled")
    yield case("a video of which frames were sampled", sign(video), "valid")
    extended = change(ATTESTATION, extension={"name": "Grüße, 😀", "list": [1, None, True]})
    yield case("with a member that nobody knows", sign(extended), "valid")
    yield case("in its last second", sign(ATTESTATION), "valid", now="2026-11-29T02:29:59Z")
    yield case("5 minutes ahead of us", sign(ATTESTATION), "valid", now="2026-11-22T02:25:00Z")
    later = change(ATTESTATION, published="2026-11-22T02:30:00Z", endTime="2026-12-22T02:30:00Z")
    yield case("a life of 30 days", sign(later), "valid")
    rotated = {"expires": "2026-11-22T03:00:01Z"}
    yield case("under a key that ends a second later", sign(ATTESTATION), "valid", key=rotated)
    revoked = {"revoked": "2026-11-22T02:50:00Z"}
    seen = {"trusted_time": "2026-11-22T02:49:59Z"}
    yield case("seen before the key was revoked", sign(ATTESTATION), "valid", key=revoked, **seen)


def _malformed() -> Iterator[Json]:
    good = sign(ATTESTATION)
    text = json.dumps(good)
    for name, raw, bug in (
        ("not JSON", text[:-1], "a parser that repairs"),
        ("an array", f"[{text}]", "the first element of an array is taken"),
        ("a key twice", text.replace('"verdict":', '"verdict": "match", "verdict":'), "the last of two wins"),
        ("a float", text.replace("15356", "15356.0"), "two spellings of one number"),
        ("a huge integer", text.replace("15356", "9007199254740992"), "numbers that round together"),
        ("NaN", text.replace("15356", "NaN"), "NaN is read"),
        ("a lone surrogate", text.replace("no-match", "no-match\\ud800"), "strings that no UTF-8 holds"),
        ("8,193 bytes", text + " " * (8_193 - len(text)), "objects of any size are read"),
        ("depth 9", json.dumps(change(good, x=[[[[[[[[1]]]]]]]])), "objects of any depth are read"),
    ):
        yield case(name, raw, "malformed", bug)
    for name in ("id", "attributedTo", "to", "endTime", "salt", "media", "coverage", "profile", "state"):
        yield case(
            f"no {name}", sign(change(ATTESTATION, **{name: None})), "malformed", "a default is assumed"
        )
    for name in ("media__digestMultibase", "media__size", "media__mediaType", "state__asOf"):
        yield case(
            f"no {name}", sign(change(ATTESTATION, **{name: None})), "malformed", "a default is assumed"
        )
    for name, bug, changes in (
        ("a time with an offset", "two spellings of one time", {"published": "2026-11-22T02:30:00+00:00"}),
        ("a time with a fraction", "two spellings of one time", {"endTime": "2026-11-29T02:30:00.0Z"}),
        ("a time on no calendar", "times are not checked", {"endTime": "2026-11-31T02:30:00Z"}),
        ("a salt of 15 bytes", "a salt that can be guessed", {"salt": "uAAECAwQFBgcICQoLDA0O"}),
        ("a salt in base58", "another multibase is read", {"salt": "z3SEo3LWLoPntC"}),
        (
            "a digest that is no multihash",
            "any bytes are a digest",
            {"media__digestMultibase": multibase(bytes(34))},
        ),
        (
            "a digest of another function",
            "its bytes are compared with SHA-256",
            {"media__digestMultibase": multibase(b"\x13\x20" + bytes(32))},
        ),
        ("a size of nothing", "an empty body is media", {"media__size": 0}),
        ("a size that is true", "a boolean is an integer", {"media__size": True}),
        ("a size that is a string", "strings are converted", {"media__size": "15356"}),
        ("a type that is no media", "pages are attested", {"media__mediaType": "text/html"}),
        ("a commitment that is no digest", "optional members are not parsed", {"scanCommitment": "x"}),
        ("an id that is no https", "anyone on the way can speak", {"id": "http://relay.a.example/1"}),
        (
            "an id with a user",
            "the origin is read from the user",
            {"id": "https://relay.a.example@b.example/1"},
        ),
        ("an id with a default port", "one origin in two spellings", {"id": "https://relay.a.example:443/1"}),
        ("an id in capitals", "one origin in two spellings", {"id": "https://RELAY.a.example/1"}),
        (
            "an id with a backslash",
            "origins that readers disagree on",
            {"id": "https://relay.a.example\\@b.example/"},
        ),
        ("a profile that is no URL", "a profile that nobody can look up", {"profile": "image-2"}),
    ):
        yield case(name, sign(change(ATTESTATION, **changes)), "malformed", bug)
    yield case(
        "a short proof", change(good, proof__proofValue=multibase(bytes(63))), "malformed", "it crashes"
    )
    yield case("a proof in base64", change(good, proof__proofValue="uAAAA"), "malformed", "it crashes")
    long = "z" + "2" * 4_000
    yield case("a long proof", change(good, proof__proofValue=long), "malformed", "base58 is quadratic")
    yield case("no created", sign(ATTESTATION, created=None), "malformed", "a proof of no time")
    yield case("a method that is no URL", sign(ATTESTATION, verificationMethod="x"), "malformed", "no origin")


def _form() -> Iterator[Json]:
    good = sign(ATTESTATION)
    other_type = sign(change(ATTESTATION, type="Note"))
    yield case("another type", other_type, "wrong_type", "any signed object of the issuer is an attestation")
    lists = sign(change(ATTESTATION, type=["MediaScanAttestation"]))
    yield case("a list of types", lists, "wrong_type", "a type for every reader")
    for name, context in (
        ("in another order", [CONTEXT[1], CONTEXT[0], CONTEXT[2]]),
        ("with one more", [*CONTEXT, "https://evil.example/context"]),
        ("with one less", CONTEXT[:2]),
        ("with definitions", [*CONTEXT[:2], {"verdict": "https://evil.example/#x"}]),
        ("that is a string", CONTEXT[0]),
    ):
        document = change(ATTESTATION, **{"@context": context})
        yield case(f"a context {name}", sign(document), "wrong_context", "terms that mean something else")
    gained = change(good, **{"@context": [*CONTEXT, "https://evil.example/context"]})
    yield case(
        "a context that grew after signing", gained, "wrong_context", "the proof covers its start only"
    )
    shorter = sign(ATTESTATION, **{"@context": CONTEXT[:2]})
    yield case("a proof of part of the context", shorter, "wrong_context", "the rest is not signed")
    older = sign(ATTESTATION, **{"@context": None})
    yield case("a proof of no context", older, "wrong_context", "the form of 2023 passes as current")
    for suite in ("eddsa-rdfc-2022", "ecdsa-jcs-2019", "none"):
        yield case(
            f"suite {suite}",
            sign(ATTESTATION, cryptosuite=suite),
            "wrong_suite",
            "any suite is verified as ours",
        )
    yield case("another type of proof", sign(ATTESTATION, type="RsaSignature2017"), "wrong_suite", "as above")
    purpose = sign(ATTESTATION, proofPurpose="authentication")
    yield case("another purpose", purpose, "wrong_purpose", "a proof made for something else")
    yield case("no proof", ATTESTATION, "wrong_proof", "unsigned is as good as signed")
    yield case(
        "a list of one proof", change(good, proof=[good["proof"]]), "wrong_proof", "two forms of one object"
    )
    two = change(good, proof=[good["proof"], sign(ATTESTATION, key=OTHER)["proof"]])
    yield case("two proofs", two, "wrong_proof", "one of them is verified and the other believed")
    ends = sign(ATTESTATION, expires="2026-12-22T02:30:00Z")
    yield case("a proof with an end", ends, "wrong_proof", "two ends, of which each reader obeys one")
    for name, url in (
        ("another host", "https://relay.b.example/actor"),
        ("a host below", "https://a.relay.a.example/actor"),
        ("a host above", "https://a.example/actor"),
        ("another port", "https://relay.a.example:8443/actor"),
    ):
        bug = "one origin speaks for another"
        for member in ("id", "attributedTo"):
            document = sign(change(ATTESTATION, **{member: url}))
            yield case(f"{member} on {name}", document, "wrong_origin", bug)
        method = sign(ATTESTATION, verificationMethod=f"{url}#{multikey(ISSUER)}")
        yield case(f"key on {name}", method, "wrong_origin", bug)
    for name, changes in (
        ("a match", {"verdict": "match"}),
        ("clean", {"verdict": "clean"}),
        ("copied from a peer", {"basis": "peer"}),
        ("judged by a human", {"basis": "human"}),
        ("unknown coverage", {"coverage": "most"}),
        ("an image in part", {"coverage": "prefix"}),
        ("an image in samples", {"coverage": "sampled"}),
    ):
        yield case(
            name,
            sign(change(ATTESTATION, **changes)),
            "unsupported_claim",
            "what is unknown is taken for a no-match",
        )


def _standing() -> Iterator[Json]:
    good = sign(ATTESTATION)
    bob = {"actor": "https://relay.a.example/users/bob"}
    yield case(
        "another actor's key", good, "unknown_issuer", "whoever is on the origin speaks for all", key=bob
    )
    key_id = {"id": f"{ACTOR}#other"}
    yield case("another key id", good, "wrong_key", "any key of the issuer is tried", key=key_id)
    neutral = {"multikey": multibase(b"\xed\x01\x01" + bytes(31))}
    yield case("a key of small order", good, "key_refused", "one signature verifies everything", key=neutral)
    yield case("a key at its end", good, "key_expired", "old keys live for ever", key={"expires": NOW})
    revoked = {"revoked": "2026-11-22T02:50:00Z"}
    yield case("a revoked key", good, "key_revoked", "a thief back-dates", key=revoked)
    at = {"trusted_time": "2026-11-22T02:50:00Z"}
    yield case("first seen when the key was revoked", good, "key_revoked", "off by one", key=revoked, **at)
    for name, changes, options, expected in (
        ("published 5 minutes and a second ahead", {"published": "2026-11-22T03:05:01Z"}, {}, "window"),
        ("proved in the future", {}, {"created": "2026-11-22T03:05:01Z"}, "window"),
        ("proved before it was published", {}, {"created": "2026-11-22T02:29:59Z"}, "window"),
        ("a life of 30 days and a second", {"endTime": "2026-12-22T02:30:01Z"}, {}, "window"),
        ("a life of nothing", {"endTime": "2026-11-22T02:30:00Z"}, {}, "window"),
        ("an end before its start", {"endTime": "2026-11-21T02:30:00Z"}, {}, "window"),
        ("a state of the future", {"state__asOf": "2026-11-22T02:30:01Z"}, {}, "window"),
    ):
        document = sign(change(ATTESTATION, **changes), **options)
        yield case(name, document, expected, "attestations outside of any window hold")
    short = sign(change(ATTESTATION, endTime="2026-11-22T02:50:00Z"), created="2026-11-22T02:50:00Z")
    yield case("proved at its end", short, "window", "a proof that was never in time")
    yield case("at its end", good, "expired", "old attestations hold", now="2026-11-29T02:30:00Z")


def _signature() -> Iterator[Json]:
    good = sign(ATTESTATION)
    foreign = sign(ATTESTATION, key=OTHER)
    yield case("signed by another key", foreign, "bad_signature", "the key named is not the key used")
    for name, changes in (
        ("id", {"id": "https://relay.a.example/attestations/2"}),
        ("audience", {"to": "https://www.w3.org/ns/activitystreams#Public"}),
        ("published", {"published": "2026-11-22T02:29:59Z"}),
        ("end", {"endTime": "2026-11-29T02:30:01Z"}),
        ("salt", {"salt": "uAAECAwQFBgcICQoLDA0ODg"}),
        ("digest", {"media__digestMultibase": multihash(b"other bytes")}),
        ("size", {"media__size": 15_357}),
        ("media type", {"media__mediaType": "image/png"}),
        ("profile", {"profile": "https://relay.a.example/profiles/image-3"}),
        ("state", {"state__digestMultibase": multihash(b"another state")}),
        ("date of the state", {"state__asOf": "2026-11-22T00:00:01Z"}),
        ("time of the proof", {"proof__created": "2026-11-22T02:30:01Z"}),
        ("commitment that was added", {"scanCommitment": multihash(b"scores")}),
        ("member that was added", {"extension": 1}),
        ("member of the proof that was added", {"proof__nonce": "x"}),
        (
            "proof of another object",
            {"proof__proofValue": sign(change(ATTESTATION, media__size=1))["proof"]["proofValue"]},
        ),
    ):
        yield case(f"an altered {name}", change(good, **changes), "bad_signature", "something is not signed")


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
        yield case(f"{name} was taken back", good, "revoked", bug, revocations=[entry])
        stranger = {**entry, "issuer": "https://relay.b.example/actor"}
        yield case(f"{name} was taken back by a stranger", good, "valid", revocations=[stranger])
        different = {
            **entry,
            "scope": "attestation" if scope == "state" else "state",
            "object": multihash(b"x"),
        }
        yield case(f"something else than {name} was taken back", good, "valid", revocations=[different])
    profile = {
        "issuer": ACTOR,
        "scope": "profile",
        "object": ATTESTATION["profile"],
        "published": "2026-11-22T02:29:59Z",
    }
    yield case("its profile was taken back before", good, "valid", revocations=[profile])
    key = {"issuer": ACTOR, "scope": "key", "object": KEY_ID, "published": "2026-11-22T02:45:00Z"}
    seen = {"trusted_time": "2026-11-22T02:44:59Z"}
    yield case("its key was taken back after it was seen", good, "valid", revocations=[key], **seen)


def make_attestations() -> list[Json]:
    return [*_valid(), *_malformed(), *_form(), *_standing(), *_signature(), *_revoked()]


def make_revocations() -> list[Json]:
    good = sign(REVOCATION)
    cases = [case("of a state", good, "valid")]
    for scope, target in (
        ("attestation", ATTESTATION["id"]),
        ("profile", ATTESTATION["profile"]),
        ("key", KEY_ID),
    ):
        cases.append(case(f"of {scope}", sign(change(REVOCATION, scope=scope, object=target)), "valid"))
    for name, changes, expected, bug in (
        ("an unknown scope", {"scope": "media"}, "unsupported_claim", "it is read as another"),
        ("an unknown action", {"action": "delete"}, "unsupported_claim", "a peer can have things deleted"),
        ("no action", {"action": None}, "unsupported_claim", "a default is assumed"),
        (
            "an attestation of others",
            {"scope": "attestation", "object": "https://b.example/1"},
            "wrong_origin",
            "a peer takes back what others said",
        ),
        (
            "a key of others",
            {"scope": "key", "object": "https://b.example/actor#k"},
            "wrong_origin",
            "a peer takes back the keys of others",
        ),
        ("a state that is no digest", {"object": "x"}, "malformed", "it matches nothing and says nothing"),
        ("a profile that is no URL", {"scope": "profile", "object": "x"}, "malformed", "as above"),
        ("no object", {"object": None}, "malformed", "everything is taken back"),
        ("no scope", {"scope": None}, "malformed", "everything is taken back"),
        ("an attestation", {"type": "MediaScanAttestation"}, "wrong_type", "one type passes as the other"),
        ("the future", {"published": "2026-11-22T03:05:01Z"}, "window", "it outranks every later one"),
        (
            "another issuer",
            {"attributedTo": "https://relay.a.example/users/bob"},
            "unknown_issuer",
            "whoever is on the origin speaks for all",
        ),
    ):
        cases.append(case(name, sign(change(REVOCATION, **changes)), expected, bug))
    altered = change(good, object=multihash(b"another state"))
    cases.append(case("an altered object", altered, "bad_signature", "the object is not signed"))
    revoked = {"revoked": "2026-11-22T02:40:00Z"}
    cases.append(case("a revoked key", good, "key_revoked", "a thief takes back", key=revoked))
    cases.append(
        case("a key at its end", good, "key_expired", "old keys live for ever", key={"expires": NOW})
    )
    neutral = {"multikey": multibase(b"\xed\x01\x01" + bytes(31))}
    cases.append(case("a key of small order", good, "key_refused", "one signature for all", key=neutral))
    return cases


def make_files() -> dict[str, str]:
    """Return the text of every file by its name."""
    origin = "made by tests/vectors/make_attestation_vectors.py; licence CC0-1.0"
    files = {"attestations.json": make_attestations(), "revocations.json": make_revocations()}
    return {
        name: json.dumps({"origin": origin, "cases": cases}, indent=1) + "\n" for name, cases in files.items()
    }


if __name__ == "__main__":
    for name, text in make_files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print("written:", ", ".join(sorted(make_files())))
