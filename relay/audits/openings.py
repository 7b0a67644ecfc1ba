"""Ask a peer whose word our scan confirms to show that it looked, by opening what it committed to.

That nothing was found is what a peer that never looks says as well. Only a peer that accepted our Follow owes
us an answer; one that cannot be reached is blamed for nothing, and credited with nothing either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from db import peers
from relay.audits.judging import CONFIRMED, Judged, judge_silence
from relay.audits.states import find_state
from relay.exchange.client import PeerFailure, PeerFailureReason
from relay.exchange.commitments import find_commitment, find_comparable, is_opening, weigh_opening
from relay.exchange.weighing import Ground
from relay.trust import Audited

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from db.mirror import MirroredAttestation
    from db.peers import Peer
    from relay.exchange.peer_tools import PeerTools
    from scanner.report import Report

_QUESTIONS: Final = 2
"""The signature of an answer does not cover the question. Where something on the way has mixed up two
answers, asking again shows it; whoever committed to nothing of the kind has no other answer."""

_NO_OPENING: Final = PeerFailure(reason=PeerFailureReason.MALFORMED, detail="not an opening")


async def judge_confirmed(
    word: MirroredAttestation,
    report: Report,
    *,
    ours: Mapping[str, Any],
    asked_at: datetime | None,
    tools: PeerTools,
) -> Judged | None:
    """Judge a word that our scan confirms by the scores behind it; None while the peer may still show them.

    Nothing is asked for that could not be compared: scores are shown no more often than it takes.

    Args:
        word: What the peer attested.
        report: What we found, which is nothing.
        ours: The description of our scanner as it was then.
        asked_at: Since when the peer is asked; None before the first time.
        tools: Asks it.

    Raises:
        DatabaseError: It cannot be known who the peer is.
    """
    async with tools.database.connection() as conn:
        peer = await peers.find_peer(conn, word.issuer)
    commitment = None if peer is None else find_commitment(word, peer)
    if peer is None or commitment is None:
        return CONFIRMED
    theirs = await find_state(word, tools=tools)
    if isinstance(theirs, PeerFailure):
        return await judge_silence(word, theirs, asked_at=asked_at, tools=tools)
    scores = find_comparable(report.detectors, ours=ours, theirs=theirs)
    if not scores:
        return CONFIRMED
    shown = await _ask(peer, commitment, scores, tools=tools)
    if isinstance(shown, PeerFailure):
        return await judge_silence(word, shown, asked_at=asked_at, tools=tools)
    return shown


async def _ask(
    peer: Peer, commitment: bytes, ours: Mapping[str, int], *, tools: PeerTools
) -> Judged | PeerFailure:
    for _ in range(_QUESTIONS):
        opening = await tools.asker.opening(peer, commitment)
        if isinstance(opening, PeerFailure):
            return opening
        audited = weigh_opening(opening, commitment, ours=ours)
        if audited is Audited.AGREES:
            return CONFIRMED
        if audited is not Audited.CONTRADICTS:
            return Judged(audited=audited, ground=Ground.SCORES)
        if not is_opening(opening):
            return _NO_OPENING
    return Judged(audited=Audited.CONTRADICTS, ground=Ground.OPENING)
