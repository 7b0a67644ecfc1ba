"""Keep the cases that a person has to see to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from db.delivery_rows import storable
from db.rulings import Ruling, RulingKind, delete_ruling, find_ruling, set_ruling

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from db.pool import Connection

__all__ = [
    "UNEXAMINED",
    "Case",
    "CaseState",
    "Ruling",
    "RulingKind",
    "count_cases",
    "delete_ruling",
    "expire_cases",
    "expire_unexamined",
    "find_case",
    "find_case_on",
    "find_ruling",
    "find_upheld",
    "list_cases",
    "list_cases_about",
    "open_case",
    "record_view",
    "rule_case",
    "set_ruling",
]


# The category of a case that rests on nobody knowing.
UNEXAMINED: Final = "unexamined"


class CaseState(StrEnum):
    """What became of a case."""

    OPEN = "open"
    RELEASED = "released"
    UPHELD = "upheld"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something that a person has to see to.

    Attributes:
        id: Its number.
        opened_at: When it was opened.
        category: The category that was found.
        delivery_id: The delivery it came with; None if it came another way. The delivery may be gone.
        sha256: The digest of the bytes; None if none were seen.
        state: What became of it.
        basis: On what the finding rests.
        door: By which door it came in.
        was_viewed: A person has looked at the media.
        ruled_by: Who ruled; None while it is open and where it expired.
        ruled_at: When it was closed; None while it is open.
        note: The moderator's own words.
    """

    id: int
    opened_at: datetime
    category: str
    delivery_id: int | None
    sha256: bytes | None
    state: CaseState
    basis: str
    door: str
    was_viewed: bool
    ruled_by: str | None
    ruled_at: datetime | None
    note: str


_CASE: Final = """
    c.id, c.opened_at, c.category, c.delivery_id, c.sha256, c.state, c.basis, c.door, c.was_viewed,
    c.ruled_by, c.ruled_at, c.note
"""


_OPEN_CASE: Final = """-- open_case
INSERT INTO cases AS c (opened_at, category, delivery_id, sha256, state, basis, door, was_viewed, note)
VALUES ($1, $2, $3, $4, 'open', $5, $6, false, '')
ON CONFLICT (delivery_id, sha256) DO UPDATE SET state = 'open', ruled_at = NULL WHERE c.state = 'expired'
RETURNING id
"""


async def open_case(
    conn: Connection,
    *,
    category: str,
    delivery_id: int | None,
    sha256: bytes | None,
    basis: str,
    now: datetime,
    door: str = "inbox",
) -> int | None:
    """Open a case and return its id; None if this delivery and these bytes have one, open or ruled on.

    One that expired, because nobody ruled or its delivery was deleted, is opened again.
    """
    case_id: int | None = await conn.fetchval(_OPEN_CASE, now, category, delivery_id, sha256, basis, door)
    return case_id


_FIND_CASE: Final = f"""-- find_case
SELECT {_CASE} FROM cases AS c WHERE c.id = $1
"""  # noqa: S608 (the columns are a constant of this file)


async def find_case(conn: Connection, case_id: int) -> Case | None:
    """Find a case by its id."""
    row = await conn.fetchrow(_FIND_CASE, case_id)
    return None if row is None else _build_case(row)


_LIST_CASES: Final = f"""-- list_cases
SELECT {_CASE} FROM cases AS c WHERE c.state = $1 AND c.id > $2 ORDER BY c.id LIMIT $3
"""  # noqa: S608 (the columns are a constant of this file)


async def list_cases(
    conn: Connection, *, state: CaseState = CaseState.OPEN, limit: int, after_id: int = 0
) -> tuple[Case, ...]:
    """List the cases in a state, oldest first, from after an id on."""
    return tuple(_build_case(row) for row in await conn.fetch(_LIST_CASES, state, after_id, limit))


_COUNT_CASES: Final = """-- count_cases
SELECT c.state, count(*) AS count FROM cases AS c GROUP BY c.state
"""


async def count_cases(conn: Connection) -> dict[CaseState, int]:
    """Count the cases in every state, zeros included."""
    counts = {row["state"]: int(row["count"]) for row in await conn.fetch(_COUNT_CASES)}
    return {state: counts.get(state, 0) for state in CaseState}


_RULE_CASE: Final = """-- rule_case
UPDATE cases AS c
SET state = $2, ruled_by = $3, ruled_at = $4, note = $5
WHERE c.id = $1 AND c.state = 'open'
RETURNING c.id
"""


async def rule_case(
    conn: Connection, case_id: int, *, to: CaseState, ruled_by: str, now: datetime, note: str = ""
) -> bool:
    """Close an open case by a moderator's decision; False if it is not open.

    What follows for the bytes and for the delivery is the caller's to store in the same transaction.

    Raises:
        ValueError: A ruling neither releases nor upholds.
    """
    if to not in {CaseState.RELEASED, CaseState.UPHELD}:
        raise ValueError("a ruling releases or upholds")
    return await conn.fetchval(_RULE_CASE, case_id, to, ruled_by, now, storable(note)) is not None


_EXPIRE_CASES: Final = """-- expire_cases
UPDATE cases AS c
SET state = 'expired', ruled_at = $2
WHERE c.delivery_id = $1 AND c.state = 'open'
RETURNING c.id
"""


async def expire_cases(conn: Connection, *, delivery_id: int, now: datetime) -> int:
    """Close the open cases of a delivery that nobody ruled on in time; return how many."""
    return len(await conn.fetch(_EXPIRE_CASES, delivery_id, now))


_EXPIRE_UNEXAMINED: Final = """-- expire_unexamined
UPDATE cases AS c
SET state = 'expired', ruled_at = $2
WHERE c.delivery_id = $1 AND c.state = 'open' AND c.category = $3
RETURNING c.id
"""


async def expire_unexamined(conn: Connection, *, delivery_id: int, now: datetime) -> int:
    """Close the open cases of a delivery in which nothing was found; return how many."""
    return len(await conn.fetch(_EXPIRE_UNEXAMINED, delivery_id, now, UNEXAMINED))


_RECORD_VIEW: Final = """-- record_view
UPDATE cases AS c SET was_viewed = true WHERE c.id = $1 RETURNING c.id
"""


async def record_view(conn: Connection, case_id: int) -> bool:
    """Record that a person has looked at the media of a case, before it is shown; False if there is none."""
    return await conn.fetchval(_RECORD_VIEW, case_id) is not None


def _build_case(row: asyncpg.Record) -> Case:
    return Case(**{**row, "state": CaseState(row["state"])})


_LIST_CASES_OF: Final = f"""-- list_cases_of
SELECT {_CASE} FROM cases AS c WHERE c.delivery_id = $1 ORDER BY c.id
"""  # noqa: S608 (the columns are a constant of this file)


async def list_cases_of(conn: Connection, delivery_id: int) -> tuple[Case, ...]:
    """List the cases of a delivery, open or closed."""
    return tuple(_build_case(row) for row in await conn.fetch(_LIST_CASES_OF, delivery_id))


_FIND_CASE_ON: Final = f"""-- find_case_on
SELECT {_CASE} FROM cases AS c
WHERE c.delivery_id IS NOT DISTINCT FROM $1 AND c.sha256 = $2
"""  # noqa: S608 (the columns are a constant of this file)


async def find_case_on(conn: Connection, *, delivery_id: int | None, sha256: bytes) -> Case | None:
    """Find the case of these bytes in a delivery; with None, the one that came by another door."""
    row = await conn.fetchrow(_FIND_CASE_ON, delivery_id, sha256)
    return None if row is None else _build_case(row)


_FIND_UPHELD: Final = f"""-- find_upheld
SELECT {_CASE} FROM cases AS c WHERE c.sha256 = $1 AND c.state = 'upheld' ORDER BY c.id DESC LIMIT 1
"""  # noqa: S608 (the columns are a constant of this file)


async def find_upheld(conn: Connection, sha256: bytes) -> Case | None:
    """Find the newest case on these bytes that a person upheld."""
    row = await conn.fetchrow(_FIND_UPHELD, sha256)
    return None if row is None else _build_case(row)


_LIST_CASES_ABOUT: Final = f"""-- list_cases_about
SELECT {_CASE} FROM cases AS c WHERE c.sha256 = $1 ORDER BY c.id
"""  # noqa: S608 (the columns are a constant of this file)


async def list_cases_about(conn: Connection, sha256: bytes) -> tuple[Case, ...]:
    """List the cases about exactly these bytes, open or closed."""
    return tuple(_build_case(row) for row in await conn.fetch(_LIST_CASES_ABOUT, sha256))
