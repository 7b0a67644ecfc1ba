"""Attest: sign what our own scan did not find, for peers that would otherwise scan it again.

Only the milder half of what we know ever leaves: that nothing was found. There is no attestation for
what was withheld, a share of the others is never issued either, and so the absence of one says nothing.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db import attestations, commitments
from db.feed import FeedKind
from relay.exchange.commitments import SALT2_SIZE, build_commitment
from relay.exchange.publisher import publish_objects
from relay.model import EvidenceBasis, MediaDecision
from relay.tools.ulids import build_ulid
from scanner.report import Coverage as ScanCoverage
from scanner.report import RunOutcome, Verdict
from scanner.sniff import Family, family
from signatures.attestation import SALT_SIZE, AttestationBody, Coverage, build_attestation
from signatures.errors import SignatureError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from db.pool import Database
    from relay.model import Decision, Evidence
    from relay.tools.identity import Identity
    from relay.tools.scanning import Scanning
    from scanner.report import Report

_log = logging.getLogger(__name__)

_CHANCE_BYTES: Final = 10
_PERMILLE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestTools:
    """What the attest stage works with.

    Attributes:
        is_enabled: The admin wants attestations at all.
        identity: Whose word it is.
        database: Where attestations are stored before anyone can read them.
        scanning: The scanner, for the state that an attestation refers to.
        profile: The name of the scanning policy.
        life: How long an attestation holds.
        withheld_permille: The share of results that is never issued.
    """

    is_enabled: bool
    identity: Identity
    database: Database
    scanning: Scanning
    profile: str
    life: timedelta
    withheld_permille: int


async def attest(decision: Decision, *, tools: AttestTools, now: datetime) -> int:
    """Sign and store an attestation for everything that a scan of ours found nothing in.

    Returns:
        How many were stored.

    Raises:
        DatabaseError: They could not be stored; nothing was issued.
    """
    if not tools.is_enabled:
        return 0
    reports = {
        outcome.evidence.sha256: outcome.evidence.report
        for outcome in decision.outcomes
        if outcome.decision is MediaDecision.RELEASE
        and is_attestable(outcome.evidence)
        # Lists that changed since the scan make it a statement about another scanner.
        and outcome.evidence.state_digest == tools.scanning.state_digest
    }
    count = 0
    for sha256, report in reports.items():
        if sha256 is not None and report is not None:
            count += await _attest_one(sha256, report, tools=tools, now=now)
    return count


def is_attestable(evidence: Evidence) -> bool:
    """Tell whether evidence is a complete scan of our own in which no detector, advisory or not, fired."""
    report = evidence.report
    return (
        evidence.basis in {EvidenceBasis.SCAN, EvidenceBasis.OWN_VERDICT}
        and report is not None
        and report.verdict is Verdict.NO_MATCH
        and not report.findings
        and all(
            run.outcome not in {RunOutcome.FAILED, RunOutcome.SPARED, RunOutcome.OVERRULED}
            for run in report.detectors
        )
        and find_coverage(report) is not None
    )


def find_coverage(report: Report) -> Coverage | None:
    """Find what an attestation says of how much was seen; None where that is too little to attest.

    A video is always sampled, by a rule that its scan has kept if it found nothing; a picture is seen wholly.
    Sound shows nothing, so that there is nothing to state about it.
    """
    kind = report.facts.media_type
    if kind is None:
        return None
    if report.facts.coverage is ScanCoverage.FULL:
        return Coverage.FULL
    is_video = family(kind) is Family.VIDEO and report.facts.coverage is ScanCoverage.SAMPLED
    return Coverage.SAMPLED if is_video else None


async def _attest_one(sha256: bytes, report: Report, *, tools: AttestTools, now: datetime) -> int:
    state = tools.scanning.published_state
    profile = tools.identity.profile(tools.profile)
    media_type, coverage = report.facts.media_type, find_coverage(report)
    if media_type is None or coverage is None:
        return 0
    async with tools.database.connection() as conn:
        live = await attestations.find_newest(conn, sha256, profile)
    if live is not None and live.end_time > now and live.state_digest == state.digest:
        return 0
    published = now.replace(microsecond=0)
    commitment = build_commitment(report.detectors, salt2=secrets.token_bytes(SALT2_SIZE))
    name = build_ulid(now, secrets.token_bytes(_CHANCE_BYTES))
    body = AttestationBody(
        id=f"{tools.identity.base_url}/attestations/{name}",
        issuer=tools.identity.actor,
        audience=tools.identity.peers_collection,
        published=published,
        end_time=published + tools.life,
        salt=secrets.token_bytes(SALT_SIZE),
        sha256=sha256,
        size=report.facts.size,
        media_type=media_type.value,
        coverage=coverage,
        profile=profile,
        state_as_of=state.as_of,
        state_sha256=state.digest,
        scan_commitment=None if commitment is None else commitment.digest,
    )
    try:
        signed = build_attestation(
            body,
            key=tools.identity.signing_key,
            verification_method=tools.identity.verification_method,
        )
    except SignatureError as error:
        _log.error("attestation_not_built error=%s", type(error).__name__)
        return 0
    is_withheld_share = is_withheld(sha256, secret=tools.identity.secret, now=now, tools=tools)
    # Stored before it can be read: a signature that was given away must never be forgotten.
    async with tools.database.transaction() as conn:
        is_new = await attestations.insert_attestation(
            conn,
            attestations.StoredAttestation(
                id=name,
                sha256=sha256,
                profile=profile,
                state_digest=state.digest,
                published=published,
                end_time=body.end_time,
                is_withheld_share=is_withheld_share,
                audience="public",
                object=signed,
            ),
        )
        if is_new and not is_withheld_share:
            # What nobody is given, nobody can ask to have opened.
            if commitment is not None:
                await commitments.put_commitment(
                    conn, digest=commitment.digest, opening=commitment.opening, ends_at=body.end_time
                )
            await publish_objects(conn, FeedKind.ATTESTATION, (signed,), now=now)
    return 1


def is_withheld(sha256: bytes, *, secret: bytes, now: datetime, tools: AttestTools) -> bool:
    """Tell whether a result is of the share that is never issued; the same all day for the same bytes."""
    day_key = hmac.digest(secret, now.strftime("withheld share %Y-%m-%d").encode(), "sha256")
    draw = int.from_bytes(hmac.digest(day_key, sha256, "sha256")[:8], "big")
    return draw % _PERMILLE < tools.withheld_permille
