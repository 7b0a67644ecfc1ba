"""Rely: may the word of a peer spare the costly detectors, and what does our own scan say about it?

A word lowers costs and nothing else: it counts only where our own lists hold nothing and everything could be
decoded, and only from a peer that has earned it. Whether what was let go is audited, and when, a secret coin
decides after the word was received, so that no peer knows which of its words will be held against it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import peers, reliance, standings
from relay.exchange.commitments import find_commitment
from relay.exchange.comparing import has_objection, is_agreement
from relay.exchange.risk import decide_risk, find_unusual
from relay.exchange.standings import choose_word, count_groups, decide_standing
from relay.exchange.weighing import Given, weigh_audit
from relay.tools.spool import SpoolFullError
from relay.trust import Audited, audit_rate, is_relied_on
from scanner.report import Coverage, RunOutcome, Verdict
from signatures.attestation import parse_attestation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection
    from relay.exchange.peer_tools import PeerTools
    from relay.exchange.standings import Word
    from relay.model import Media, MediaReference
    from relay.trust import Standing
    from scanner.report import Report
    from scanner.sniff import MediaType

_log = logging.getLogger(__name__)

AUDIT_WITHIN: Final = timedelta(hours=1)
"""How long an audit may wait at the most. By then others may have scanned the same bytes, which spares it."""


URGENT_WITHIN: Final = timedelta(minutes=5)
"""How long an audit may wait that only what is new about the media has chosen.

Whoever lies about media of somebody whom nobody knows yet has the most to win from the first hour. Some
minutes are left to chance all the same, so that nobody sees from outside what was looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tossed:
    """What the secret coin said.

    Attributes:
        rate: At which rate it was tossed, in [0, 1].
        due_at: When to audit; None for not at all.
        is_urgent: Without what is new about the media it would have said no.
    """

    rate: float
    due_at: datetime | None
    is_urgent: bool = False


def may_be_spared(report: Report) -> bool:
    """Tell whether what our lists say leaves room for a peer's word: all was decoded, and nothing found."""
    return (
        report.verdict is Verdict.NO_MATCH
        and report.reason is None
        and not report.findings
        and report.facts.coverage is Coverage.FULL
        and report.facts.media_type is not None
        and all(run.outcome is not RunOutcome.FAILED for run in report.detectors)
        and any(run.outcome is RunOutcome.SPARED for run in report.detectors)
    )


async def rely(
    words: Sequence[Word],
    media: Media,
    reference: MediaReference,
    report: Report,
    *,
    tools: PeerTools,
    author: str | None = None,
) -> Word | None:
    """Rely on a peer's word, and note it, so that it can be made up for; None where none suffices.

    Args:
        words: What approved peers attest about these bytes.
        media: The bytes.
        reference: Where they can be had again.
        report: What our lists say about them.
        tools: Where it is noted.
        author: Who pointed at the media, if that is known: what is new is audited more often.

    Raises:
        DatabaseError: It could not be noted; nothing is relied on.
    """
    now = tools.clock.now()
    if not may_be_spared(report):
        return None
    fitting = [one for one in words if _fits(one, media.sha256, report)]
    word = choose_word(fitting, now=now)
    if word is None:
        return None
    risk = await _find_risk(word, reference, author=author, tools=tools, now=now)
    tossed = _toss(word.standing, groups=count_groups(fitting), risk=risk, tools=tools, now=now)
    if tossed.due_at is not None and not await _retain(media, reference, tools=tools):
        # What cannot be audited is not relied on.
        return None
    async with tools.database.transaction(waits_for_disk=False) as conn:
        if not await _is_still_relied_on(conn, word, now=now):
            return None
        await _note(conn, word, media, reference, tossed=tossed, now=now)
    return word


def _toss(standing: Standing, *, groups: int, risk: float, tools: PeerTools, now: datetime) -> Tossed:
    """Toss the coin once: an audit that it says without the risk, too, is not urgent."""
    ordinary = audit_rate(standing, now=now, groups=groups)
    rate = audit_rate(standing, now=now, groups=groups, risk=risk)
    coin = tools.chance()
    if coin >= rate:
        return Tossed(rate=rate, due_at=None)
    is_urgent = coin >= ordinary
    within = URGENT_WITHIN if is_urgent else AUDIT_WITHIN
    return Tossed(rate=rate, due_at=now + tools.chance() * within, is_urgent=is_urgent)


async def _find_risk(
    word: Word, reference: MediaReference, *, author: str | None, tools: PeerTools, now: datetime
) -> float:
    # It was verified when it was received; whether over TLS was decided then.
    body = parse_attestation(word.attestation.object, allow_http=True).body
    async with tools.database.transaction(waits_for_disk=False) as conn:
        unusual = await find_unusual(
            conn,
            author=author,
            url="" if reference.is_inline else reference.url,
            issuer=body.issuer,
            media_type=body.media_type,
            now=now,
        )
    return decide_risk(unusual)


async def learn(report: Report, words: Sequence[Word], sha256: bytes, *, tools: PeerTools) -> None:
    """Hold what peers attest about these bytes against what a whole scan of our own found in them.

    What agrees is weighed at once. What does not is left to an audit, which asks the peer what its scanner
    was before it draws a conclusion; and so is what agrees and was committed to, until the peer opens it.

    Args:
        report: What we found.
        words: What approved peers attest.
        sha256: The digest of the bytes, 32 bytes.
        tools: Where the standings are.

    Raises:
        DatabaseError: Some were not weighed.
    """
    now = tools.clock.now()
    if is_agreement(report, tools.costly):
        # What is wrong about the bytes themselves earns nothing by being right about what is not in them.
        fitting = [one for one in words if _fits(one, sha256, report)]
        shown = [one for one in fitting if find_commitment(one.attestation, one.peer) is None]
        for word in sorted(shown, key=lambda one: one.attestation.id):
            async with tools.database.transaction(waits_for_disk=False) as conn:
                await weigh_audit(conn, build_given(word), Audited.AGREES, now=now, on_doubt=tools.on_doubt)
        # Whoever committed to scores is credited when it has shown them.
        await _leave_to_audit([one for one in fitting if one not in shown], sha256, tools=tools, now=now)
    elif has_objection(report):
        await _leave_to_audit(words, sha256, tools=tools, now=now)


async def _leave_to_audit(words: Sequence[Word], sha256: bytes, *, tools: PeerTools, now: datetime) -> None:
    if not words:
        return
    async with tools.database.transaction(waits_for_disk=False) as conn:
        await reliance.make_due(conn, sha256, now=now)
        for word in words:
            given = build_given(word)
            # Without an address: nothing that was found is written down with where it can be had.
            await reliance.note_reliance(
                conn,
                sha256=given.sha256,
                issuer=given.issuer,
                profile=given.profile,
                key_id=given.key_id,
                attestation_id=given.attestation_id,
                url="",
                audit_rate=1.0,
                due_at=now,
                now=now,
            )


def build_given(word: Word) -> Given:
    """Return whose word was given about what."""
    one = word.attestation
    return Given(
        sha256=one.sha256,
        issuer=one.issuer,
        profile=one.profile,
        key_id=one.key_id,
        attestation_id=one.id,
    )


def fits(word: Word, sha256: bytes, *, size: int, media_type: MediaType | None) -> bool:
    """Tell whether an attestation describes the bytes as they are, as one that was made of them does."""
    # It was verified when it was received; whether over TLS was decided then.
    body = parse_attestation(word.attestation.object, allow_http=True).body
    return (
        body.sha256 == sha256
        and body.size == size
        and media_type is not None
        and body.media_type == media_type.value
    )


def _fits(word: Word, sha256: bytes, report: Report) -> bool:
    return fits(word, sha256, size=report.facts.size, media_type=report.facts.media_type)


async def _retain(media: Media, reference: MediaReference, *, tools: PeerTools) -> bool:
    """Keep the bytes, sealed, for the audit; tell whether it can be made."""
    try:
        await asyncio.to_thread(tools.retained.keep, media.sha256, media.data)
    except (SpoolFullError, OSError) as error:
        _log.warning("audit_not_retained error=%s", type(error).__name__)
        # They can be fetched again, though a liar may have other bytes there by then.
        return bool(reference.url) and not reference.is_inline
    return True


async def _is_still_relied_on(conn: Connection, word: Word, *, now: datetime) -> bool:
    """Look again under the lock that a demotion waits for: what is noted from here on, it finds."""
    one = word.attestation
    stored = await standings.lock_standing(conn, one.issuer, one.profile, one.key_id)
    peer = await peers.find_peer(conn, one.issuer)
    if peer is None:
        return False
    standing: Standing = decide_standing(peer, stored, now=now)
    return is_relied_on(standing, now=now)


async def _note(
    conn: Connection,
    word: Word,
    media: Media,
    reference: MediaReference,
    *,
    tossed: Tossed,
    now: datetime,
) -> None:
    one = word.attestation
    url = "" if reference.is_inline else reference.url
    noted = await reliance.note_reliance(
        conn,
        sha256=media.sha256,
        issuer=one.issuer,
        profile=one.profile,
        key_id=one.key_id,
        attestation_id=one.id,
        url=url,
        audit_rate=tossed.rate,
        due_at=tossed.due_at,
        is_urgent=tossed.is_urgent,
        now=now,
    )
    if noted is None:
        # An earlier word of this peer about these bytes was audited; a new one is another.
        await reliance.renew_reliance(
            conn,
            sha256=media.sha256,
            issuer=one.issuer,
            profile=one.profile,
            key_id=one.key_id,
            attestation_id=one.id,
            url=url,
            audit_rate=tossed.rate,
            due_at=tossed.due_at,
            is_urgent=tossed.is_urgent,
            now=now,
        )
