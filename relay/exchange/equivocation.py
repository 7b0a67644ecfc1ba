"""Prove that a peer said two things under one name.

Pure: no clock, no I/O. The two signatures prove it to everybody, whoever showed the objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from db.equivocations import Equivocation
from signatures.attestation import parse_attestation
from signatures.errors import MalformedError, VerificationError
from signatures.jcs import canonicalize
from signatures.objects import MAX_OBJECT_BYTES, MAX_OBJECT_DEPTH, verify_issuer, verify_object_signature
from signatures.strictjson import parse_json_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from db.mirror import MirroredAttestation
    from signatures.attestation import Attestation
    from signatures.objects import IssuerKey
    from signatures.strictjson import JsonObject

_PROOF = "proof"


def is_same_object(first: bytes, second: Attestation) -> bool:
    """Tell whether two copies are of one object; what stood in an activity comes in its canonical form."""
    return first == second.raw or canonicalize(_read(first)) == canonicalize(dict(second.signed.document))


def prove_equivocation(
    before: MirroredAttestation, second: Attestation, *, keys: Mapping[str, IssuerKey], now: datetime
) -> Equivocation | None:
    """Return the proof that an issuer said two things under one name; None where there is none.

    A statement that was signed a second time, by a new key perhaps, still says the same. A key that was
    stolen proves nothing about its owner: what came since its revocation does not count.

    Args:
        before: What came first.
        second: Another object of that name, which nobody has verified yet.
        keys: The keys that were admitted for their issuer, by id.
        now: When the second came.
    """
    # Two actors of one server may take the same name; neither has said two things.
    if before.issuer != second.body.issuer:
        return None
    if canonicalize(_without_proof(_read(before.object))) == canonicalize(
        _without_proof(dict(second.signed.document))
    ):
        return None
    first = parse_attestation(before.object, allow_http=True)
    first_key, second_key = keys.get(before.key_id), keys.get(second.verification_method)
    if first_key is None or second_key is None:
        return None
    try:
        # The first was verified when it came; here it is again, so that what is kept holds by itself. Whether
        # either has ended is beside the point.
        verify_issuer(
            first.signed, issuer_key=first_key, now=before.received_at, trusted_time=before.received_at
        )
        verify_object_signature(first.signed, key=first_key.key)
        verify_issuer(second.signed, issuer_key=second_key, now=now, trusted_time=now)
        verify_object_signature(second.signed, key=second_key.key)
    except (MalformedError, VerificationError):
        return None
    return Equivocation(
        issuer=before.issuer,
        attestation_id=before.id,
        first=before.object,
        first_key_id=first_key.key_id,
        first_multikey=first_key.key.to_multikey(),
        second=second.raw,
        second_key_id=second_key.key_id,
        second_multikey=second_key.key.to_multikey(),
        found_at=now,
    )


def _read(raw: bytes) -> JsonObject:
    return parse_json_object(raw, max_bytes=MAX_OBJECT_BYTES, max_depth=MAX_OBJECT_DEPTH)


def _without_proof(document: JsonObject) -> JsonObject:
    return {name: value for name, value in document.items() if name != _PROOF}
