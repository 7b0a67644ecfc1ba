"""Compare kept hashes with the lists of now, and see to what they match.

A hash that was kept is enough to suspect; the bytes decide where they can still be had. Where they cannot,
an exact digest, or a perceptual hash that was taken at full resolution, speaks for itself as it would in a
scan: the digest is that of the bytes, and nothing that the bytes could show would make it another.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import cases, media_hashes, verdicts, whereabouts
from db import media as seen_media
from relay.logs import name_kinds
from relay.model import Door, Evidence, EvidenceBasis, Location, MediaDecision, MediaReference
from relay.revisit import follow_up, look_again
from relay.stages.consult import consult_digest
from relay.stages.decide import judge
from relay.tools.kept_hashes import is_readable, read_hashes
from scanner.report import MediaFacts, Report, Verdict, report_from_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.media_hashes import MediaHashes
    from db.pool import Connection
    from relay.line import Tools
    from relay.model import MediaOutcome
    from scanner.labels import Category
    from scanner.report import Basis, Finding
    from scanner.scan import Recheck

_log = logging.getLogger(__name__)

_SIDE_BY_SIDE: Final = 4
"""As many as of one delivery: they mostly wait for somebody else's server."""

_LOOK_WITHIN: Final = timedelta(minutes=1)
"""What one fetch may take. A file may have been in more places, but all others wait for it."""

# Enough to tell a test, which is carried once, from all others.
_MAX_CARRIERS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What came of some comparisons.

    Attributes:
        compared: How many files were compared.
        matched: How many of them are not let go any more.
    """

    compared: int = 0
    matched: int = 0


async def compare(kept: Sequence[MediaHashes], *, tools: Tools) -> Compared:
    """Compare some media with the lists of now, see to what matches, and note that it was done.

    What fails is not noted, and so compared again.

    Raises:
        DatabaseError: Nothing was noted; possibly inside an ExceptionGroup.
    """
    scanning = tools.scans.scanning
    # Should the lists be swapped while this runs, what was compared with the old ones is compared again.
    lists_digest = scanning.lists_digest
    found = await scanning.recheck(kept)
    gate = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def see_to(one: MediaHashes, recheck: Recheck) -> bool | None:
        """Tell whether it is stopped now; None where that failed."""
        async with gate:
            try:
                return await _see_to(one, recheck, lists_digest=lists_digest, tools=tools)
            except Exception as error:  # noqa: BLE001 (one bad file must not keep the others from being compared)
                _log.error("rescan_of_one_failed errors=%s", name_kinds(error))
                return None

    async with asyncio.TaskGroup() as group:
        seen = [
            (one, group.create_task(see_to(one, recheck)))
            for one, recheck in zip(kept, found, strict=True)
            if recheck.wants_closer_look or _decisive(recheck.findings) or not is_readable(one)
        ]
    # Where there is nothing to see to, nothing has failed.
    failed = {one.sha256 for one, result in seen if result.result() is None}
    done = [one for one in kept if one.sha256 not in failed]
    async with tools.database.transaction(waits_for_disk=False) as conn:
        await media_hashes.note_compared(conn, done, lists_digest)
    return Compared(compared=len(done), matched=sum(result.result() is True for _, result in seen))


async def _see_to(kept: MediaHashes, recheck: Recheck, *, lists_digest: bytes, tools: Tools) -> bool | None:
    """See to one file; return whether it is stopped now, None where that cannot be known yet."""
    deciding = _decisive(recheck.findings)
    async with tools.database.connection() as conn:
        latest = await verdicts.find_latest(conn, kept.sha256)
        has_case = bool(await cases.list_cases_about(conn, kept.sha256))
        if not await _may_be_looked_at(conn, kept.sha256, tools=tools):
            return False
    known = () if latest is None else _decisive(report_from_json(latest.report).findings)
    if has_case and deciding and {_source(one) for one in deciding} <= {_source(one) for one in known}:
        # It was stopped on the same grounds before, and a person sees to it.
        return False
    outcome = await _find_outcome(kept, deciding, lists_digest=lists_digest, tools=tools)
    if outcome is None or outcome.decision is MediaDecision.RELEASE:
        return False
    if outcome.retry:
        return None
    await follow_up(kept.sha256, outcome, door=Door.INBOX, tools=tools)
    return True


async def _may_be_looked_at(conn: Connection, sha256: bytes, *, tools: Tools) -> bool:
    """Tell whether bytes are anybody's business now: not a test's, nor private ones without a legal basis."""
    carriers = await whereabouts.list_carriers(conn, sha256, limit=_MAX_CARRIERS)
    if carriers and all(one.is_selftest for one in carriers):
        return False
    # The admin may have had a basis when they came, and have none any more.
    return tools.examines_restricted or not carriers or await seen_media.was_public(conn, sha256)


async def _find_outcome(
    kept: MediaHashes, deciding: tuple[Finding, ...], *, lists_digest: bytes, tools: Tools
) -> MediaOutcome | None:
    """Judge by the bytes, or else by what the hashes have shown; None where neither is possible."""
    try:
        async with asyncio.timeout(_LOOK_WITHIN.total_seconds()):
            outcome = await look_again(kept.sha256, tools=tools)
    except TimeoutError:
        # A server that drips must not keep others' media from being compared.
        outcome = None
    if outcome is not None:
        return outcome
    if tools.scans.scanning.lists_digest != lists_digest:
        # What was found may rest on a list that was taken back meanwhile; it is compared with those of now.
        return None
    return await _judge_kept(kept, deciding, tools=tools)


async def _judge_kept(
    kept: MediaHashes, deciding: tuple[Finding, ...], *, tools: Tools
) -> MediaOutcome | None:
    """Judge by the hashes alone; None where they decide nothing."""
    if not deciding:
        return None
    reference = MediaReference(url="", location=Location.STORED)
    state_digest = tools.scans.scanning.state_digest
    ruled = await consult_digest(
        kept.sha256, None, reference, database=tools.database, state_digest=state_digest
    )
    if ruled is not None:
        return judge(ruled, tools.policy)
    evidence = Evidence(
        reference=reference,
        basis=EvidenceBasis.SCAN,
        sha256=kept.sha256,
        report=await _build_report(kept, deciding, tools=tools),
        state_digest=state_digest,
    )
    return judge(evidence, tools.policy)


def _decisive(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(one for one in findings if not one.advisory)


def _source(finding: Finding) -> tuple[str | None, Category, Basis]:
    return finding.list_name, finding.category, finding.basis


async def _build_report(kept: MediaHashes, findings: tuple[Finding, ...], *, tools: Tools) -> Report:
    """Build the report of a look at hashes: what was found, and nothing about what was not looked at."""
    async with tools.database.connection() as conn:
        seen = await seen_media.find_media(conn, kept.sha256)
    prints, _ = read_hashes(kept)
    return Report(
        verdict=Verdict.MATCH,
        reason=None,
        findings=findings,
        detectors=(),
        fingerprints=prints,
        facts=MediaFacts(size=0 if seen is None else seen.size, media_type=None),
    )
