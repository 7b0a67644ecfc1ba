"""What an audit says about a peer, and what is said of one that does not show what it owes us.

Silence is held against a peer with care, for honest relays are away, are set up anew from a copy of
yesterday, or have to do with us while we ourselves were away. But whoever could stay silent at no cost could
not be held to anything: a peer that is heard of all the time, and shows nothing, disagrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import mirror, peers
from relay.exchange.client import PeerFailureReason
from relay.exchange.weighing import Ground
from relay.trust import Audited

if TYPE_CHECKING:
    from datetime import datetime

    from db.mirror import MirroredAttestation
    from relay.exchange.client import PeerFailure
    from relay.exchange.peer_tools import PeerTools

PATIENCE: Final = timedelta(hours=24)
"""How long a peer has to say what its scanner was when it attested something, and to open what it committed
to, from when it was first asked; and how long we try to have the bytes again."""

OWED_FOR: Final = timedelta(hours=47)
"""How long after the end of an attestation what it names is owed to us. An issuer keeps it for two days; an
hour of them is for clocks that are off, and for the last question."""

# Its feed is read all the time, and what it attests comes with media: whoever was heard of there is not away.
_HEARD_WITHIN: Final = timedelta(hours=1)

# The peer's own word, under its signature: it has nothing to show, or something else.
_SAYS_SO: Final = frozenset({PeerFailureReason.NOT_THERE, PeerFailureReason.MALFORMED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What an audit says about a peer, and what that rests on."""

    audited: Audited
    ground: Ground = Ground.SCAN


CONFIRMED: Final = Judged(audited=Audited.AGREES)
_BLAMED: Final = Judged(audited=Audited.DISAGREES, ground=Ground.UNOPENED)
_UNCLEAR: Final = Judged(audited=Audited.NOT_COMPARABLE, ground=Ground.UNOPENED)


async def judge_silence(
    word: MirroredAttestation, failure: PeerFailure, *, asked_at: datetime | None, tools: PeerTools
) -> Judged | None:
    """Judge a peer that did not show what it owes us about its word; None while it still may.

    Args:
        word: What it attested.
        failure: What came of the last question.
        asked_at: Since when it is asked; None if this was the first time.
        tools: Where it stands what was heard of it.

    Raises:
        DatabaseError: It cannot be known.
    """
    now = tools.clock.now()
    if asked_at is None or now - asked_at < PATIENCE:
        return None
    async with tools.database.connection() as conn:
        peer = await peers.find_peer(conn, word.issuer)
        heard_at = await mirror.find_last_received(conn, word.issuer)
    if peer is None or now > word.end_time + OWED_FOR:
        return _UNCLEAR
    if failure.reason in _SAYS_SO:
        is_excused = peer.lost_past_at is not None and word.received_at <= peer.lost_past_at
        return _UNCLEAR if is_excused else _BLAMED
    # It is away, as anybody may be, or not; that it looked was not shown either.
    is_heard_of = any(at is not None and now - at <= _HEARD_WITHIN for at in (heard_at, peer.feed_read_at))
    return _BLAMED if is_heard_of else _UNCLEAR
