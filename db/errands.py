"""Queue errands: what has to be done on the backend, or about something that it told us.

An errand is added in the transaction that gives rise to it and is claimed with a lease. One whose lease
ends unextended is claimable again, and how often that happened is counted; how many times are too many,
and when to try again, is the caller's to decide. The same kind for the same subject and case is added once.

A payload names what acting needs (ids of objects and actors, aliases of stored files) and is emptied when
the errand is done. It never holds a digest of media.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from db.delivery_rows import storable
from db.errand_rows import (
    Errand,
    ErrandKind,
    ErrandState,
    NewErrand,
    build_errand,
    identity_of,
    storable_value,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime, timedelta

    from db.pool import Connection

__all__ = [
    "CHANNEL",
    "NOT_NEEDED",
    "Errand",
    "ErrandKind",
    "ErrandState",
    "NewErrand",
    "add",
    "claim",
    "count_by_state",
    "extend_lease",
    "find",
    "finish",
    "list_errands",
    "list_of_case",
    "next_due",
    "purge_errands",
    "put_back",
    "retry",
]

# Notified with the id of an errand that somebody may now work on.
CHANNEL: Final = "errands"

# The reason of an errand that ended without anything being done, because there was nothing to do it with. It
# may come to be needed: a dead letter is replayed, for instance.
NOT_NEEDED: Final = "not_needed"


_OVER: Final = frozenset({ErrandState.DONE, ErrandState.FAILED})

_ERRAND: Final = """
    e.id, e.kind, e.subject, e.case_id, e.payload, e.state, e.due_at, e.worker, e.tries, e.lost_leases,
    e.reason, e.created_at, e.tried_since, e.updated_at, e.finished_at
"""


_ADD: Final = """-- add_errand
WITH added AS (
    INSERT INTO errands AS e (
        identity, kind, subject, case_id, payload, state, due_at, created_at, tried_since, updated_at
    )
    VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $7, $7, $7)
    ON CONFLICT (identity) DO UPDATE
    SET payload = excluded.payload, state = 'waiting', due_at = excluded.due_at, tries = 0, lost_leases = 0,
        reason = NULL, tried_since = excluded.tried_since, updated_at = excluded.updated_at,
        finished_at = NULL
    WHERE e.state = 'done' AND e.reason = $8
    RETURNING id
)
SELECT id, pg_notify('errands', id::text) FROM added
"""


async def add(
    conn: Connection,
    *,
    kind: ErrandKind,
    subject: str,
    now: datetime,
    case_id: int | None = None,
    payload: Mapping[str, object] | None = None,
    due_at: datetime | None = None,
) -> int | None:
    """Add an errand and return its id; None if it was added before, unless it ended as `NOT_NEEDED` then.

    Args:
        conn: The connection; in its transaction the errand arises or is undone with it.
        kind: What is to be done.
        subject: With what. U+0000 and lone surrogates in it and in the payload become U+FFFD.
        now: The time.
        case_id: The case that it follows from.
        payload: What else is needed to do it; JSON values.
        due_at: When it may be begun; at once by default.
    """
    row = await conn.fetchrow(
        _ADD,
        identity_of(kind, subject, case_id),
        kind,
        storable(subject),
        case_id,
        storable_value(dict(payload or {})),
        now if due_at is None else due_at,
        now,
        NOT_NEEDED,
    )
    return None if row is None else int(row["id"])


_CLAIM: Final = f"""-- claim_errand
WITH next AS (
    SELECT o.id FROM errands AS o
    WHERE o.state IN ('waiting', 'working') AND o.due_at <= $1
    AND ($4::text[] IS NULL OR o.kind = ANY ($4))
    ORDER BY o.due_at, o.id
    LIMIT 1
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE errands AS e
SET state = 'working',
    lost_leases = e.lost_leases + CASE e.state WHEN 'working' THEN 1 ELSE 0 END,
    worker = $2,
    due_at = $3,
    updated_at = $1
FROM next
WHERE e.id = next.id
RETURNING {_ERRAND}
"""  # noqa: S608 (the columns are a constant of this file)


async def claim(
    conn: Connection,
    *,
    worker: str,
    lease: timedelta,
    now: datetime,
    kinds: Collection[ErrandKind] | None = None,
) -> Errand | None:
    """Take the errand that has been due longest, or None if there is none.

    Args:
        conn: The connection.
        worker: Who takes it.
        lease: For how long.
        now: The time.
        kinds: Take only these kinds; any by default.
    """
    wanted = None if kinds is None else [kind.value for kind in kinds]
    row = await conn.fetchrow(_CLAIM, now, worker, now + lease, wanted)
    return None if row is None else build_errand(row)


_EXTEND_LEASE: Final = """-- extend_errand_lease
UPDATE errands AS e SET due_at = $3
WHERE e.id = $1 AND e.worker = $2 AND e.state = 'working'
RETURNING e.id
"""


async def extend_lease(
    conn: Connection, errand_id: int, *, worker: str, lease: timedelta, now: datetime
) -> bool:
    """Prolong a worker's lease from now on; False means that it was lost."""
    return await conn.fetchval(_EXTEND_LEASE, errand_id, worker, now + lease) is not None


_PUT_BACK: Final = """-- put_back_errand
UPDATE errands AS e
SET state = 'waiting', worker = NULL, due_at = $3, tries = e.tries + 1, reason = $4, updated_at = $5
WHERE e.id = $1 AND e.worker = $2 AND e.state = 'working'
RETURNING e.id
"""


async def put_back(
    conn: Connection, errand_id: int, *, worker: str, due_at: datetime, reason: str, now: datetime
) -> bool:
    """Put an errand back to be tried again, which is counted; False if the lease was lost."""
    return await conn.fetchval(_PUT_BACK, errand_id, worker, due_at, storable(reason), now) is not None


_FINISH: Final = """-- finish_errand
UPDATE errands AS e
SET state = $3, worker = NULL, reason = $4, due_at = $5, updated_at = $5, finished_at = $5,
    payload = CASE $3 WHEN 'done' THEN '{}'::jsonb ELSE e.payload END
WHERE e.id = $1 AND e.worker = $2 AND e.state = 'working'
RETURNING e.id
"""


async def finish(
    conn: Connection,
    errand_id: int,
    *,
    worker: str,
    to: ErrandState,
    now: datetime,
    reason: str | None = None,
) -> bool:
    """End an errand, done or failed, and tell whether it was this worker's to end.

    Raises:
        ValueError: Any other state is no end.
    """
    if to not in _OVER:
        raise ValueError("an errand ends done or failed")
    stored = None if reason is None else storable(reason)
    return await conn.fetchval(_FINISH, errand_id, worker, to, stored, now) is not None


_RETRY: Final = """-- retry_errand
WITH again AS (
    UPDATE errands AS e
    SET state = 'waiting', due_at = $2, tried_since = $2, updated_at = $2, finished_at = NULL,
        tries = 0, lost_leases = 0
    WHERE e.id = $1 AND e.state = 'failed'
    RETURNING e.id
)
SELECT id, pg_notify('errands', id::text) FROM again
"""


async def retry(conn: Connection, errand_id: int, *, now: datetime) -> bool:
    """Let a failed errand be tried from the start; False if there is none of that id that failed."""
    return await conn.fetchrow(_RETRY, errand_id, now) is not None


_FIND: Final = f"""-- find_errand
SELECT {_ERRAND} FROM errands AS e WHERE e.id = $1
"""  # noqa: S608 (the columns are a constant of this file)


async def find(conn: Connection, errand_id: int) -> Errand | None:
    """Find an errand by its id."""
    row = await conn.fetchrow(_FIND, errand_id)
    return None if row is None else build_errand(row)


_LIST: Final = f"""-- list_errands
SELECT {_ERRAND} FROM errands AS e
WHERE ($1::text[] IS NULL OR e.state = ANY ($1)) AND e.id > $2
ORDER BY e.id
LIMIT $3
"""  # noqa: S608 (the columns are a constant of this file)


async def list_errands(
    conn: Connection,
    *,
    limit: int,
    states: Collection[ErrandState] | None = None,
    after_id: int = 0,
) -> tuple[Errand, ...]:
    """List errands, oldest first, from after an id on; those in any state by default."""
    wanted = None if states is None else [state.value for state in states]
    return tuple(build_errand(row) for row in await conn.fetch(_LIST, wanted, after_id, limit))


_LIST_OF_CASE: Final = f"""-- list_errands_of_case
SELECT {_ERRAND} FROM errands AS e WHERE e.case_id = $1 ORDER BY e.id
"""  # noqa: S608 (the columns are a constant of this file)


async def list_of_case(conn: Connection, case_id: int) -> tuple[Errand, ...]:
    """List what follows from a case, done or not."""
    return tuple(build_errand(row) for row in await conn.fetch(_LIST_OF_CASE, case_id))


_COUNT: Final = """-- count_errands
SELECT e.state, count(*) AS count FROM errands AS e GROUP BY e.state
"""


async def count_by_state(conn: Connection) -> dict[ErrandState, int]:
    """Count the errands in every state, zeros included."""
    counts = {row["state"]: int(row["count"]) for row in await conn.fetch(_COUNT)}
    return {state: counts.get(state, 0) for state in ErrandState}


_NEXT_DUE: Final = """-- next_due_errand
SELECT e.due_at FROM errands AS e
WHERE e.state IN ('waiting', 'working') AND ($1::text[] IS NULL OR e.kind = ANY ($1))
ORDER BY e.due_at, e.id
LIMIT 1
"""


async def next_due(conn: Connection, *, kinds: Collection[ErrandKind] | None = None) -> datetime | None:
    """Find when the next errand is due or the next lease ends; None if there is nothing to do.

    Args:
        conn: The connection.
        kinds: Look at these kinds only; at any by default.
    """
    wanted = None if kinds is None else [kind.value for kind in kinds]
    due: datetime | None = await conn.fetchval(_NEXT_DUE, wanted)
    return due


_PURGE: Final = """-- purge_errands
DELETE FROM errands AS e
WHERE e.id IN (
    SELECT o.id FROM errands AS o WHERE o.finished_at < $1 ORDER BY o.finished_at, o.id LIMIT $2
)
RETURNING e.id
"""


async def purge_errands(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget errands that ended before a time; return how many."""
    return len(await conn.fetch(_PURGE, before, limit))
