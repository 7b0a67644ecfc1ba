"""The states of a delivery, its legal moves, and when it is tried again.

    received ──► examining ──► forwarding ──► forwarded
       ▲             │  │          │  ▲
       └── retry ────┘  ├─► held ──┼──┤ (ruling, or budget spent behind a media door)
                        │    │     ▼  │
                        │    │   decided (backend down: tried again)
                        ▼    ▼     │
                     dropped, dead ◄

Everything after `received` is already answered 202: from there a delivery ends in `forwarded`,
`dropped` (by policy, by a ruling, or superseded by its own Delete) or, visibly, in `dead`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db.deliveries import DeliveryState

if TYPE_CHECKING:
    from datetime import datetime

State = DeliveryState

MOVES: Final[dict[State, frozenset[State]]] = {
    State.RECEIVED: frozenset({State.EXAMINING, State.DROPPED}),
    State.EXAMINING: frozenset(
        {State.RECEIVED, State.FORWARDING, State.DECIDED, State.HELD, State.DROPPED, State.DEAD}
    ),
    State.HELD: frozenset({State.DECIDED, State.RECEIVED, State.DROPPED, State.DEAD}),
    State.DECIDED: frozenset({State.FORWARDING, State.DROPPED, State.DEAD}),
    State.FORWARDING: frozenset({State.FORWARDED, State.DECIDED, State.DEAD}),
    State.FORWARDED: frozenset(),
    State.DROPPED: frozenset(),
    State.DEAD: frozenset(),
}

FINAL: Final = frozenset(state for state, moves in MOVES.items() if not moves)

# A worker that lives prolongs its lease three times in its length, so that it runs out only when the
# worker is gone, and what a lost worker leaves behind goes on half a minute later.
LEASE: Final = timedelta(seconds=30)

# A delivery that loses its worker this often is the likely reason for the loss.
MAX_LEASE_LOSSES: Final = 3

# Waiting times between looks or sends; from seconds to hours, 72 h in all. Source: the failure
# table of the design ("10 s … 72 h, then dead letter and alarm").
RETRY_DELAYS: Final = (
    timedelta(seconds=10),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
)
GIVE_UP_AFTER: Final = timedelta(hours=72)


def is_legal(before: State, after: State) -> bool:
    """Tell whether a delivery may move from one state to another."""
    return after in MOVES[before]


def decide_retry(*, tries: int, received_at: datetime, now: datetime) -> datetime | None:
    """Decide when to try again, or None when it is time to give up.

    Args:
        tries: How often it was tried already, at least 1.
        received_at: When the delivery was accepted.
        now: The time.
    """
    delay = RETRY_DELAYS[min(tries, len(RETRY_DELAYS)) - 1]
    if now + delay > received_at + GIVE_UP_AFTER:
        return None
    return now + delay
