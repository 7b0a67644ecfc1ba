"""The states of a delivery, its legal moves, and when it is tried again.

    received ──► examining ──► forwarding ──► forwarded
     ▲ ▲             │  │          │  ▲
     │ └── retry ────┘  ├─► held ──┼──┤ (ruling, or budget spent behind a media door)
     │                  │    │     ▼  │
     │                  │    │   decided (backend down: tried again)
     │                  ▼    ▼     │
     └─ replay ──── dead, dropped ◄┘

Everything after `received` is already answered 202: from there a delivery ends in `forwarded`,
`dropped` (by policy, by a ruling, or superseded by its own Delete) or, visibly, in `dead`. Only a person
brings a dead letter back, and only a person or its own Delete drops it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import deliveries
from db.deliveries import DeliveryState

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection

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
    State.DEAD: frozenset({State.RECEIVED, State.DROPPED}),
}

FINAL: Final = deliveries.FINISHED_STATES

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


async def move(
    conn: Connection,
    delivery_id: int,
    *,
    expected: State,
    to: State,
    now: datetime,
    worker: str | None = None,
    due_at: datetime | None = None,
    reason: str | None = None,
    erase_body: bool = False,
) -> bool:
    """Move a delivery if it stands where it is expected to, and tell whether it did; see `advance`.

    Every move that the relay makes is made here. Only claims (`received` to `examining`, `decided` to
    `forwarding`) and a Delete (to `dropped`) move deliveries within the database.

    Raises:
        ValueError: No delivery may ever move so; or a lease is to be taken without a worker or an end.
    """
    if not is_legal(expected, to):
        raise ValueError(f"no delivery moves from {expected.value} to {to.value}")
    return await deliveries.advance(
        conn,
        delivery_id,
        expected=expected,
        to=to,
        now=now,
        worker=worker,
        due_at=due_at,
        reason=reason,
        erase_body=erase_body,
    )


def decide_retry(*, tries: int, queued_at: datetime, now: datetime) -> datetime | None:
    """Decide when to try again, or None when it is time to give up.

    Args:
        tries: How often it was tried already, at least 1.
        queued_at: When the delivery was accepted, or last replayed.
        now: The time.
    """
    delay = RETRY_DELAYS[min(tries, len(RETRY_DELAYS)) - 1]
    if now + delay > queued_at + GIVE_UP_AFTER:
        return None
    return now + delay
