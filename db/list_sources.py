"""Keep where lists are fetched from, how far that is, and who is at it.

A source is fetched by one at a time, who holds its lease: every step is taken only while it is held. Of the
credentials only the place is kept, never they themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from db.delivery_rows import storable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from db.pool import Connection

# Notified when a source is new or is to be fetched now.
CHANNEL: Final = "list_sources"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewListSource:
    """Where a list comes from.

    Attributes:
        list_id: The list.
        kind: How the place is spoken to.
        url: The place.
        credentials: Where the credentials are, such as `file:/etc/…`; empty where none are needed.
        options: What else the kind needs; JSON values.
        every: How often it is fetched.
        accepted_at: When the admin accepted the maker's terms.
        hold_after: How old the list may be before what nothing matches is held; None for any age.
    """

    list_id: int
    kind: str
    url: str
    credentials: str
    options: Mapping[str, Any]
    every: timedelta
    accepted_at: datetime
    hold_after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSource(NewListSource):
    """A source as it is kept, with its list's name and what a match with the list means.

    Attributes:
        name: The list's name.
        category: The list's category.
        purpose: The list's purpose, `block` or `allow`.
        entries: How many values the list has.
        is_withdrawn: The list is out of use.
        checkpoint: Where the next page begins; None before the first one.
        generation: Counts the fetches from the beginning.
        due_at: When it is fetched next.
        tries: Failures in a row.
        synced_at: When everything was last fetched; None if never.
        error_kind: What went wrong the last time, as one word; None if nothing did.
        error: The same as sentences.
        unusable: How many hashes there are of which kinds that we have no use for.
        worker: Who fetches it now, if the lease still runs.
        lease_until: Until when.
    """

    name: str
    category: str
    purpose: str
    entries: int
    is_withdrawn: bool
    checkpoint: dict[str, Any] | None
    generation: int
    due_at: datetime
    tries: int
    synced_at: datetime | None
    error_kind: str | None
    error: str | None
    unusable: dict[str, int]
    worker: str | None
    lease_until: datetime | None


_SOURCE: Final = """
    s.list_id, s.kind, s.url, s.credentials, s.options, s.every, s.accepted_at, s.hold_after, l.name,
    l.category, l.purpose, l.entries, l.withdrawn_at IS NOT NULL AS is_withdrawn, s.checkpoint, s.generation,
    s.due_at, s.tries, s.synced_at, s.error_kind, s.error, s.unusable, s.worker, s.lease_until
"""

_ADD: Final = """-- add_list_source
INSERT INTO list_sources (
    list_id, kind, url, credentials, options, every, accepted_at, due_at, hold_after
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)
"""

_WAKE: Final = """-- wake_list_sources
SELECT pg_notify('list_sources', '')
"""


async def add_source(conn: Connection, new: NewListSource) -> None:
    """Say where a list comes from; it is due at once."""
    await conn.execute(
        _ADD,
        new.list_id,
        new.kind,
        storable(new.url),
        storable(new.credentials),
        dict(new.options),
        new.every,
        new.accepted_at,
        new.hold_after,
    )
    await conn.execute(_WAKE)


_LIST: Final = f"""-- list_list_sources
SELECT {_SOURCE} FROM list_sources AS s JOIN hash_lists AS l ON l.id = s.list_id ORDER BY l.name
"""  # noqa: S608 (the columns are a constant of this file)


async def list_sources(conn: Connection) -> tuple[ListSource, ...]:
    """List all sources by the names of their lists; they are few."""
    return tuple(ListSource(**row) for row in await conn.fetch(_LIST))


_FIND: Final = f"""-- find_list_source
SELECT {_SOURCE} FROM list_sources AS s JOIN hash_lists AS l ON l.id = s.list_id WHERE l.name = $1
"""  # noqa: S608 (the columns are a constant of this file)


async def find_source(conn: Connection, name: str) -> ListSource | None:
    """Find the source of a list by the list's name."""
    row = await conn.fetchrow(_FIND, name)
    return None if row is None else ListSource(**row)


_CLAIM: Final = f"""-- claim_list_source
WITH next AS (
    SELECT o.list_id FROM list_sources AS o JOIN hash_lists AS x ON x.id = o.list_id
    WHERE (o.lease_until IS NULL OR o.lease_until <= $1)
    AND CASE WHEN $4::text IS NULL THEN o.due_at <= $1 AND x.withdrawn_at IS NULL ELSE x.name = $4 END
    ORDER BY o.due_at
    LIMIT 1
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE list_sources AS s SET worker = $2, lease_until = $3
FROM next, hash_lists AS l
WHERE s.list_id = next.list_id AND l.id = s.list_id
RETURNING {_SOURCE}
"""  # noqa: S608 (the columns are a constant of this file)


async def claim_source(
    conn: Connection, *, worker: str, lease: timedelta, now: datetime, name: str | None = None
) -> ListSource | None:
    """Take a source that nobody fetches, or None if there is none.

    Args:
        conn: The connection.
        worker: Who takes it.
        lease: For how long.
        now: The time.
        name: Take that of this list, due or not, in use or not; else the one that has been due longest.
    """
    row = await conn.fetchrow(_CLAIM, now, worker, now + lease, name)
    return None if row is None else ListSource(**row)


_ADVANCE: Final = """-- advance_list_source
UPDATE list_sources AS s
SET checkpoint = $3, generation = $4, unusable = $5, lease_until = $6
WHERE s.list_id = $1 AND s.worker = $2
RETURNING s.list_id
"""


async def advance_source(
    conn: Connection,
    list_id: int,
    *,
    worker: str,
    checkpoint: Mapping[str, Any],
    generation: int,
    unusable: Mapping[str, int],
    lease_until: datetime,
) -> bool:
    """Move the checkpoint on, in the transaction that takes the page in; False if the lease was lost."""
    found = await conn.fetchval(
        _ADVANCE, list_id, worker, dict(checkpoint), generation, dict(unusable), lease_until
    )
    return found is not None


_EXTEND: Final = """-- extend_list_source_lease
UPDATE list_sources AS s SET lease_until = $3 WHERE s.list_id = $1 AND s.worker = $2 RETURNING s.list_id
"""


async def extend_lease(conn: Connection, list_id: int, *, worker: str, lease_until: datetime) -> bool:
    """Prolong a lease; False if it was lost."""
    return await conn.fetchval(_EXTEND, list_id, worker, lease_until) is not None


_FINISH: Final = """-- finish_list_source
UPDATE list_sources AS s
SET worker = NULL, lease_until = NULL, due_at = $3, tries = 0, error_kind = NULL, error = NULL,
    synced_at = coalesce($4, s.synced_at)
WHERE s.list_id = $1 AND s.worker = $2
"""


async def finish_source(
    conn: Connection, list_id: int, *, worker: str, due_at: datetime, synced_at: datetime | None
) -> None:
    """End a fetch that went well.

    Args:
        conn: The connection.
        list_id: The list.
        worker: Who fetched it.
        due_at: When it is fetched next.
        synced_at: When everything was fetched; None if it was interrupted.
    """
    await conn.execute(_FINISH, list_id, worker, due_at, synced_at)
    # A list that was too old is not any more.
    await conn.execute(_WAKE)


_FAIL: Final = """-- fail_list_source
UPDATE list_sources AS s
SET worker = NULL, lease_until = NULL, due_at = $3, tries = s.tries + 1, error_kind = $4, error = $5
WHERE s.list_id = $1 AND s.worker = $2
"""


async def fail_source(
    conn: Connection, list_id: int, *, worker: str, due_at: datetime, error_kind: str, error: str
) -> None:
    """End a fetch that failed, and say why."""
    await conn.execute(_FAIL, list_id, worker, due_at, error_kind, storable(error))


_SET_HOLD_AFTER: Final = """-- set_list_hold_after
UPDATE list_sources AS s SET hold_after = $2
FROM hash_lists AS l
WHERE l.id = s.list_id AND l.name = $1
"""


async def set_hold_after(conn: Connection, name: str, hold_after: timedelta | None) -> None:
    """Say how old a list may be before what nothing matches is held; None for any age."""
    await conn.execute(_SET_HOLD_AFTER, name, hold_after)
    await conn.execute(_WAKE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Which lists are older than they may be.

    Attributes:
        lists: Their ids.
        next_at: When the next one will be; None if none of the others may only be so old.
    """

    lists: frozenset[int]
    next_at: datetime | None


# One that was never fetched counts from when it was added.
_LIST_DEADLINES: Final = """-- list_source_deadlines
SELECT s.list_id, coalesce(s.synced_at, s.accepted_at) + s.hold_after AS until
FROM list_sources AS s JOIN hash_lists AS l ON l.id = s.list_id
WHERE s.hold_after IS NOT NULL AND l.withdrawn_at IS NULL
"""


async def find_overdue(conn: Connection, *, now: datetime) -> Overdue:
    """Find the lists in use that are older than they may be."""
    rows = await conn.fetch(_LIST_DEADLINES)
    return Overdue(
        lists=frozenset(row["list_id"] for row in rows if row["until"] <= now),
        next_at=min((row["until"] for row in rows if row["until"] > now), default=None),
    )


_NEXT_DUE: Final = """-- next_due_list_source
SELECT min(greatest(s.due_at, coalesce(s.lease_until, s.due_at)))
FROM list_sources AS s JOIN hash_lists AS l ON l.id = s.list_id
WHERE l.withdrawn_at IS NULL
"""


async def next_due(conn: Connection) -> datetime | None:
    """Find when the next source may be due; None if there is none."""
    due: datetime | None = await conn.fetchval(_NEXT_DUE)
    return due
