"""Look at deliveries without moving them, and let go of finished ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from db.delivery_rows import DeliveryState, build_stored_delivery, build_summary, chain_number

if TYPE_CHECKING:
    from datetime import datetime

    from db.delivery_rows import DeliverySummary, StoredDelivery
    from db.pool import Connection

_SUMMARY: Final = """
    d.id, d.state, d.activity_type, d.actor, d.object_id, d.chain_key, d.inbox, d.sender_actor,
    d.audience, d.attempts, d.retries, d.reason, d.is_selftest, d.body <> ''::bytea AS has_body,
    d.received_at, d.due_at, d.hold_until, d.updated_at, d.finished_at, d.replayed_at
"""


_FIND_DELIVERY: Final = """-- find_delivery
SELECT
    d.id, d.state, d.chain_key, d.due_at, d.worker, d.attempts, d.retries, d.reason, d.hold_until,
    d.activity_id, d.activity_type, d.actor, d.object_id, d.inbox, d.head, d.body, d.body_digest,
    d.sender_actor, d.sender_key_id, d.remote_address, d.audience, d.is_selftest, d.received_at,
    d.updated_at, d.finished_at, d.replayed_at
FROM deliveries AS d
WHERE d.id = $1
"""


async def find_delivery(conn: Connection, delivery_id: int) -> StoredDelivery | None:
    """Find a delivery by its id."""
    row = await conn.fetchrow(_FIND_DELIVERY, delivery_id)
    return None if row is None else build_stored_delivery(row)


_HAS_UNFINISHED: Final = """-- has_unfinished
SELECT EXISTS (
    SELECT 1 FROM deliveries AS o
    WHERE o.chain = $1 AND o.state NOT IN ('forwarded', 'dropped', 'dead')
)
"""


async def has_unfinished(conn: Connection, chain_key: str) -> bool:
    """Tell whether a delivery of this chain is still on its way, so that another must queue behind it."""
    chain = chain_number(chain_key)
    return chain is not None and bool(await conn.fetchval(_HAS_UNFINISHED, chain))


_HAS_DEAD: Final = """-- has_dead
SELECT EXISTS (SELECT 1 FROM deliveries AS o WHERE o.chain = $1 AND o.state = 'dead')
"""


async def has_dead(conn: Connection, chain_key: str) -> bool:
    """Tell whether a delivery of this chain was given up and may still be brought back."""
    chain = chain_number(chain_key)
    return chain is not None and bool(await conn.fetchval(_HAS_DEAD, chain))


_COUNT_UNFINISHED: Final = """-- count_unfinished
SELECT count(*) FROM deliveries AS d
WHERE d.state IN ('received', 'examining', 'held', 'decided', 'forwarding')
"""


async def count_unfinished(conn: Connection) -> int:
    """Count the deliveries that are still on their way, however many are finished."""
    return int(await conn.fetchval(_COUNT_UNFINISHED))


_COUNT_BY_STATE: Final = """-- count_by_state
SELECT d.state, count(*) AS count FROM deliveries AS d GROUP BY d.state
"""


async def count_by_state(conn: Connection) -> dict[DeliveryState, int]:
    """Count the deliveries in every state, zeros included."""
    rows = await conn.fetch(_COUNT_BY_STATE)
    counts = {row["state"]: int(row["count"]) for row in rows}
    return {state: counts.get(state, 0) for state in DeliveryState}


_LIST_DELIVERIES: Final = f"""-- list_deliveries
SELECT {_SUMMARY}
FROM deliveries AS d
WHERE d.state = $1 AND d.id > $2
ORDER BY d.id
LIMIT $3
"""  # noqa: S608 (the columns are a constant of this file)


async def list_deliveries(
    conn: Connection, state: DeliveryState, limit: int, *, after_id: int = 0
) -> tuple[DeliverySummary, ...]:
    """List the deliveries in a state, oldest first, from after an id on."""
    return tuple(build_summary(row) for row in await conn.fetch(_LIST_DELIVERIES, state, after_id, limit))


_DUE_HOLDS: Final = f"""-- due_holds
SELECT {_SUMMARY}
FROM deliveries AS d
WHERE d.state = 'held' AND d.hold_until <= $1
ORDER BY d.hold_until, d.id
LIMIT $2
"""  # noqa: S608 (the columns are a constant of this file)


async def due_holds(conn: Connection, *, now: datetime, limit: int) -> tuple[DeliverySummary, ...]:
    """List the held deliveries whose budget for holding has ended, longest overdue first."""
    return tuple(build_summary(row) for row in await conn.fetch(_DUE_HOLDS, now, limit))


_NEXT_DUE: Final = """-- next_due
SELECT LEAST(
    (
        SELECT min(d.due_at) FROM deliveries AS d
        WHERE d.state IN ('received', 'decided', 'examining', 'forwarding') AND NOT d.is_waiting
    ),
    (SELECT min(d.hold_until) FROM deliveries AS d WHERE d.state = 'held')
)
"""


async def next_due(conn: Connection) -> datetime | None:
    """Return when the next claim, lost lease or end of holding is due; None if nothing is waited for.

    It may lie in the past. A caller that finds nothing to claim then must still pause before asking again.
    """
    due: datetime | None = await conn.fetchval(_NEXT_DUE)
    return due


_ERASE_BODIES: Final = """-- erase_bodies
UPDATE deliveries AS d
SET body = ''::bytea
WHERE d.id IN (
    SELECT o.id FROM deliveries AS o
    WHERE o.finished_at IS NOT NULL AND o.finished_at < $1 AND o.state IN ('forwarded', 'dropped')
    AND o.body <> ''::bytea
    ORDER BY o.finished_at, o.id
    LIMIT $2
)
RETURNING d.id
"""


async def erase_bodies(conn: Connection, *, before: datetime, limit: int) -> int:
    """Erase the bodies of deliveries that were forwarded or dropped before a time; return how many.

    The rows stay, so that a second copy is still known. Dead letters keep their bodies for a replay.
    """
    return len(await conn.fetch(_ERASE_BODIES, before, limit))


_PURGE_FINISHED: Final = """-- purge_finished
DELETE FROM deliveries AS d
WHERE d.id IN (
    SELECT o.id FROM deliveries AS o
    WHERE o.finished_at IS NOT NULL AND o.finished_at < $1
    ORDER BY o.finished_at, o.id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
RETURNING d.id
"""


async def purge_finished(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete deliveries, dead letters included, that were finished before a time; return how many.

    A copy that arrives later is then taken for new.
    """
    return len(await conn.fetch(_PURGE_FINISHED, before, limit))


_FIND_SUMMARY: Final = f"""-- find_summary
SELECT {_SUMMARY} FROM deliveries AS d WHERE d.id = $1
"""  # noqa: S608 (the columns are a constant of this file)


async def find_summary(conn: Connection, delivery_id: int) -> DeliverySummary | None:
    """Find what a list shows of a delivery."""
    row = await conn.fetchrow(_FIND_SUMMARY, delivery_id)
    return None if row is None else build_summary(row)


_FIND_BY_ACTIVITY: Final = """-- find_by_activity
SELECT d.id FROM deliveries AS d WHERE d.activity_id = $1 ORDER BY d.id DESC LIMIT 1
"""


async def find_by_activity(conn: Connection, activity_id: str) -> StoredDelivery | None:
    """Find the newest delivery of an activity."""
    delivery_id = await conn.fetchval(_FIND_BY_ACTIVITY, activity_id)
    return None if delivery_id is None else await find_delivery(conn, delivery_id)
