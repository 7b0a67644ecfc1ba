"""Ask a peer whose word our scan confirms to show that it looked, by opening what it committed to.

That nothing was found is what a peer that never looks says as well. Only a peer that accepted our Follow owes
us an answer; one that cannot be reached is blamed for nothing, and credited with nothing either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from db import peers
from relay.audits.judging import CONFIRMED, Judged, judge_silence
from relay.audits.states import PATIENCE, find_state
from relay.exchange.client import PeerFailure, PeerFailureReason
from relay.exchange.commitments import find_commitment, find_comparable, weigh_opening
from relay.exchange.weighing import Ground
from relay.trust import Audited

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from db.mirror import MirroredAttestation
    from relay.exchange.peer_tools import PeerTools
    from scanner.report import Report

_SILENT: Final = frozenset(
    {PeerFailureReason.NO_API, PeerFailureReason.UNREACHABLE, PeerFailureReason.UNVERIFIED}
)


async def judge_confirmed(
    word: MirroredAttestation,
    report: Report,
    *,
    ours: Mapping[str, Any],
    relied_at: datetime,
    tools: PeerTools,
) -> Judged | None:
    """Judge a word that our scan confirms by the scores behind it; None while the peer may still show them.

    Nothing is asked for that could not be compared: scores are shown no more often than it takes.

    Args:
        word: What the peer attested.
        report: What we found, which is nothing.
        ours: The description of our scanner as it was then.
        relied_at: Since when the peer may be asked.
        tools: Asks it.

    Raises:
        DatabaseError: It cannot be known who the peer is.
    """
    async with tools.database.connection() as conn:
        peer = await peers.find_peer(conn, word.issuer)
    commitment = None if peer is None else find_commitment(word, peer)
    if peer is None or commitment is None:
        return CONFIRMED
    now = tools.clock.now()
    theirs = await find_state(word, tools=tools)
    scores = {} if theirs is None else find_comparable(report.detectors, ours=ours, theirs=theirs)
    if theirs is not None and not scores:
        return CONFIRMED
    opening = None if theirs is None else await tools.asker.opening(peer, commitment)
    if opening is None or isinstance(opening, PeerFailure):
        if now - relied_at < PATIENCE:
            return None
        return judge_silence(peer, has_answered=_has_answered(opening), now=now)
    audited = weigh_opening(opening, commitment, ours=scores)
    if audited is Audited.AGREES:
        return CONFIRMED
    is_proof = audited is Audited.CONTRADICTS
    return Judged(audited=audited, ground=Ground.OPENING if is_proof else Ground.SCORES)


def _has_answered(failure: PeerFailure | None) -> bool:
    return failure is not None and failure.reason not in _SILENT
