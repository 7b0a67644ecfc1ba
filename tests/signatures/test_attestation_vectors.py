"""The conformance vectors of the FEP, as this implementation ends them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from signatures.alert import parse_alert, seal_digest, verify_alert
from signatures.attestation import parse_attestation
from signatures.attestation_verify import verify_attestation
from signatures.doubt import parse_doubt, verify_doubt
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.fields import parse_attestation_field
from signatures.http import FASP_FRESHNESS, Profile, find_signature, verify_request, verify_response
from signatures.keys import ed25519_from_seed, parse_multikey
from signatures.message import RequestMessage, ResponseMessage
from signatures.objects import IssuerKey
from signatures.published_keys import PUBLISHED_KEYS
from signatures.revocation import (
    RevocationBody,
    Scope,
    build_revocation_index,
    parse_revocation,
    verify_revocation,
)
from signatures.times import parse_json_time
from tests.signatures.support import Refusal
from tests.vectors.attestation import kit
from tests.vectors.attestation.make import FOLDER, make_files
from tests.vectors.attestation.reading import raw_of, read_cases, read_example

if TYPE_CHECKING:
    from datetime import datetime

_ATTESTATIONS = read_cases("attestations")
_REVOCATIONS = read_cases("revocations")
_FIELDS = read_cases("fields")
_MESSAGES = read_cases("messages")
_OBJECTS = [*_ATTESTATIONS, *_REVOCATIONS, *read_cases("alerts"), *read_cases("doubts")]
_ALL = [*_OBJECTS, *_FIELDS, *_MESSAGES]


def _path(case: dict[str, Any]) -> str:
    return str(case["path"])


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_json_time(text)


def _issuer_key(key: dict[str, str]) -> IssuerKey:
    return IssuerKey(
        actor=key["actor"],
        key_id=key["id"],
        key=parse_multikey(key["multikey"]),
        expires=_time(key.get("expires")),
        revoked=_time(key.get("revoked")),
    )


def _verify(case: dict[str, Any], *, kind: str) -> None:
    options: dict[str, Any] = {
        "issuer_key": _issuer_key(case["key"]),
        "now": parse_json_time(case["now"]),
        "trusted_time": _time(case.get("trusted_time")),
        "allow_published_test_keys": True,
    }
    match kind:
        case "revocations":
            verify_revocation(parse_revocation(raw_of(case)), **options)
        case "alerts":
            verify_alert(parse_alert(raw_of(case)), **options)
        case "doubts":
            verify_doubt(parse_doubt(raw_of(case)), **options)
        case _:
            _verify_attestation(case, options)


def _verify_attestation(case: dict[str, Any], options: dict[str, Any]) -> None:
    revocations = build_revocation_index(
        RevocationBody(
            id="https://relay.a.example/r",
            issuer=entry["issuer"],
            audience="x",
            published=parse_json_time(entry["published"]),
            scope=Scope(entry["scope"]),
            object=entry["object"],
        )
        for entry in case.get("revocations", [])
    )
    verify_attestation(parse_attestation(raw_of(case)), revocations=revocations, **options)


def _verify_message(case: dict[str, Any]) -> None:
    sent, key = case["message"], parse_multikey(case["key"]["multikey"])
    now, body = parse_json_time(case["now"]), sent["body"].encode()
    headers = tuple((name, value) for name, value in sent["headers"])
    if case["kind"] == "response":
        answer = ResponseMessage(status=sent["status"], headers=headers, body=body)
        verify_response(answer, key=key, key_id=case["key"]["id"], now=now)
        return
    url = urlsplit(sent["targetUri"])
    message = RequestMessage(
        method=sent["method"],
        scheme=url.scheme,
        authority=url.netloc,
        target=url.path + (f"?{url.query}" if url.query else ""),
        headers=headers,
        body=body,
    )
    signature = find_signature(message)
    if signature is None:
        raise VerificationError(Reason.NO_SIGNATURE, "a request without a signature")
    verify_request(message, signature, key=key, now=now, freshness=FASP_FRESHNESS, profile=Profile.FASP)


def _outcome(case: dict[str, Any]) -> str:
    """Say how a case ends, in the words of its `expected`."""
    kind = Path(case["path"]).parts[0]
    try:
        match kind:
            case "messages":
                _verify_message(case)
            case "fields":
                assert parse_attestation_field(case["value"]) == case.get("raw", "").encode()
            case _:
                _verify(case, kind=kind)
    except MalformedError:
        return "malformed"
    except VerificationError as error:
        return error.reason.value
    return "valid"


@pytest.mark.parametrize("case", _ALL, ids=_path)
def test_every_vector_ends_as_expected(case: dict[str, Any]) -> None:
    assert _outcome(case) == case["expected"]


def test_the_vectors_are_those_that_the_script_makes() -> None:
    made = make_files()
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.json")} == set(made)
    for path, text in made.items():
        assert (FOLDER / path).read_text(encoding="utf-8") == text, path


def test_every_reason_of_these_objects_has_a_vector_and_every_negative_names_its_bug() -> None:
    reasons = {case["expected"] for case in _ATTESTATIONS}
    assert reasons == {
        "valid", "malformed", "wrong_type", "wrong_context", "wrong_suite", "wrong_purpose", "wrong_proof",
        "wrong_origin", "unsupported_claim", "unknown_issuer", "wrong_key", "key_refused", "key_expired",
        "key_revoked", "window", "expired", "bad_signature", "revoked",
    }  # fmt: skip
    assert all(bool(case.get("bug")) == (case["expected"] != "valid") for case in _ALL)
    assert all(("step" in case) == (case["expected"] != "valid") for case in _OBJECTS)


def test_published_test_keys_attest_nothing_in_production() -> None:
    example = read_example()
    issuer = _issuer_key(
        {"actor": kit.ACTOR, "id": example["issuerKeyId"], "multikey": example["issuerMultikey"]}
    )
    with Refusal(Reason.KEY_REFUSED):
        verify_attestation(
            parse_attestation(example["attestation"].encode()),
            issuer_key=issuer,
            now=parse_json_time(example["now"]),
        )


def test_the_seal_of_the_alert_that_the_fep_prints_is_that_of_its_media() -> None:
    example = read_example()
    alert = parse_alert(example["alert"].encode())
    sealed = seal_digest(bytes.fromhex(example["mediaSha256Hex"]), key=bytes.fromhex(example["pairKeyHex"]))
    assert alert.body.mac == sealed


@pytest.mark.parametrize("name", ["issuer", "second issuer", "issuer's api", "peer's api"])
def test_every_key_of_a_printed_seed_is_known_as_published(name: str) -> None:
    assert ed25519_from_seed(kit.seed_of(name)).public.fingerprint in PUBLISHED_KEYS


def test_the_example_that_the_fep_prints_is_the_object_that_its_parts_make() -> None:
    example = read_example()
    attestation = json.loads(example["attestation"])
    options = json.loads(example["proofOptionsCanonical"])
    assert attestation["proof"] == {**options, "proofValue": attestation["proof"]["proofValue"]}
    assert json.loads(example["unsecuredDocumentCanonical"]) == {
        name: value for name, value in attestation.items() if name != "proof"
    }
    assert (
        parse_attestation(example["attestation"].encode()).signed.signature.hex() == example["signatureHex"]
    )
    field = example["headers"]["Media-Scan-Attestation"]
    assert parse_attestation_field(field).decode() == example["attestation"]
