"""Commit to the scores of a scan, open the commitment, and hold an opening against our own scores.

Whoever signs without scanning has no scores. An attestation names the digest of what its issuer's models made
of the media, salted so that it says nothing by itself; whoever audits it asks what the digest is of. Almost
nothing ever matches, but every picture has scores, so that a few audits tell a scanner from a copier.

Scores are worth something to whoever wants to get past a model. They are opened to peers alone, a question at
a time, and each for media that is public, that the peer has, and in which nothing was found.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from db.peers import Following
from relay.trust import MODEL_MARGIN, Audited
from signatures.attestation import parse_attestation
from signatures.encoding import encode_base64url
from signatures.errors import MalformedError
from signatures.jcs import canonicalize
from signatures.strictjson import parse_json_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from db.mirror import MirroredAttestation
    from db.peers import Peer
    from scanner.report import DetectorRun
    from signatures.strictjson import JsonObject

SALT2_SIZE: Final = 16
"""128 random bits, so that scores cannot be guessed from the digest."""

MAX_OPENING_BYTES: Final = 65_536
"""The scores of a thousand labels and more."""

_MAX_DEPTH: Final = 3

# What decides the pixels that a model is shown.
_RENDERING: Final = ("decoders", "rendering", "budgets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """What is signed, and what it is of.

    Attributes:
        digest: The SHA-256 of the opening; `scanCommitment` of the attestation.
        opening: The canonical form of `{"salt2": …, "scores": {…}}`.
    """

    digest: bytes
    opening: bytes


def build_commitment(runs: Sequence[DetectorRun], *, salt2: bytes) -> Commitment | None:
    """Commit to the scores of a scan; None where no model gave any, or more than can be opened.

    Args:
        runs: The parts of a scan in which nothing was found.
        salt2: `SALT2_SIZE` fresh random octets.
    """
    scores: JsonObject = dict(_name_scores(runs))
    if not scores:
        return None
    opening = canonicalize({"salt2": encode_base64url(salt2), "scores": scores})
    if len(opening) > MAX_OPENING_BYTES:
        return None
    return Commitment(digest=hashlib.sha256(opening).digest(), opening=opening)


def find_commitment(attestation: MirroredAttestation, peer: Peer) -> bytes | None:
    """Find the commitment that a peer owes us the opening of; None where it made none, or never let us in.

    The attestation was verified when it was received.
    """
    # Only whoever accepted our Follow answers us at all.
    if peer.we_follow is not Following.ACCEPTED:
        return None
    return parse_attestation(attestation.object, allow_http=True).body.scan_commitment


def find_comparable(
    runs: Sequence[DetectorRun], *, ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> dict[str, int]:
    """Find our scores that a peer must have found as well: those of the same models on the same pixels.

    Args:
        runs: The parts of our own scan.
        ours: The description of our scanner as it was then.
        theirs: The description that the peer's attestation names.

    Returns:
        The scores by their names in an opening; none where the scanners differ.
    """
    if any(ours.get(part) != theirs.get(part) for part in _RENDERING):
        return {}
    same = [
        run
        for run in runs
        if (mine := _find_detector(ours, run.name)) is not None and mine == _find_detector(theirs, run.name)
    ]
    return _name_scores(same)


def is_opening(answer: bytes) -> bool:
    """Tell whether an answer has the form of an opening at all, of whatever it is one."""
    try:
        document = parse_json_object(answer, max_bytes=MAX_OPENING_BYTES, max_depth=_MAX_DEPTH)
    except MalformedError:
        return False
    return (
        document.keys() == {"salt2", "scores"}
        and isinstance(document["salt2"], str)
        and isinstance(document["scores"], dict)
    )


def weigh_opening(opening: bytes, commitment: bytes, *, ours: Mapping[str, int]) -> Audited:
    """Decide what an opening that a peer signed says about it.

    Args:
        opening: What it answered.
        commitment: The digest that it had signed.
        ours: Our own scores of the same models (`find_comparable`).
    """
    # Whoever committed to one thing and opens another has proved it by two signatures of its own.
    if hashlib.sha256(opening).digest() != commitment:
        return Audited.CONTRADICTS
    try:
        document = parse_json_object(opening, max_bytes=MAX_OPENING_BYTES, max_depth=_MAX_DEPTH)
    except MalformedError:
        return Audited.DISAGREES
    scores = document.get("scores")
    theirs = scores if isinstance(scores, dict) else {}
    return (
        Audited.AGREES
        if all(_is_close(theirs.get(name), score) for name, score in ours.items())
        else Audited.DISAGREES
    )


def _is_close(theirs: object, ours: int) -> bool:
    return isinstance(theirs, int) and not isinstance(theirs, bool) and abs(theirs - ours) <= MODEL_MARGIN


def _name_scores(runs: Sequence[DetectorRun]) -> dict[str, int]:
    return {
        run.name if len(run.scores) == 1 else f"{run.name}/{label}": score
        for run in runs
        for label, score in run.scores
    }


def _find_detector(document: Mapping[str, Any], name: str) -> tuple[object, ...] | None:
    """Find what decides the scores of a detector in a description; a peer's may be anything."""
    detectors = document.get("detectors")
    for one in detectors if isinstance(detectors, list) else ():
        if isinstance(one, dict) and one.get("name") == name:
            return one.get("version"), one.get("state")
    return None
