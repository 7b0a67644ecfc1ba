"""Compare a peer's word with our own scan of the same bytes, fairly.

Honest scanners differ: in their lists, their models, the day. What counts against a peer is only what its
own description of its scanner rules out: the very list version that holds the digest, the very model with the
very threshold. The descriptions are salted, each relay's by itself, and so compared without their salts. What
a service of others knows changes without any description changing, so that it counts against nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from relay.trust import Audited, OwnFinding, compare
from scanner.report import Basis, RunOutcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scanner.report import Finding, Report

_SALT: Final = "salt"

HOSTED: Final = "is_hosted"
"""What the state of a service of others says of itself in the description of a scanner."""

NEAR_MARGIN: Final = 16
"""Bits. Equal programs round differently on different processors, which turns the bits of a hash that lie
next to its median: a handful in drawings whose halves mirror each other. What is nearer to a listed hash, by
so many bits, than its list asks for is near on every machine."""

# From the worst for the peer to the best.
_GRAVITY: Final = (Audited.CONTRADICTS, Audited.DISAGREES, Audited.NOT_COMPARABLE)


def is_agreement(report: Report, costly: frozenset[str]) -> bool:
    """Tell whether our scan confirms a peer's no-match: it saw all, asked the models, and found nothing.

    Args:
        report: What we found.
        costly: The names of the detectors that a peer's word spares us. An agreement without any of them
            would be one about our lists, which nobody's word ever spares.
    """
    return (
        report.verdict is Verdict.NO_MATCH
        and not report.findings
        and all(
            run.outcome not in {RunOutcome.FAILED, RunOutcome.SPARED, RunOutcome.OVERRULED}
            for run in report.detectors
        )
        and any(run.name in costly and run.outcome is RunOutcome.RAN for run in report.detectors)
    )


def has_objection(report: Report) -> bool:
    """Tell whether our scan found something that a peer's no-match may be at odds with, advisory or not."""
    return bool(report.findings)


def compare_report(report: Report, *, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Audited:
    """Decide what our findings say about a peer that attested no match; the gravest of them counts.

    Args:
        report: What we found.
        ours: The description of our scanner as it was then.
        theirs: The description that the peer's attestation names.
    """
    audited = {compare(_weigh(finding, ours, theirs)) for finding in report.findings}
    return next((one for one in _GRAVITY if one in audited), Audited.NOT_COMPARABLE)


def _weigh(finding: Finding, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> OwnFinding:
    is_same_state = _without_salt(ours) == _without_salt(theirs)
    mine, other = _find_detector(ours, finding), _find_detector(theirs, finding)
    if _is_hosted(mine):
        return OwnFinding(is_match=True)
    match finding.basis:
        case Basis.EXACT_HASH:
            listed = _find_list(mine, finding)
            return OwnFinding(
                is_match=True,
                is_same_state=is_same_state,
                is_deterministic=True,
                # Equal entries are equal digests of equal lists; another version may not have held it yet,
                # and another version of the detector may not have compared all kinds of digests.
                was_listed=True
                if listed is not None
                and listed == _find_list(other, finding)
                and mine.get("version") == other.get("version")
                else None,
            )
        case Basis.NEAR_HASH:
            # Decoders round differently; only where everything is the same is the hash, but for rounding.
            is_sure = is_same_state and _is_near_everywhere(mine, finding)
            return OwnFinding(is_match=True, is_same_state=is_same_state, is_deterministic=is_sure)
        case _:
            threshold = _find_threshold(mine, finding)
            is_same_model = bool(mine) and mine == other and threshold is not None
            margin = 0 if threshold is None else (finding.score_permille or 0) - threshold
            return OwnFinding(
                is_match=True, is_same_state=is_same_state, is_same_model=is_same_model, margin=margin
            )


def _without_salt(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != _SALT}


def _find_detector(document: Mapping[str, Any], finding: Finding) -> dict[str, Any]:
    """Find what a description says of a finding's detector; in a peer's, nothing is taken for granted."""
    detectors = document.get("detectors")
    for one in detectors if isinstance(detectors, list) else ():
        if isinstance(one, dict) and one.get("name") == finding.detector:
            # Whether a finding decides is each admin's own affair, and says nothing about what was found.
            return {name: one.get(name) for name in ("name", "version", "state")}
    return {}


def _is_hosted(detector: Mapping[str, Any]) -> bool:
    """Tell whether a detector is a service of others."""
    state = detector.get("state")
    return isinstance(state, dict) and state.get(HOSTED) is True


def _find_list(detector: Mapping[str, Any], finding: Finding) -> dict[str, Any] | None:
    listed = _find_listed(detector, finding)
    return None if listed is None else {name: listed.get(name) for name in ("name", "version", "digest")}


def _find_listed(detector: Mapping[str, Any], finding: Finding) -> dict[str, Any] | None:
    state = detector.get("state")
    lists = state.get("lists") if isinstance(state, dict) else None
    for one in lists if isinstance(lists, list) else ():
        if isinstance(one, dict) and one.get("name") == finding.list_name:
            return one
    return None


def _is_near_everywhere(mine: Mapping[str, Any], finding: Finding) -> bool:
    """Tell whether a near match is one on every machine."""
    listed = _find_listed(mine, finding)
    reach = None if listed is None else listed.get("distance")
    if finding.distance is None or not isinstance(reach, int):
        return False
    return finding.distance + NEAR_MARGIN <= reach


def _find_threshold(detector: Mapping[str, Any], finding: Finding) -> int | None:
    state = detector.get("state")
    rules = state.get("thresholds") if isinstance(state, dict) else None
    for one in rules.values() if isinstance(rules, dict) else ():
        if isinstance(one, dict) and (one.get("label"), one.get("category")) == (
            finding.label,
            finding.category.value,
        ):
            permille = one.get("permille")
            return permille if isinstance(permille, int) else None
    return None
