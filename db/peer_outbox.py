"""Keep the activities for other relays until they are delivered, each relay's in their order.

A letter is added in the transaction that gives rise to it. Claiming moves it to when it may be tried again,
so that one which a lost process was sending goes out a second time; inboxes bear that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection

CHANNEL: Final = "peer_outbox"
"""Notified when a letter was added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """An activity on its way.

    Attributes:
        id: Its number.
        actor: To whom.
        inbox: Where that one takes activities.
        kind: The activity's type.
        body: Its bytes, the same at every try.
        created_at: When it was written.
        due_at: When it is sent next; None once it was given up.
        tries: How often that was begun.
        reason: What became of the last try; None before there was one.
    """

    id: int
    actor: str
    inbox: str
    kind: str
    body: bytes
    created_at: datetime
    due_at: datetime | None
    tries: int
    reason: str | None


_LETTER: Final = "l.id, l.actor, l.inbox, l.kind, l.body, l.created_at, l.due_at, l.tries, l.reason"

_ADD_LETTER: Final = """-- add_letter
WITH added AS (
    INSERT INTO peer_outbox (actor, inbox, kind, body, created_at, due_at)
    VALUES ($1, $2, $3, $4, $5, $5)
    RETURNING id
)
SELECT id, pg_notify('peer_outbox', '') FROM added
"""


async def add_letter(
    conn: Connection, *, actor: str, inbox: str, kind: str, body: bytes, now: datetime
) -> int:
    """Put an activity into the outbox and return its number; it is due at once."""
    row = await conn.fetchrow(_ADD_LETTER, actor, inbox, kind, body, now)
    assert row is not None  # noqa: S101 (an INSERT without a conflict clause returns its row)
    return int(row["id"])


_CLAIM_LETTER: Final = f"""-- claim_letter
UPDATE peer_outbox AS l
SET due_at = $2, tries = l.tries + 1
WHERE l.id = (
    SELECT o.id FROM peer_outbox AS o
    WHERE o.due_at <= $1
        AND ($3::text IS NULL OR o.actor = $3)
        -- An Undo must not overtake its Follow.
        AND NOT EXISTS (
            SELECT FROM peer_outbox AS e
            WHERE e.actor = o.actor AND e.id < o.id AND e.due_at IS NOT NULL
        )
    ORDER BY o.due_at, o.id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING {_LETTER}
"""  # noqa: S608 (the columns are a constant of this file)


async def claim_letter(
    conn: Connection, *, now: datetime, again_at: datetime, actor: str | None = None
) -> Letter | None:
    """Claim the letter that is due for the longest, of one relay if so asked; None if there is none."""
    row = await conn.fetchrow(_CLAIM_LETTER, now, again_at, actor)
    return None if row is None else Letter(**row)


_DELETE_LETTER: Final = """-- delete_letter
DELETE FROM peer_outbox AS l WHERE l.id = $1 RETURNING l.id
"""


async def delete_letter(conn: Connection, letter_id: int) -> bool:
    """Delete a letter that was delivered; False if it was gone already."""
    return await conn.fetchval(_DELETE_LETTER, letter_id) is not None


_PUT_BACK_LETTER: Final = """-- put_back_letter
UPDATE peer_outbox AS l SET due_at = $2, reason = $3 WHERE l.id = $1 RETURNING l.id
"""


async def put_back_letter(conn: Connection, letter_id: int, *, due_at: datetime | None, reason: str) -> bool:
    """Note why a letter was not delivered and when to try again, None for never; False if it is gone."""
    return await conn.fetchval(_PUT_BACK_LETTER, letter_id, due_at, reason) is not None


_LIST_LETTERS: Final = f"""-- list_letters
SELECT {_LETTER} FROM peer_outbox AS l WHERE $1::text IS NULL OR l.actor = $1 ORDER BY l.id
"""  # noqa: S608 (the columns are a constant of this file)


async def list_letters(conn: Connection, actor: str | None = None) -> tuple[Letter, ...]:
    """List what is on its way to one relay, or to all, oldest first; each has a handful at the most."""
    return tuple(Letter(**row) for row in await conn.fetch(_LIST_LETTERS, actor))


_DROP_LETTERS: Final = """-- drop_letters
DELETE FROM peer_outbox AS l
WHERE l.actor = $1 AND ($2::text[] IS NULL OR l.kind = ANY ($2))
RETURNING l.id
"""


async def drop_letters(conn: Connection, actor: str, *, kinds: tuple[str, ...] | None = None) -> int:
    """Take back what was not delivered to a relay yet, of some kinds if so asked; return how many."""
    wanted = None if kinds is None else list(kinds)
    return len(await conn.fetch(_DROP_LETTERS, actor, wanted))


_NEXT_DUE: Final = """-- next_due_letter
SELECT min(l.due_at) FROM peer_outbox AS l WHERE l.due_at IS NOT NULL
"""


async def next_due(conn: Connection) -> datetime | None:
    """Find when the next letter is due; None if nothing is on its way."""
    due: datetime | None = await conn.fetchval(_NEXT_DUE)
    return due


_PURGE_LETTERS: Final = """-- purge_letters
DELETE FROM peer_outbox AS l WHERE l.due_at IS NULL AND l.created_at < $1 RETURNING l.id
"""


async def purge_letters(conn: Connection, *, before: datetime) -> int:
    """Delete letters from before a time that were given up; return how many."""
    return len(await conn.fetch(_PURGE_LETTERS, before))
