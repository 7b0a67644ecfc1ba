"""Verify an attestation step by step, so that a person can see which rule holds and which does not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from relay.errors import BreakwaterError
from relay.tools.key_documents import read_key
from signatures.attestation import parse_attestation, verify_attestation
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.objects import IssuerKey
from signatures.strictjson import parse_json_object
from signatures.times import parse_time_stamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from signatures.attestation import Attestation
    from signatures.strictjson import JsonObject

MAX_DOCUMENT_BYTES: Final = 1_048_576
MAX_DOCUMENT_DEPTH: Final = 32
"""Actor documents are bounded like activities."""


class NoKeyError(BreakwaterError):
    """There is no key to verify with."""


class StepOutcome(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    NOT_REACHED = "not reached"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rule: what it asks, and how it ended."""

    name: str
    outcome: StepOutcome
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Every step in the order of the protocol; the attestation is None where it could not be parsed."""

    attestation: Attestation | None
    steps: tuple[Step, ...]

    @property
    def is_verified(self) -> bool:
        """No step failed, and every step that needs nothing else was reached."""
        return not any(step.outcome in {StepOutcome.FAILED, StepOutcome.NOT_REACHED} for step in self.steps)


_FORM: Final = "form"
_MEDIA: Final = "media"
_REVOCATION: Final = "revocation"

_RULES: Final[tuple[tuple[str, str, frozenset[Reason]], ...]] = (
    (_FORM, "at most 8 KiB and 8 deep, strict JSON, every member as it should be", frozenset()),
    (
        "type",
        "a MediaScanAttestation in exactly its context",
        frozenset({Reason.WRONG_TYPE, Reason.WRONG_CONTEXT}),
    ),
    ("suite", "suite eddsa-jcs-2022, to assert", frozenset({Reason.WRONG_SUITE, Reason.WRONG_PURPOSE})),
    ("proof", "exactly one proof", frozenset({Reason.WRONG_PROOF})),
    ("origin", "id, issuer and key on one origin", frozenset({Reason.WRONG_ORIGIN})),
    ("claim", "no match, by the issuer's own scan, seen in full", frozenset({Reason.UNSUPPORTED_CLAIM})),
    ("issuer", "the key is the issuer's", frozenset({Reason.UNKNOWN_ISSUER, Reason.WRONG_KEY})),
    ("key", "the key can be admitted", frozenset({Reason.KEY_REFUSED})),
    ("key life", "the key has not ended", frozenset({Reason.KEY_EXPIRED, Reason.KEY_REVOKED})),
    (
        "window",
        "published, not run out, a life of at most 30 days",
        frozenset({Reason.WINDOW, Reason.EXPIRED}),
    ),
    ("signature", "the signature is over this document", frozenset({Reason.BAD_SIGNATURE})),
    (_REVOCATION, "not taken back", frozenset({Reason.REVOKED})),
    (_MEDIA, "the bytes at hand are those that were scanned", frozenset()),
)
"""The order of verification, cheap first: name, what it asks, and the reasons that mean it does not hold."""


def verify_steps(
    data: bytes,
    *,
    find_issuer_key: Callable[[Attestation], IssuerKey],
    now: datetime,
    media: bytes | None = None,
    allow_http: bool = False,
) -> Verification:
    """Verify an attestation and report every step.

    Args:
        data: The attestation as received.
        find_issuer_key: Gives the key of its issuer; raises `VerificationError` where there is none.
        now: The time of the verification.
        media: The bytes that it should speak of, if they are at hand.
        allow_http: Admit issuers without TLS, in test set-ups.

    Raises:
        NoKeyError: No key was found that anything could be verified with.
    """
    attestation = None
    try:
        attestation = parse_attestation(data, allow_http=allow_http)
        issuer_key = find_issuer_key(attestation)
        verify_attestation(attestation, issuer_key=issuer_key, now=now)
    except MalformedError as error:
        return Verification(attestation=attestation, steps=_steps_until(_FORM, str(error)))
    except VerificationError as error:
        failed = next((name for name, _, reasons in _RULES if error.reason in reasons), _FORM)
        return Verification(attestation=attestation, steps=_steps_until(failed, str(error)))
    steps = list(_steps_until(None, ""))
    steps[_place(_REVOCATION)] = replace(
        steps[_place(_REVOCATION)],
        outcome=StepOutcome.NOT_CHECKED,
        detail="whether it was taken back is for its issuer to say",
    )
    steps[_place(_MEDIA)] = _compare(attestation, media)
    return Verification(attestation=attestation, steps=tuple(steps))


def find_key_in_document(data: bytes, attestation: Attestation) -> IssuerKey:
    """Read the issuer's key from the issuer's actor document, with its end where it has one.

    Raises:
        NoKeyError: The document is no JSON object, or a time in it is no time.
        VerificationError: It does not publish the key, or not for the issuer.
    """
    try:
        document = parse_json_object(data, max_bytes=MAX_DOCUMENT_BYTES, max_depth=MAX_DOCUMENT_DEPTH)
        published = read_key(document, attestation.verification_method)
        entry = _find_entry(document, published.key_id)
        return IssuerKey(
            actor=published.owner,
            key_id=published.key_id,
            key=published.key,
            expires=_time(entry, "expires"),
            revoked=_time(entry, "revoked"),
        )
    except MalformedError as error:
        raise NoKeyError(
            f"The actor document cannot be read ({error}). Nothing was verified. Fetch it again from the "
            "issuer's id, asking for application/activity+json."
        ) from error


def _find_entry(document: JsonObject, key_id: str) -> JsonObject:
    listed = document.get("assertionMethod")
    entries = listed if isinstance(listed, list) else [listed]
    return next((one for one in entries if isinstance(one, dict) and one.get("id") == key_id), {})


def _time(entry: JsonObject, name: str) -> datetime | None:
    return None if entry.get(name) is None else parse_time_stamp(entry[name])


def _steps_until(failed: str | None, why: str) -> tuple[Step, ...]:
    """List the steps: those before the failed one held, those after it were not reached."""
    steps: list[Step] = []
    outcome = StepOutcome.OK
    for name, about, _ in _RULES:
        if name == failed:
            steps.append(Step(name=name, outcome=StepOutcome.FAILED, detail=why))
            outcome = StepOutcome.NOT_REACHED
        else:
            steps.append(Step(name=name, outcome=outcome, detail=about))
    return tuple(steps)


def _compare(attestation: Attestation, media: bytes | None) -> Step:
    body = attestation.body
    if media is None:
        detail = "no bytes were given to compare with (--media FILE)"
        return Step(name=_MEDIA, outcome=StepOutcome.NOT_CHECKED, detail=detail)
    if len(media) == body.size and hashlib.sha256(media).digest() == body.sha256:
        return Step(name=_MEDIA, outcome=StepOutcome.OK, detail="these are the bytes that were scanned")
    return Step(name=_MEDIA, outcome=StepOutcome.FAILED, detail="these are other bytes than were scanned")


def _place(name: str) -> int:
    return next(place for place, rule in enumerate(_RULES) if rule[0] == name)
