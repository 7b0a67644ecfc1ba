"""Keep our own warnings until the peers that they are for have them; they are sealed from the beginning.

A warning is added in the transaction that gives rise to it. Claiming one moves it to when it may be tried
again, so that one which a lost process was sending goes out a second time; peers store each once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection

CHANNEL: Final = "alert_letters"
"""Notified when a warning was added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLetter:
    """A warning on its way.

    Attributes:
        id: The ULID in its address.
        actor: The peer that it is for.
        mac: The sealed digest, 32 bytes.
        category: What was found, as text.
        created_at: When it was written.
        tries: How often sending it was begun.
    """

    id: str
    actor: str
    mac: bytes
    category: str
    created_at: datetime
    tries: int


_ADD: Final = """-- add_alert_letter
WITH added AS (
    INSERT INTO alert_letters (id, actor, mac, category, created_at, due_at) VALUES ($1, $2, $3, $4, $5, $5)
    ON CONFLICT (actor, mac) DO NOTHING
    RETURNING id
)
SELECT id, pg_notify('alert_letters', '') FROM added
"""


async def add_alert_letter(
    conn: Connection, letter_id: str, *, actor: str, mac: bytes, category: str, now: datetime
) -> bool:
    """Add a warning, due at once; False if the same one is on its way to the same peer."""
    return await conn.fetchrow(_ADD, letter_id, actor, mac, category, now) is not None


_CLAIM: Final = """-- claim_alert_letter
UPDATE alert_letters AS l
SET due_at = $2, tries = l.tries + 1
WHERE l.id = (
    SELECT o.id FROM alert_letters AS o WHERE o.due_at <= $1
    ORDER BY o.due_at, o.id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING l.id, l.actor, l.mac, l.category, l.created_at, l.tries
"""


async def claim_alert_letter(conn: Connection, *, now: datetime, again_at: datetime) -> AlertLetter | None:
    """Claim the warning that is due for the longest; None if there is none."""
    row = await conn.fetchrow(_CLAIM, now, again_at)
    return None if row is None else AlertLetter(**row)


_DELETE: Final = """-- delete_alert_letter
DELETE FROM alert_letters AS l WHERE l.id = $1
"""


async def delete_alert_letter(conn: Connection, letter_id: str) -> None:
    """Delete a warning that arrived, or that is given up."""
    await conn.execute(_DELETE, letter_id)


_PUT_BACK: Final = """-- put_back_alert_letter
UPDATE alert_letters AS l SET due_at = $2 WHERE l.id = $1
"""


async def put_back_alert_letter(conn: Connection, letter_id: str, *, due_at: datetime) -> None:
    """Note when a warning that did not arrive is tried again."""
    await conn.execute(_PUT_BACK, letter_id, due_at)


_NEXT_DUE: Final = """-- next_due_alert_letter
SELECT min(l.due_at) FROM alert_letters AS l
"""


async def next_due(conn: Connection) -> datetime | None:
    """Find when the next warning is due; None if nothing is on its way."""
    due: datetime | None = await conn.fetchval(_NEXT_DUE)
    return due
