"""Verify an attestation, as a numbered proof."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from signatures.admission import admit_key
from signatures.errors import Reason, VerificationError
from signatures.objects import verify_issuer, verify_object_signature, verify_published
from signatures.revocation import NO_REVOCATIONS
from signatures.times import require_utc

if TYPE_CHECKING:
    from datetime import datetime

    from signatures.attestation import Attestation
    from signatures.objects import IssuerKey
    from signatures.revocation import RevocationIndex

# Profiles with daily lists run out after 24 hours and those of models after 7 days; nothing has a reason
# to outlive a month, and receivers keep what they relied on for that long.
MAX_LIFE: Final = timedelta(days=30)


def verify_attestation(
    attestation: Attestation,
    *,
    issuer_key: IssuerKey,
    now: datetime,
    revocations: RevocationIndex = NO_REVOCATIONS,
    trusted_time: datetime | None = None,
    allow_published_test_keys: bool = False,
) -> None:
    """Verify that the issuer made this statement, and that it still stands.

    Parsing has proved, before this: size and depth, strict JSON, type and context, suite and purpose,
    exactly one proof, and identifier, issuer and key on one origin.

    The caller owes: the peer is known and `issuer_key` was fetched from it and is still current; the bytes
    at hand have the digest, the size and the sniffed type that the body names; the profile, the age of
    `state_as_of` and the peer's standing suffice (policy); of several attestations by one issuer for one
    digest and profile the newest counts; `trusted_time` is this relay's own receipt or a witness's.

    Raises:
        MalformedError: the document cannot be canonicalized.
        VerificationError: the first rule below that does not hold.
    """
    now = require_utc(now)
    # 1. The key was admitted (key_refused); cached, so that only the first time costs a millisecond.
    admit_key(issuer_key.key, allow_published_test_keys=allow_published_test_keys)
    # 2. It is the issuer's and the one named (unknown_issuer, wrong_key), not run out (key_expired) and not
    #    revoked before the object is known to have existed (key_revoked).
    verify_issuer(attestation.signed, issuer_key=issuer_key, now=now, trusted_time=trusted_time)
    # 3. Now lies within a life of sensible length (window, expired).
    _require_window(attestation, now)
    # 4. The signature is over the document that was parsed (bad_signature).
    verify_object_signature(attestation.signed, key=issuer_key.key)
    # 5. The issuer has not taken it back (revoked).
    if revocations.revokes(attestation, trusted_time=trusted_time):
        raise VerificationError(Reason.REVOKED, "the issuer has asked for a new scan")


def _require_window(attestation: Attestation, now: datetime) -> None:
    verify_published(attestation.signed, now=now)
    body = attestation.body
    if body.end_time - body.published > MAX_LIFE:
        raise VerificationError(Reason.WINDOW, "a life of more than 30 days")
    # Nothing is proved before it is published either, so this refuses lives of no length as well.
    if attestation.signed.created >= body.end_time:
        raise VerificationError(Reason.WINDOW, "proved at its end or after")
    if body.state_as_of > body.published:
        raise VerificationError(Reason.WINDOW, "scanned with a state of the future")
    if now >= body.end_time:
        raise VerificationError(Reason.EXPIRED, "the attestation has run out")
