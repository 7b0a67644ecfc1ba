"""Bytes that are no attestation: each would be one to a reader that is lenient in one place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tests.vectors.attestation.kit import ATTESTATION, Json, case, change, multibase, sign

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONG_URL: Final = "https://relay.a.example/" + "a" * 2_025


def make_malformed() -> Iterator[Json]:
    yield from _text()
    yield from _identifiers()
    yield from _missing()
    yield from _members()
    yield from _proof()


def _text() -> Iterator[Json]:
    good = sign(ATTESTATION)
    text = json.dumps(good)
    size = f'"size": {ATTESTATION["media"]["size"]}'
    deep = json.dumps(change(good, x=[[[[[[[[1]]]]]]]]))
    surrogate = text.replace("no-match", "no-match\\ud800")
    for name, raw, bug in (
        ("not JSON", text[:-1], "a parser that repairs"),
        ("nothing", "", "a crash"),
        ("an array", f"[{text}]", "the first element of an array is taken"),
        ("something after it", text + "{}", "what follows is not read"),
        ("a comma too many", text[:-1] + ",}", "a parser that repairs"),
        ("a comment", text + "// comment", "a parser that reads more than JSON"),
        ("a blank that is none of JSON's", text + "\u00a0", "a parser that reads more than JSON"),
        ("a byte order mark", "\ufeff" + text, "bytes that are skipped, and are not signed"),
        ("a key twice", text.replace('"verdict":', '"verdict": "match", "verdict":'), "the last of two wins"),
        (
            "a key twice in two spellings",
            text.replace('"verdict":', '"\\u0076erdict": "match", "verdict":'),
            "keys are compared before they are unescaped",
        ),
        (
            "a key twice in a member that nobody knows",
            text[:-1] + ', "x": {"a": 1, "a": 2}}',
            "only known members are looked at",
        ),
        ("a float", text.replace(size, size + ".0"), "two spellings of one number"),
        ("an exponent", text.replace(size, '"size": 35e0'), "two spellings of one number"),
        (
            "a float in a member that nobody knows",
            text[:-1] + ', "x": 0.5}',
            "numbers whose canonical form verifiers disagree on",
        ),
        ("a leading zero", text.replace(size, '"size": 035'), "a parser that reads octal numbers"),
        ("a huge integer", text.replace(size, '"size": 9007199254740992'), "numbers that round together"),
        (
            "a huge negative integer",
            text[:-1] + ', "x": -9007199254740992}',
            "numbers that round together",
        ),
        ("NaN", text.replace(size, '"size": NaN'), "NaN is read"),
        ("Infinity", text[:-1] + ', "x": Infinity}', "Infinity is read"),
        ("a lone surrogate", surrogate, "strings that no UTF-8 holds"),
        ("a lone low surrogate", surrogate.replace("ud800", "uDC00"), "strings that no UTF-8 holds"),
        ("a lone surrogate in a key", text[:-1] + ', "\\uD834x": 1}', "only values are looked at"),
        ("a raw tab in a string", text.replace("no-match", "no-\tmatch"), "a parser that reads more"),
        ("single quotes", text.replace('"', "'"), "a parser that reads more than JSON"),
        ("8,193 bytes", text + " " * (8_193 - len(text)), "objects of any size are read"),
        ("depth 9", deep, "objects of any depth are read"),
    ):
        yield case(name, raw, "malformed", bug, step=1)
    latin = text.replace("no-match", "no-m\xe4tch").encode("latin-1")
    yield case("not UTF-8", latin, "malformed", "bytes are replaced before they are verified", step=1)
    overlong = text.encode().replace(b"no-match", b"no-m\xc1\xa1tch")
    yield case("overlong UTF-8", overlong, "malformed", "two spellings of one letter", step=1)
    wide = text.encode("utf-16-le")
    yield case("UTF-16", wide, "malformed", "the coding is guessed", step=1)


def _identifiers() -> Iterator[Json]:
    one, two = "one origin in two spellings", "origins that readers disagree on"
    for name, url, bug in (
        ("that is no https", "http://relay.a.example/1", "anyone on the way can speak"),
        ("without a host", "https:///1", "no origin at all"),
        ("with a user", "https://relay.a.example@b.example/1", "the origin is read from the user"),
        ("with a default port", "https://relay.a.example:443/1", one),
        ("with a port of zeros", "https://relay.a.example:0443/1", one),
        ("in capitals", "https://RELAY.a.example/1", one),
        ("with a dot at the host's end", "https://relay.a.example./1", one),
        ("in letters that are not ASCII", "https://reläy.a.example/1", one),
        ("with a backslash", "https://relay.a.example\\@b.example/", two),
        ("with a blank", "https://relay.a.example/1 2", two),
        ("with a line end", "https://relay.a.example/1\n", two),
        ("of 2,049 characters", _LONG_URL, "strings of any length are compared"),
        ("that is relative", "/attestations/1", "it is resolved against whatever is at hand"),
        ("that is an array", ["https://relay.a.example/1"], "another form of one identifier"),
    ):
        yield case(f"an id {name}", sign(change(ATTESTATION, id=url)), "malformed", bug, step=4)
    issuer = sign(change(ATTESTATION, attributedTo={"id": "https://relay.a.example/actor"}))
    bug = "another form of one identifier"
    yield case("an issuer that is an object", issuer, "malformed", bug, step=4)
    method = sign(ATTESTATION, verificationMethod="x")
    yield case("a method that is no URL", method, "malformed", "no origin", step=4)
    for name in ("id", "attributedTo"):
        document = sign(change(ATTESTATION, **{name: None}))
        yield case(f"no {name}", document, "malformed", "a default is assumed", step=4)


def _missing() -> Iterator[Json]:
    for path in (
        "to",
        "published",
        "endTime",
        "salt",
        "media",
        "coverage",
        "profile",
        "state",
        "media__digestMultibase",
        "media__size",
        "media__mediaType",
        "state__asOf",
        "state__digestMultibase",
    ):
        created = {"created": "2026-11-22T02:30:00Z"}
        document = sign(change(ATTESTATION, **{path: None}), **created)
        name = path.replace("__", " ")
        yield case(f"no {name}", document, "malformed", "a default is assumed", step=5)


def _members() -> Iterator[Json]:
    times = "two spellings of one time"
    calendar = "times are not checked"
    for name, bug, changes in (
        ("a time with an offset", times, {"published": "2026-11-22T02:30:00+00:00"}),
        ("a time with a fraction", times, {"endTime": "2026-11-29T02:30:00.0Z"}),
        ("a time in small letters", times, {"endTime": "2026-11-29t02:30:00z"}),
        ("a time with a blank", times, {"endTime": "2026-11-29 02:30:00Z"}),
        ("a time with other digits", times, {"endTime": "2026-11-29T02:30:0\u0660Z"}),
        ("a time that is a number", times, {"endTime": 1_795_919_400}),
        ("a time on no calendar", calendar, {"endTime": "2026-11-31T02:30:00Z"}),
        ("a leap day in a common year", calendar, {"endTime": "2027-02-29T02:30:00Z"}),
        ("a time at the hour 24", times, {"endTime": "2026-11-29T24:00:00Z"}),
        ("a leap second", times, {"endTime": "2026-11-29T23:59:60Z"}),
        ("a year 0", calendar, {"state__asOf": "0000-01-01T00:00:00Z"}),
        ("a salt of 15 bytes", "a salt that can be guessed", {"salt": "uAAECAwQFBgcICQoLDA0O"}),
        ("a salt of 17 bytes", "two sizes of one member", {"salt": "uAAECAwQFBgcICQoLDA0ODxA"}),
        ("a salt in base58", "another multibase is read", {"salt": "z3SEo3LWLoPntC"}),
        ("a salt with loose ends", "two spellings of one salt", {"salt": "uAAECAwQFBgcICQoLDA0ODx"}),
        ("a salt with padding", "two spellings of one salt", {"salt": "uAAECAwQFBgcICQoLDA0ODw=="}),
        ("an empty audience", "a default is assumed", {"to": ""}),
        ("an audience that is an array", "another form of one member", {"to": ["https://b.example/"]}),
        ("media that is a link", "another form of one member", {"media": "https://b.example/1.gif"}),
        ("a size of nothing", "an empty body is media", {"media__size": 0}),
        ("a negative size", "sizes are not checked", {"media__size": -1}),
        ("a size that is true", "a boolean is an integer", {"media__size": True}),
        ("a size that is a string", "strings are converted", {"media__size": "35"}),
        ("a type that is no media", "pages are attested", {"media__mediaType": "text/html"}),
        ("a type in capitals", "two spellings of one type", {"media__mediaType": "image/GIF"}),
        ("a type with a parameter", "two spellings", {"media__mediaType": "image/gif;q=1"}),
        ("a commitment that is no digest", "optional members are not parsed", {"scanCommitment": "x"}),
        ("a commitment that is a number", "optional members are not parsed", {"scanCommitment": 1}),
        ("a profile that is no URL", "a profile that nobody can look up", {"profile": "image-2"}),
    ):
        options = {"created": "2026-11-22T02:30:00Z"} if "published" in changes else {}
        yield case(name, sign(change(ATTESTATION, **changes), **options), "malformed", bug, step=5)
    good = ATTESTATION["media"]["digestMultibase"]
    for name, digest, bug in (
        ("that is no multihash", multibase(bytes(34)), "any bytes are a digest"),
        ("of another function", multibase(b"\x13\x20" + bytes(32)), "it is compared with SHA-256"),
        ("that is cut short", multibase(b"\x12\x1f" + bytes(31)), "part of a digest is compared"),
        ("of another length than it says", multibase(b"\x12\x1f" + bytes(32)), "the length is not read"),
        ("in hexadecimal digits", "f1220" + "00" * 32, "another multibase is read"),
        ("without its multibase", good[1:] + "1", "the first digit is skipped, whatever it is"),
        ("with a digit that base58 lacks", good[:-1] + "0", "it is read as another digit"),
        ("of 4,000 digits", "z" + "2" * 4_000, "base58 is quadratic in its length"),
    ):
        document = sign(change(ATTESTATION, media__digestMultibase=digest))
        yield case(f"a digest {name}", document, "malformed", bug, step=5)


def _proof() -> Iterator[Json]:
    good = sign(ATTESTATION)
    bug = "a proof without a key"
    yield case("no method", sign(ATTESTATION, verificationMethod=None), "malformed", bug, step=3)
    yield case("no created", sign(ATTESTATION, created=None), "malformed", "a proof of no time", step=5)
    fraction = sign(ATTESTATION, created="2026-11-22T02:30:00.5Z")
    yield case("created with a fraction", fraction, "malformed", "two spellings of one time", step=5)
    value = good["proof"]["proofValue"]
    for name, text, bug in (
        ("that is short", multibase(bytes(63)), "it crashes"),
        ("that is long", multibase(bytes(65)), "the rest is not looked at"),
        ("in base64", "uAAAA", "it crashes"),
        ("that is empty", "", "it crashes"),
        ("with a digit that base58 lacks", value[:-1] + "l", "it is read as another digit"),
        ("of 4,000 digits", "z" + "2" * 4_000, "base58 is quadratic in its length"),
    ):
        yield case(f"a value {name}", change(good, proof__proofValue=text), "malformed", bug, step=5)
    yield case("no value", change(good, proof__proofValue=None), "malformed", "it crashes", step=5)
