"""Compare kept hashes with the lists of now, and see to what they match.

A hash that was kept is enough to suspect; the bytes decide where they can still be had. Where they cannot,
an exact digest, or a perceptual hash that was taken at full resolution, speaks for itself as it would in a
scan: the digest is that of the bytes, and nothing that the bytes could show would make it another.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import cases, media_hashes, verdicts
from db import media as seen_media
from relay.logs import name_kinds
from relay.model import Door, Evidence, EvidenceBasis, Location, MediaDecision, MediaReference
from relay.revisit import follow_up, look_again
from relay.stages.consult import consult_digest
from relay.stages.decide import judge
from relay.tools.kept_hashes import read_hashes
from scanner.report import MediaFacts, Report, Verdict, report_from_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.media_hashes import MediaHashes
    from relay.line import Tools
    from relay.model import MediaOutcome
    from scanner.labels import Category
    from scanner.report import Basis, Finding
    from scanner.scan import Recheck

_log = logging.getLogger(__name__)


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
        DatabaseError: Nothing was noted.
        MalformedError: The hashes were packed by another version.
    """
    scanning = tools.scans.scanning
    # Should the lists be swapped while this runs, what was compared with the old ones is compared again.
    lists_digest = scanning.lists_digest
    found = await scanning.recheck(kept)
    matched, done = 0, []
    for one, recheck in zip(kept, found, strict=True):
        try:
            matched += await _see_to(one, recheck, tools=tools)
        except Exception as error:  # noqa: BLE001 (one bad file must not keep the others from being compared)
            _log.error("rescan_of_one_failed errors=%s", name_kinds(error))
        else:
            done.append(one)
    async with tools.database.transaction(waits_for_disk=False) as conn:
        await media_hashes.note_compared(conn, done, lists_digest)
    return Compared(compared=len(done), matched=matched)


async def _see_to(kept: MediaHashes, recheck: Recheck, *, tools: Tools) -> bool:
    """See to one file; return whether the lists hold it and it is stopped now."""
    deciding = _decisive(recheck.findings)
    if not recheck.wants_closer_look and not deciding:
        return False
    async with tools.database.connection() as conn:
        latest = await verdicts.find_latest(conn, kept.sha256)
        has_case = bool(await cases.list_cases_about(conn, kept.sha256))
    known = () if latest is None else _decisive(report_from_json(latest.report).findings)
    if has_case and deciding and {_source(one) for one in deciding} <= {_source(one) for one in known}:
        # It was stopped on the same grounds before, and a person sees to it.
        return False
    outcome = await look_again(kept.sha256, tools=tools) or await _judge_kept(kept, recheck, tools=tools)
    if outcome is None or outcome.decision is MediaDecision.RELEASE:
        return False
    await follow_up(kept.sha256, outcome, door=Door.INBOX, tools=tools)
    return True


async def _judge_kept(kept: MediaHashes, recheck: Recheck, *, tools: Tools) -> MediaOutcome | None:
    """Judge by the hashes alone; None where they decide nothing."""
    deciding = _decisive(recheck.findings)
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
