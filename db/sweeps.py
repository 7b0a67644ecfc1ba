"""Keep how far sweeps over stored media are, so that an interrupted one goes on where it stopped.

A source is swept by one at a time, who holds its lease. What stands here are numbers, the place of the last
file that is done, and the numbers of cases; never what was found in which file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from db.cases import CaseState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    import asyncpg

    from db.pool import Connection


class SweepState(StrEnum):
    """How a sweep stands."""

    OPEN = "open"
    FINISHED = "finished"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One sweep, over however many runs.

    Attributes:
        id: Its number.
        source: What is swept.
        is_dry_run: It only looks.
        state: How it stands.
        started_at: When it began.
        updated_at: When its last checkpoint was saved.
        cursor: The place of the last file that is done; empty at the beginning.
        counters: What it counted up to there; JSON values.
        state_digest: The state of the scanner when it began, 32 bytes.
    """

    id: int
    source: str
    is_dry_run: bool
    state: SweepState
    started_at: datetime
    updated_at: datetime
    cursor: bytes
    counters: dict[str, Any]
    state_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCase:
    """What is known of the case of some bytes."""

    id: int
    category: str
    state: CaseState


_SWEEP: Final = """
    s.id, s.source, s.is_dry_run, s.state, s.started_at, s.updated_at, s.cursor, s.counters, s.state_digest
"""


_TAKE_LEASE: Final = """-- take_sweep_lease
INSERT INTO sweep_leases AS l (source, holder, lease_until)
VALUES ($1, $2, $3)
ON CONFLICT (source) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until
WHERE l.lease_until <= $4
RETURNING l.source
"""


async def take_lease(conn: Connection, source: str, *, holder: str, lease: timedelta, now: datetime) -> bool:
    """Take the lease of a source unless somebody else holds it, and tell whether it was taken."""
    return await conn.fetchval(_TAKE_LEASE, source, holder, now + lease, now) is not None


_EXTEND_LEASE: Final = """-- extend_sweep_lease
UPDATE sweep_leases AS l SET lease_until = $3 WHERE l.source = $1 AND l.holder = $2 RETURNING l.source
"""


async def extend_lease(
    conn: Connection, source: str, *, holder: str, lease: timedelta, now: datetime
) -> bool:
    """Prolong a lease from now on; False means that somebody else holds it."""
    return await conn.fetchval(_EXTEND_LEASE, source, holder, now + lease) is not None


_RELEASE_LEASE: Final = """-- release_sweep_lease
DELETE FROM sweep_leases AS l WHERE l.source = $1 AND l.holder = $2
"""


async def release_lease(conn: Connection, source: str, *, holder: str) -> None:
    """Give a lease back, if it is still held."""
    await conn.execute(_RELEASE_LEASE, source, holder)


_FIND_LEASE_END: Final = """-- find_sweep_lease_end
SELECT l.lease_until FROM sweep_leases AS l WHERE l.source = $1
"""


async def find_lease_end(conn: Connection, source: str) -> datetime | None:
    """Find when the lease of a source ends unless it is prolonged; None if nobody holds it."""
    end: datetime | None = await conn.fetchval(_FIND_LEASE_END, source)
    return end


_START: Final = f"""-- start_sweep
INSERT INTO sweeps AS s
    (source, is_dry_run, state, started_at, updated_at, cursor, counters, state_digest)
VALUES ($1, $2, 'open', $3, $3, ''::bytea, '{{}}'::jsonb, $4)
RETURNING {_SWEEP}
"""  # noqa: S608 (the columns are a constant of this file)


async def start_sweep(
    conn: Connection, source: str, *, is_dry_run: bool, state_digest: bytes, now: datetime
) -> Sweep:
    """Begin a sweep; the caller holds the lease and has found none that is open.

    Raises:
        DatabaseError: One of the same kind is open.
    """
    return _build_sweep(await conn.fetchrow(_START, source, is_dry_run, now, state_digest))


_FIND_OPEN: Final = f"""-- find_open_sweep
SELECT {_SWEEP} FROM sweeps AS s WHERE s.source = $1 AND s.is_dry_run = $2 AND s.state = 'open'
"""  # noqa: S608 (the columns are a constant of this file)


async def find_open(conn: Connection, source: str, *, is_dry_run: bool) -> Sweep | None:
    """Find the sweep of a source that is not finished."""
    row = await conn.fetchrow(_FIND_OPEN, source, is_dry_run)
    return None if row is None else _build_sweep(row)


_FIND_FINISHED: Final = f"""-- find_finished_sweep
SELECT {_SWEEP} FROM sweeps AS s
WHERE s.source = $1 AND s.state = 'finished' AND (s.is_dry_run OR NOT $2)
ORDER BY s.id DESC
LIMIT 1
"""  # noqa: S608 (the columns are a constant of this file)


async def find_finished(conn: Connection, source: str, *, dry_runs_only: bool = False) -> Sweep | None:
    """Find the last sweep of a source that was finished."""
    row = await conn.fetchrow(_FIND_FINISHED, source, dry_runs_only)
    return None if row is None else _build_sweep(row)


_SAVE_CHECKPOINT: Final = """-- save_sweep_checkpoint
UPDATE sweeps AS s SET cursor = $2, counters = $3, updated_at = $4
WHERE s.id = $1 AND s.state = 'open'
RETURNING s.id
"""
_ADD_CASES: Final = """-- add_sweep_cases
INSERT INTO sweep_cases (sweep_id, case_id, is_by_hand) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""


async def save_checkpoint(
    conn: Connection,
    sweep_id: int,
    *,
    cursor: bytes,
    counters: Mapping[str, object],
    cases: Mapping[int, bool],
    now: datetime,
) -> bool:
    """Save how far a sweep is; False if it is not open.

    Args:
        conn: The connection, in a transaction of the caller's.
        sweep_id: Which one.
        cursor: The place of the last file that is done.
        counters: What was counted up to there; JSON values.
        cases: The cases that were met since the last checkpoint; True where a person has to remove the file.
        now: The time.
    """
    saved = await conn.fetchval(_SAVE_CHECKPOINT, sweep_id, cursor, dict(counters), now)
    if saved is None:
        return False
    await conn.executemany(_ADD_CASES, [(sweep_id, case_id, by_hand) for case_id, by_hand in cases.items()])
    return True


_END: Final = """-- end_sweep
UPDATE sweeps AS s SET state = $2, updated_at = $3 WHERE s.id = $1 AND s.state = 'open' RETURNING s.id
"""


async def end_sweep(conn: Connection, sweep_id: int, *, to: SweepState, now: datetime) -> bool:
    """Finish or abandon an open sweep, and tell whether it was open.

    Raises:
        ValueError: To be open is no end.
    """
    if to is SweepState.OPEN:
        raise ValueError("a sweep ends finished or abandoned")
    return await conn.fetchval(_END, sweep_id, to, now) is not None


_LIST_CASES: Final = """-- list_sweep_cases
SELECT c.case_id, c.is_by_hand FROM sweep_cases AS c WHERE c.sweep_id = $1 ORDER BY c.case_id LIMIT $2
"""


async def list_cases(conn: Connection, sweep_id: int, *, limit: int) -> dict[int, bool]:
    """List the cases of what a sweep found; True where a person has to remove the file."""
    return {row["case_id"]: row["is_by_hand"] for row in await conn.fetch(_LIST_CASES, sweep_id, limit)}


# What a person has upheld says most; after it what still waits for one.
_FIND_CASE: Final = """-- find_case_of_bytes
SELECT c.id, c.category, c.state FROM cases AS c
WHERE c.sha256 = $1
ORDER BY c.state = 'upheld' DESC, c.state = 'open' DESC, c.id DESC
LIMIT 1
"""


async def find_case_of_bytes(conn: Connection, sha256: bytes) -> KnownCase | None:
    """Find the case of some bytes, by whichever door they came."""
    row = await conn.fetchrow(_FIND_CASE, sha256)
    return None if row is None else KnownCase(**{**row, "state": CaseState(row["state"])})


def _build_sweep(row: asyncpg.Record | None) -> Sweep:
    fields = dict(row or {})
    return Sweep(**{**fields, "state": SweepState(fields["state"])})
