"""Queue deliveries: store before answering, claim with a lease, advance by compare-and-set.

Order is kept per chain (the object acted upon): a delivery is only handed out when no older one of its
chain is unfinished. Two things see to it. The claim's subquery is the truth; the flag `is_waiting`
keeps deliveries that stand behind another one out of the index that claims read, so that a long chain
behind one held delivery costs nothing. The flag is written under a lock on the chain, when a delivery
enters and when the one before it finishes.

A lease that ends unextended makes the delivery claimable again with `attempts` counted up; how many are
too many is the caller's to decide. Which moves between states are legal is the caller's table, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from db.delivery_lists import (
    count_by_state,
    count_unfinished,
    due_holds,
    erase_bodies,
    find_delivery,
    has_unfinished,
    list_deliveries,
    next_due,
    purge_finished,
)
from db.delivery_rows import (
    FINISHED_STATES,
    WORKING_STATES,
    DeliveryState,
    DeliverySummary,
    NewDelivery,
    StoredDelivery,
    build_stored_delivery,
    chain_number,
    encode_head,
    identity_of,
    storable,
)
from db.pool import in_transaction

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from db.pool import Connection

__all__ = [
    "CHANNEL",
    "FINISHED_STATES",
    "SUPERSEDED",
    "WORKING_STATES",
    "DeliveryState",
    "DeliverySummary",
    "NewDelivery",
    "StoredDelivery",
    "advance",
    "claim_delivery",
    "claim_delivery_by_id",
    "count_by_state",
    "count_unfinished",
    "due_holds",
    "erase_bodies",
    "extend_lease",
    "find_delivery",
    "has_unfinished",
    "insert_delivery",
    "list_deliveries",
    "next_due",
    "purge_finished",
    "supersede",
]

# Notified with the id of a delivery that somebody may now work on, or whose chain moved on.
CHANNEL: Final = "deliveries"
SUPERSEDED: Final = "superseded"

_RETURNING: Final = """
    d.id, d.state, d.chain_key, d.due_at, d.worker, d.attempts, d.retries, d.reason, d.hold_until,
    d.activity_id, d.activity_type, d.actor, d.object_id, d.inbox, d.head, d.body, d.body_digest,
    d.sender_actor, d.sender_key_id, d.remote_address, d.audience, d.is_selftest, d.received_at,
    d.updated_at, d.finished_at, d.replayed_at
"""

_LOCK_CHAIN: Final = """-- lock_chain
SELECT pg_advisory_xact_lock($1::bigint)
"""

_LOCK_CHAIN_OF: Final = """-- lock_chain_of
SELECT d.chain, pg_advisory_xact_lock(d.chain)
FROM deliveries AS d
WHERE d.id = $1 AND d.chain IS NOT NULL
"""

_WAKE_CHAIN: Final = """-- wake_chain
UPDATE deliveries AS d
SET is_waiting = false
WHERE d.is_waiting AND d.id = (
    SELECT o.id FROM deliveries AS o
    WHERE o.chain = $1 AND o.state NOT IN ('forwarded', 'dropped', 'dead')
    ORDER BY o.id LIMIT 1
)
"""


_INSERT_DELIVERY: Final = """-- insert_delivery
WITH stored AS (
    INSERT INTO deliveries (
        identity, chain, chain_key, state, is_waiting, due_at, hold_until, activity_id, activity_type,
        actor, object_id, inbox, head, body, body_digest, sender_actor, sender_key_id, remote_address,
        audience, is_selftest, received_at, updated_at
    )
    SELECT
        $1, $2::bigint, $3, 'received',
        EXISTS (
            SELECT 1 FROM deliveries AS o
            WHERE o.chain = $2 AND o.state NOT IN ('forwarded', 'dropped', 'dead')
        ),
        $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $4, $4
    ON CONFLICT (identity) DO NOTHING
    RETURNING id
)
SELECT id, pg_notify('deliveries', id::text) FROM stored
"""


async def insert_delivery(conn: Connection, new: NewDelivery) -> int | None:
    """Store a delivery and return its id, or None if the same one is stored already."""
    chain = chain_number(new.chain_key)
    async with in_transaction(conn):
        if chain is not None:
            await conn.execute(_LOCK_CHAIN, chain)
        row = await conn.fetchrow(
            _INSERT_DELIVERY,
            identity_of(new),
            chain,
            storable(new.chain_key),
            new.received_at,
            new.hold_until,
            storable(new.activity_id),
            storable(new.activity_type),
            storable(new.actor),
            storable(new.object_id),
            storable(new.inbox),
            encode_head(new),
            new.body,
            new.body_digest,
            None if new.sender_actor is None else storable(new.sender_actor),
            None if new.sender_key_id is None else storable(new.sender_key_id),
            new.remote_address,
            new.audience,
            new.is_selftest,
        )
    return None if row is None else int(row["id"])


_CLAIM_DELIVERY: Final = f"""-- claim_delivery
WITH next AS (
    SELECT d.id FROM deliveries AS d
    WHERE d.state IN ('received', 'decided', 'examining', 'forwarding') AND NOT d.is_waiting
    AND d.due_at <= $1
    AND (
        d.chain IS NULL OR d.id = (
            SELECT o.id FROM deliveries AS o
            WHERE o.chain = d.chain AND o.state NOT IN ('forwarded', 'dropped', 'dead')
            ORDER BY o.id LIMIT 1
        )
    )
    ORDER BY d.due_at, d.id
    LIMIT 1
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE deliveries AS d
SET state = CASE d.state WHEN 'received' THEN 'examining' WHEN 'decided' THEN 'forwarding' ELSE d.state END,
    attempts = d.attempts + CASE WHEN d.state IN ('examining', 'forwarding') THEN 1 ELSE 0 END,
    worker = $2,
    due_at = $3,
    updated_at = $1
FROM next
WHERE d.id = next.id
RETURNING {_RETURNING}
"""  # noqa: S608 (the columns are a constant of this file)


async def claim_delivery(
    conn: Connection, *, worker: str, lease: timedelta, now: datetime
) -> StoredDelivery | None:
    """Take the delivery that has been due longest and whose chain is free, or None if there is none.

    A received one becomes examining, a decided one forwarding. One whose lease has ended keeps its state.
    """
    row = await conn.fetchrow(_CLAIM_DELIVERY, now, worker, now + lease)
    return None if row is None else build_stored_delivery(row)


_CLAIM_DELIVERY_BY_ID: Final = _CLAIM_DELIVERY.replace(
    "-- claim_delivery", "-- claim_delivery_by_id", 1
).replace("AND d.due_at <= $1", "AND d.due_at <= $1 AND d.id = $4", 1)


async def claim_delivery_by_id(
    conn: Connection, delivery_id: int, *, worker: str, lease: timedelta, now: datetime
) -> StoredDelivery | None:
    """Take this delivery by the rules of `claim_delivery`, or None if they forbid it."""
    row = await conn.fetchrow(_CLAIM_DELIVERY_BY_ID, now, worker, now + lease, delivery_id)
    return None if row is None else build_stored_delivery(row)


_ADVANCE: Final = """-- advance
WITH moved AS (
    UPDATE deliveries AS d
    SET state = $3,
        worker = $5,
        due_at = $6,
        updated_at = $7,
        finished_at = CASE WHEN $8::boolean THEN $7::timestamptz END,
        reason = COALESCE($9, d.reason),
        hold_until = COALESCE($10, d.hold_until),
        replayed_at = CASE WHEN $13::boolean THEN $7::timestamptz ELSE d.replayed_at END,
        attempts = CASE WHEN $11::boolean THEN d.attempts ELSE 0 END,
        retries = CASE WHEN $11::boolean THEN d.retries + 1 ELSE 0 END,
        body = CASE WHEN $12::boolean THEN ''::bytea ELSE d.body END,
        is_waiting = CASE WHEN $13::boolean THEN d.chain IS NOT NULL AND EXISTS (
            SELECT 1 FROM deliveries AS o
            WHERE o.chain = d.chain AND o.id < d.id AND o.state NOT IN ('forwarded', 'dropped', 'dead')
        ) ELSE d.is_waiting END
    WHERE d.id = $1 AND d.state = $2 AND ($4::text IS NULL OR d.worker = $4)
    RETURNING d.id
)
SELECT id, CASE WHEN $14::boolean THEN pg_notify('deliveries', id::text) END FROM moved
"""

# Putting a delivery back into the queue it was claimed from.
_RETRY_MOVES: Final = frozenset(
    {
        (DeliveryState.EXAMINING, DeliveryState.RECEIVED),
        (DeliveryState.FORWARDING, DeliveryState.DECIDED),
    }
)


async def advance(
    conn: Connection,
    delivery_id: int,
    *,
    expected: DeliveryState,
    to: DeliveryState,
    now: datetime,
    worker: str | None = None,
    due_at: datetime | None = None,
    reason: str | None = None,
    hold_until: datetime | None = None,
    erase_body: bool = False,
) -> bool:
    """Move a delivery if it stands where it is expected to, and tell whether it did.

    From examining and forwarding, a `worker` that is given must hold the lease. Into them, it takes the
    lease until `due_at`, and both must be given. Otherwise `due_at` is when the delivery is looked at
    next, at once by default. A reason or an end of holding that is not given stays. Putting a delivery
    back into its queue counts as a retry; any other move begins a phase with no attempts and no retries.

    Raises:
        ValueError: A lease is to be taken without a worker or an end.
    """
    if to in WORKING_STATES and (worker is None or due_at is None):
        raise ValueError("a lease needs a worker and an end")
    finishes = to in FINISHED_STATES
    reopens = expected in FINISHED_STATES and not finishes
    async with in_transaction(conn):
        chain = await _lock_chain_of(conn, delivery_id) if finishes or reopens else None
        row = await conn.fetchrow(
            _ADVANCE,
            delivery_id,
            expected,
            to,
            worker if expected in WORKING_STATES else None,
            worker if to in WORKING_STATES else None,
            now if due_at is None else due_at,
            now,
            finishes,
            None if reason is None else storable(reason),
            hold_until,
            (expected, to) in _RETRY_MOVES,
            erase_body,
            reopens,
            to is not DeliveryState.HELD and to not in WORKING_STATES,
        )
        if row is not None and finishes and chain is not None:
            await conn.execute(_WAKE_CHAIN, chain)
    return row is not None


_EXTEND_LEASE: Final = """-- extend_lease
UPDATE deliveries AS d
SET due_at = $3
WHERE d.id = $1 AND d.worker = $2 AND d.state IN ('examining', 'forwarding')
RETURNING d.id
"""


async def extend_lease(
    conn: Connection, delivery_id: int, *, worker: str, lease: timedelta, now: datetime
) -> bool:
    """Prolong a worker's lease from now on; False means that it was lost and the work must stop."""
    return await conn.fetchval(_EXTEND_LEASE, delivery_id, worker, now + lease) is not None


_SUPERSEDE: Final = """-- supersede
UPDATE deliveries AS d
SET state = 'dropped', worker = NULL, is_waiting = false, reason = $4, body = ''::bytea,
    due_at = $5, updated_at = $5, finished_at = $5
WHERE d.chain_key = $2 AND d.id < $3
AND (
    (d.chain = $1 AND d.state NOT IN ('forwarded', 'dropped', 'dead') AND d.state <> 'forwarding')
    OR (d.chain = $1 AND d.state = 'dead')
)
RETURNING d.id
"""


async def supersede(conn: Connection, *, chain_key: str, before_id: int, now: datetime) -> tuple[int, ...]:
    """Drop a chain's older deliveries that are not being forwarded, with their bodies; return their ids.

    Dead letters are among them: nobody is to bring back what its author took back. For a Delete. That its
    sender may delete the object is not checked here; the caller must have done so.
    """
    chain = chain_number(chain_key)
    if chain is None:
        return ()
    async with in_transaction(conn):
        await conn.execute(_LOCK_CHAIN, chain)
        rows = await conn.fetch(_SUPERSEDE, chain, storable(chain_key), before_id, SUPERSEDED, now)
        await conn.execute(_WAKE_CHAIN, chain)
    return tuple(sorted(row["id"] for row in rows))


async def _lock_chain_of(conn: Connection, delivery_id: int) -> int | None:
    """Lock the chain of a delivery until the transaction ends; None if it belongs to none."""
    chain: int | None = await conn.fetchval(_LOCK_CHAIN_OF, delivery_id)
    return chain
