"""What an audit says about a peer, and what is said of one that does not answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.exchange.weighing import Ground
from relay.trust import Audited

if TYPE_CHECKING:
    from datetime import datetime

    from db.peers import Peer

# Its feed is read all the time: whoever answers there can be reached.
_REACHED_WITHIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What an audit says about a peer, and what that rests on."""

    audited: Audited
    ground: Ground = Ground.SCAN


CONFIRMED: Final = Judged(audited=Audited.AGREES)


def judge_silence(peer: Peer, *, has_answered: bool, now: datetime) -> Judged:
    """Judge a peer that did not say in time what it owes us.

    Args:
        peer: As it is stored.
        has_answered: It could be asked, and brought nothing.
        now: The time.
    """
    is_reached = peer.feed_read_at is not None and now - peer.feed_read_at <= _REACHED_WITHIN
    if has_answered or is_reached:
        return Judged(audited=Audited.DISAGREES, ground=Ground.UNOPENED)
    # It is away, as anybody may be; that it looked was not shown either.
    return Judged(audited=Audited.NOT_COMPARABLE, ground=Ground.UNOPENED)
