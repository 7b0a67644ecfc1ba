"""Keep who reads whose feed, how far, and with whom alerts are exchanged."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.peers import Following
    from db.pool import Connection


_SET_THEY_FOLLOW: Final = """-- set_they_follow
UPDATE peers AS p SET they_follow = $2, their_follow = $3, updated_at = $4
WHERE p.actor = $1
RETURNING p.actor
"""


async def set_they_follow(
    conn: Connection, actor: str, *, to: Following, follow_id: str, now: datetime
) -> bool:
    """Note how far a peer has come with reading our feed; False if it is not known."""
    return await conn.fetchval(_SET_THEY_FOLLOW, actor, to, follow_id, now) is not None


_SET_WE_FOLLOW: Final = """-- set_we_follow
UPDATE peers AS p SET we_follow = $2, our_follow = $3, updated_at = $4
WHERE p.actor = $1
RETURNING p.actor
"""


async def set_we_follow(
    conn: Connection, actor: str, *, to: Following, follow_id: str, now: datetime
) -> bool:
    """Note how far we have come with reading a peer's feed; False if it is not known."""
    return await conn.fetchval(_SET_WE_FOLLOW, actor, to, follow_id, now) is not None


_SET_CURSOR: Final = """-- set_cursor
UPDATE peers AS p SET feed_cursor = $3, feed_read_at = $4
WHERE p.actor = $1 AND p.feed_cursor IS NOT DISTINCT FROM $2
RETURNING p.actor
"""


async def set_cursor(conn: Connection, actor: str, *, expected: int | None, to: int, now: datetime) -> bool:
    """Move on in a peer's feed, in the transaction that stores what was read; False if another reader did."""
    return await conn.fetchval(_SET_CURSOR, actor, expected, to, now) is not None


_NOTE_LOSS: Final = """-- note_loss
UPDATE peers AS p SET lost_past_at = $2
WHERE p.actor = $1 AND (p.lost_past_at IS NULL OR p.lost_past_at <= $3)
RETURNING p.actor
"""

LOSSES_EVERY: Final = timedelta(days=30)
"""How often a peer may lose its past and be excused for what it cannot show of before."""


async def note_loss(conn: Connection, actor: str, *, now: datetime) -> bool:
    """Note that a peer lost a part of its past; False if it did not long ago, and is not excused again."""
    return await conn.fetchval(_NOTE_LOSS, actor, now, now - LOSSES_EVERY) is not None


_SET_ALERTS: Final = """-- set_alerts
UPDATE peers AS p SET alerts = $2, alert_key = $3, updated_at = $4 WHERE p.actor = $1 RETURNING p.actor
"""


async def set_alerts(
    conn: Connection, actor: str, *, categories: Sequence[str], key: bytes | None, now: datetime
) -> bool:
    """Set for which categories alerts are exchanged with a peer, and under which key; False for no peer."""
    return await conn.fetchval(_SET_ALERTS, actor, list(categories), key, now) is not None


_SET_ADDRESSES: Final = """-- set_addresses
UPDATE peers AS p SET key_id = $2, multikey = $3, inbox = $4, api_url = $5, updated_at = $6
WHERE p.actor = $1
RETURNING p.actor
"""


async def set_addresses(
    conn: Connection, actor: str, *, key_id: str, multikey: str, inbox: str, api_url: str, now: datetime
) -> bool:
    """Note where a peer takes and answers what it is sent, and the key that it does so with."""
    return await conn.fetchval(_SET_ADDRESSES, actor, key_id, multikey, inbox, api_url, now) is not None


_COUNT_STRANGERS: Final = """-- count_strangers
SELECT count(*) FILTER (WHERE p.added_at > $1) AS recent,
    count(*) FILTER (WHERE p.trust_group = $2) AS of_group,
    count(*) AS waiting
FROM peers AS p
WHERE p.tier = 'unknown' AND p.we_follow = 'no'
"""


async def count_strangers(conn: Connection, *, since: datetime, trust_group: str) -> tuple[int, int, int]:
    """Count those that came by themselves and wait for the admin: since a time, of one group, and in all."""
    row = await conn.fetchrow(_COUNT_STRANGERS, since, trust_group)
    return (0, 0, 0) if row is None else (row["recent"], row["of_group"], row["waiting"])
