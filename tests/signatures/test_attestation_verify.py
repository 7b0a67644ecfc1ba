from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from signatures.attestation import parse_attestation
from signatures.attestation_verify import verify_attestation
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.keys import parse_multikey
from signatures.objects import IssuerKey
from signatures.revocation import (
    RevocationBody,
    Scope,
    build_revocation_index,
    parse_revocation,
    verify_revocation,
)
from signatures.times import parse_json_time
from tests.signatures.support import NOW, Refusal, rsa_key
from tests.signatures.test_attestation import ISSUER, build
from tests.vectors.make_attestation_vectors import make_files
from tests.vectors_dir import OWN, own_vectors

if TYPE_CHECKING:
    from datetime import datetime

_ATTESTATIONS = own_vectors("attestation/attestations.json")["cases"]
_REVOCATIONS = own_vectors("attestation/revocations.json")["cases"]


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_json_time(text)


def issuer_key(key: dict[str, str]) -> IssuerKey:
    return IssuerKey(
        actor=key["actor"],
        key_id=key["id"],
        key=parse_multikey(key["multikey"]),
        expires=_time(key.get("expires")),
        revoked=_time(key.get("revoked")),
    )


def _outcome(case: dict[str, Any]) -> str:
    """Say how a case ends, in the words of its `expected`."""
    is_revocation = case in _REVOCATIONS
    options: dict[str, Any] = {
        "issuer_key": issuer_key(case["key"]),
        "now": parse_json_time(case["now"]),
        "trusted_time": _time(case.get("trusted_time")),
        "allow_published_test_keys": True,
    }
    try:
        if is_revocation:
            verify_revocation(parse_revocation(case["raw"].encode()), **options)
        else:
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
            verify_attestation(parse_attestation(case["raw"].encode()), revocations=revocations, **options)
    except MalformedError:
        return "malformed"
    except VerificationError as error:
        return error.reason.value
    return "valid"


@pytest.mark.parametrize("case", [*_ATTESTATIONS, *_REVOCATIONS], ids=lambda case: case["name"])
def test_every_vector_ends_as_expected(case: dict[str, Any]) -> None:
    assert _outcome(case) == case["expected"]


def test_the_vectors_are_those_that_the_script_makes() -> None:
    for name, text in make_files().items():
        assert (OWN / "attestation" / name).read_text(encoding="utf-8") == text


def test_every_reason_of_these_objects_has_a_vector_and_every_negative_names_its_bug() -> None:
    reasons = {case["expected"] for case in _ATTESTATIONS}
    assert reasons == {
        "valid", "malformed", "wrong_type", "wrong_context", "wrong_suite", "wrong_purpose", "wrong_proof",
        "wrong_origin", "unsupported_claim", "unknown_issuer", "wrong_key", "key_refused", "key_expired",
        "key_revoked", "window", "expired", "bad_signature", "revoked",
    }  # fmt: skip
    assert all(case.get("bug") for case in [*_ATTESTATIONS, *_REVOCATIONS] if case["expected"] != "valid")


def test_published_test_keys_attest_nothing_in_production() -> None:
    case = _ATTESTATIONS[0]
    with Refusal(Reason.KEY_REFUSED):
        verify_attestation(
            parse_attestation(case["raw"].encode()),
            issuer_key=issuer_key(case["key"]),
            now=parse_json_time(case["now"]),
        )


def test_an_rsa_key_attests_nothing() -> None:
    issuer = IssuerKey(actor=ISSUER.actor, key_id=ISSUER.key_id, key=rsa_key().public)
    with Refusal(Reason.WRONG_KEY):
        verify_attestation(
            parse_attestation(build()), issuer_key=issuer, now=NOW, allow_published_test_keys=True
        )


def test_a_naive_time_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="aware"):
        verify_attestation(parse_attestation(build()), issuer_key=ISSUER, now=NOW.replace(tzinfo=None))
