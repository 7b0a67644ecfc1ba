"""Audit one thing that was let go on a peer's word: scan it ourselves, and hold the word against it.

The same is done with everything that was relied on when a peer is demoted or takes back what it said. What is
found is decided upon as always: a case, a copy for whoever rules on it, and an errand for each place on the
backend that it was brought to. From then on the media doors know it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from db import canaries, mirror, reliance
from relay.audits.canaries import judge_canary
from relay.audits.judging import PATIENCE, Judged, judge_silence
from relay.audits.openings import judge_confirmed
from relay.audits.states import find_state
from relay.exchange.client import PeerFailure
from relay.exchange.comparing import compare_report, has_objection, is_agreement
from relay.exchange.intake import Rejected, admit
from relay.exchange.standings import count_groups
from relay.exchange.weighing import Given, weigh_audit
from relay.model import Door
from relay.revisit import follow_up, look_again
from relay.stages.gather import recall_words
from relay.stages.rely import fits, learn
from relay.trust import ENOUGH_GROUPS, SHARED_FLOOR, Audited
from scanner.sniff import sniff
from signatures.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.mirror import MirroredAttestation
    from db.reliance import Reliance
    from relay.exchange.peer_tools import PeerTools
    from relay.exchange.standings import Word
    from relay.line import Tools
    from scanner.report import Report

_TRY_AGAIN: Final = timedelta(minutes=15)
_SKIPPED: Final = "skipped"
_LOST: Final = "lost"
_RESCANNED: Final = "rescanned"

# That a word has ended since says nothing against it.
_STILL_WEIGHED: Final = frozenset({Reason.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTools:
    """What audits are made with.

    Attributes:
        line: What the line works with.
        peers: What it takes to weigh a peer's word.
        name: The name of this process.
    """

    line: Tools
    peers: PeerTools
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The audit came to an end, in the words of the table."""

    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOff:
    """It cannot be made yet.

    Attributes:
        has_asked: The peer was asked for what it owes us, and brought nothing so far.
    """

    has_asked: bool = False


AuditResult: TypeAlias = Ended | PutOff


async def audit(due: Reliance, *, tools: AuditTools) -> AuditResult:
    """Make one audit, and note what came of it.

    Raises:
        DatabaseError: It is not known what came of it; it is made again when its lease ends.
    """
    result = await _audit(due, tools=tools)
    now = tools.line.clock.now()
    if isinstance(result, PutOff):
        async with tools.line.database.connection() as conn:
            await reliance.put_off(
                conn, due.id, until=now + _TRY_AGAIN, asked_at=now if result.has_asked else None
            )
        return result
    async with tools.line.database.connection() as conn:
        # Where the word was weighed, that is noted already.
        await reliance.finish_audit(conn, due.id, outcome=result.outcome, now=now)
    await asyncio.to_thread(tools.peers.retained.purge, due.sha256)
    return result


async def _audit(due: Reliance, *, tools: AuditTools) -> AuditResult:
    async with tools.line.database.connection() as conn:
        is_ours = await canaries.is_canary(conn, due.sha256)
    if is_ours:
        return await _weigh_canary(due, tools=tools)
    # What few are audited of, because enough had scanned it already, is not spared for the same reason again.
    # And what is new is what a liar would choose; that others were lied to as well says nothing.
    may_be_skipped = SHARED_FLOOR < due.audit_rate < 1.0 and not due.is_urgent
    words = await recall_words(due.sha256, tools=tools.peers)
    if may_be_skipped and await _is_scanned_by_enough(due, words, tools=tools):
        return Ended(outcome=_SKIPPED)
    line = tools.line
    outcome = await look_again(due.sha256, tools=line, url=due.url, retained=tools.peers.retained)
    if outcome is None or outcome.retry:
        # They cannot be had, or nothing of ours can look at them now.
        is_over = line.clock.now() - due.relied_at >= PATIENCE
        return Ended(outcome=_LOST) if is_over else PutOff()
    door = Door.INBOX if due.url else Door.GATEWAY
    await follow_up(due.sha256, outcome, door=door, tools=line)
    report = outcome.evidence.report
    if report is None:
        # A person has ruled on these bytes, which says nothing about anybody's scanner.
        return Ended(outcome=Audited.NOT_COMPARABLE.value)
    scanning = line.scans.scanning
    if outcome.evidence.state_digest not in {scanning.state_digest, scanning.local_digest}:
        # Lists or models were swapped while we looked: the report is not of the scanner that we have now.
        return PutOff()
    result = await _weigh(due, report, tools=tools)
    if isinstance(result, Ended):
        await learn(report, words, due.sha256, tools=tools.peers)
    return result


async def _is_scanned_by_enough(due: Reliance, words: Sequence[Word], *, tools: AuditTools) -> bool:
    """Tell whether enough others say that they scanned the bytes as they are here."""
    if count_groups(words) < ENOUGH_GROUPS:
        return False
    async with tools.line.memory.open_account() as account:
        data = await asyncio.to_thread(tools.peers.retained.find, due.sha256)
        if data is None:
            return False
        await account.grow(len(data))
        size, found = len(data), sniff(data)
    return count_groups(one for one in words if fits(one, due.sha256, size=size, media_type=found)) >= (
        ENOUGH_GROUPS
    )


async def _weigh(due: Reliance, report: Report, *, tools: AuditTools) -> AuditResult:
    """Hold the word against what we found, where that is possible."""
    word = await _find_word(due, tools=tools)
    if word is None:
        return Ended(outcome=_RESCANNED)
    if not is_agreement(report, tools.peers.costly) and not has_objection(report):
        return Ended(outcome=Audited.NOT_COMPARABLE.value)
    return await _conclude(due, await _judge(due, word, report, tools=tools), tools=tools)


async def _weigh_canary(due: Reliance, *, tools: AuditTools) -> AuditResult:
    """Hold against a peer that it attested a canary of ours: what that shows needs no scan."""
    word = await _find_word(due, tools=tools)
    if word is None:
        return Ended(outcome=_RESCANNED)
    judged = await judge_canary(word, asked_at=due.asked_at, tools=tools.peers)
    return await _conclude(due, judged, tools=tools)


async def _conclude(due: Reliance, judged: Judged | None, *, tools: AuditTools) -> AuditResult:
    if judged is None:
        return PutOff(has_asked=True)
    given = Given(
        sha256=due.sha256,
        issuer=due.issuer,
        profile=due.profile,
        key_id=due.key_id,
        attestation_id=due.attestation_id,
    )
    async with tools.line.database.transaction() as conn:
        await weigh_audit(
            conn,
            given,
            judged.audited,
            ground=judged.ground,
            now=tools.line.clock.now(),
            on_doubt=tools.peers.on_doubt,
        )
    return Ended(outcome=judged.audited.value)


async def _find_word(due: Reliance, *, tools: AuditTools) -> MirroredAttestation | None:
    """Find the attestation that was relied on; None where it was taken back or counts no more anyway."""
    database, now = tools.line.database, tools.line.clock.now()
    async with database.connection() as conn:
        stored = await mirror.list_mirrored(conn, (due.attestation_id,))
    if not stored:
        return None
    admitted = await admit(stored[0].object, database=database, now=now, allow_http=tools.peers.allow_http)
    if isinstance(admitted, Rejected) and admitted.reason not in _STILL_WEIGHED:
        return None
    return stored[0]


async def _judge(
    due: Reliance, word: MirroredAttestation, report: Report, *, tools: AuditTools
) -> Judged | None:
    """Compare with what the peer says its scanner was and made of it; None while it may still say so."""
    ours = tools.line.scans.scanning.published_state.document
    if not has_objection(report):
        return await judge_confirmed(word, report, ours=ours, asked_at=due.asked_at, tools=tools.peers)
    theirs = await find_state(word, tools=tools.peers)
    if isinstance(theirs, PeerFailure):
        # Whoever never says what it scanned with could not be held to anything it attests.
        return await judge_silence(word, theirs, asked_at=due.asked_at, tools=tools.peers)
    return Judged(audited=compare_report(report, ours=ours, theirs=theirs))
