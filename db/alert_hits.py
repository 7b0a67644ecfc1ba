"""Keep which bytes of ours a peer's warning fits, until a person rules; and what is still to be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertKey:
    """What the warnings of one peer are sealed with, and what it may warn of."""

    actor: str
    key: bytes
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarnedLook:
    """Bytes that were let go before a peer's warning fitted them, to be looked at again.

    Attributes:
        sha256: Their digest, 32 bytes.
        issuer: Who warned.
        found_at: When it was found that the warning fits.
    """

    sha256: bytes
    issuer: str
    found_at: datetime


_LIST_KEYS: Final = """-- list_alert_keys
SELECT p.actor, p.alert_key, p.alerts FROM peers AS p
WHERE p.alert_key IS NOT NULL AND p.alerts <> '{}' AND p.tier IN ('probation', 'trusted', 'allied')
ORDER BY p.actor
"""


async def list_alert_keys(conn: Connection) -> tuple[AlertKey, ...]:
    """List the peers with whom warnings are exchanged; an admin agrees on it with each by hand."""
    return tuple(
        AlertKey(actor=row["actor"], key=row["alert_key"], categories=tuple(row["alerts"]))
        for row in await conn.fetch(_LIST_KEYS)
    )


_PUT_HIT: Final = """-- put_alert_hit
INSERT INTO alert_hits (sha256, issuer, mac, category, found_at, look_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (sha256, issuer) DO NOTHING
RETURNING issuer
"""


async def put_hit(
    conn: Connection,
    sha256: bytes,
    *,
    issuer: str,
    mac: bytes,
    category: str,
    now: datetime,
    look_at: datetime | None = None,
) -> bool:
    """Note that a peer's warning fits some bytes, and when to look at them again; False if that was known."""
    return await conn.fetchval(_PUT_HIT, sha256, issuer, mac, category, now, look_at) is not None


_FIND_HIT: Final = """-- find_alert_hit
SELECT h.category FROM alert_hits AS h WHERE h.sha256 = $1 ORDER BY h.category LIMIT 1
"""


async def find_hit(conn: Connection, sha256: bytes) -> str | None:
    """Find the category of a warning that fits some bytes."""
    category: str | None = await conn.fetchval(_FIND_HIT, sha256)
    return category


_CLAIM_LOOK: Final = """-- claim_warned_look
UPDATE alert_hits AS h
SET worker = $1, look_at = $3
FROM (
    SELECT o.sha256, o.issuer FROM alert_hits AS o
    WHERE o.look_at <= $2
    ORDER BY o.look_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
) AS c
WHERE h.sha256 = c.sha256 AND h.issuer = c.issuer
RETURNING h.sha256, h.issuer, h.found_at
"""


async def claim_look(
    conn: Connection, *, worker: str, now: datetime, lease_until: datetime
) -> WarnedLook | None:
    """Claim the look that is due for the longest; it is due again when the lease ends unfinished."""
    row = await conn.fetchrow(_CLAIM_LOOK, worker, now, lease_until)
    return None if row is None else WarnedLook(**row)


_SET_LOOK: Final = """-- set_warned_look
UPDATE alert_hits AS h SET look_at = $4, worker = NULL
WHERE h.sha256 = $1 AND h.issuer = $2 AND h.worker = $3 AND h.look_at IS NOT NULL
RETURNING h.issuer
"""


async def end_look(conn: Connection, look: WarnedLook, *, worker: str, again_at: datetime | None) -> bool:
    """Note that a look is over, or when it is tried again; False if the lease was lost to somebody else."""
    return await conn.fetchval(_SET_LOOK, look.sha256, look.issuer, worker, again_at) is not None


_NEXT_LOOK: Final = """-- next_warned_look
SELECT min(h.look_at) FROM alert_hits AS h WHERE h.look_at IS NOT NULL
"""


async def next_look(conn: Connection) -> datetime | None:
    """Tell when the next look is due; None if none is."""
    due: datetime | None = await conn.fetchval(_NEXT_LOOK)
    return due


_LINK_CASE: Final = """-- link_case
UPDATE alerts AS a SET case_id = $2
FROM alert_hits AS h
WHERE h.sha256 = $1 AND a.issuer = h.issuer AND a.mac = h.mac AND a.case_id IS NULL
"""


async def link_case(conn: Connection, sha256: bytes, *, case_id: int) -> None:
    """Note which case the warnings of some bytes led to, to tell later how often their issuers were right."""
    await conn.execute(_LINK_CASE, sha256, case_id)


_LIST_PENDING: Final = """-- list_pending_alerts
SELECT a.issuer, a.mac, a.category FROM alerts AS a
WHERE a.compared_at IS NULL
ORDER BY a.received_at
LIMIT $1
"""


async def list_pending(conn: Connection, *, limit: int) -> tuple[tuple[str, bytes, str], ...]:
    """List issuer, keyed digest and category of the warnings that are to be compared with what was seen."""
    return tuple(
        (row["issuer"], row["mac"], row["category"]) for row in await conn.fetch(_LIST_PENDING, limit)
    )


_SET_COMPARED: Final = """-- set_compared
UPDATE alerts AS a SET compared_at = $3
FROM unnest($1::text[], $2::bytea[]) AS c (issuer, mac)
WHERE a.issuer = c.issuer AND a.mac = c.mac AND a.received_at <= $4
"""


async def set_compared(
    conn: Connection, alerts: tuple[tuple[str, bytes, str], ...], *, now: datetime, received_until: datetime
) -> None:
    """Note that warnings were compared, those that came up to a time; younger ones are compared again."""
    await conn.execute(
        _SET_COMPARED, [one[0] for one in alerts], [one[1] for one in alerts], now, received_until
    )


_LIST_DIGESTS: Final = """-- list_seen_digests
(SELECT m.sha256 FROM media AS m WHERE m.sha256 > $1 ORDER BY m.sha256 LIMIT $2)
UNION
-- What a peer's word spared us a scan of was seen as well.
(SELECT r.sha256 FROM reliance AS r WHERE r.sha256 > $1 ORDER BY r.sha256 LIMIT $2)
ORDER BY sha256
LIMIT $2
"""


async def list_seen_digests(conn: Connection, *, after: bytes, limit: int) -> tuple[bytes, ...]:
    """List the digests of bytes that were seen, in their order, from after one on."""
    return tuple(row["sha256"] for row in await conn.fetch(_LIST_DIGESTS, after, limit))


_COUNT_RECEIVED: Final = """-- count_received_alerts
SELECT count(*) FROM alerts AS a WHERE a.issuer = $1 AND a.received_at > $2
"""


async def count_received(conn: Connection, issuer: str, *, since: datetime) -> int:
    """Count the warnings that came from a peer since a time."""
    return int(await conn.fetchval(_COUNT_RECEIVED, issuer, since))


_DROP_UNMATCHED: Final = """-- drop_unmatched_alerts
DELETE FROM alerts AS a WHERE a.issuer = $1 AND a.case_id IS NULL RETURNING a.issuer
"""


async def drop_unmatched(conn: Connection, issuer: str) -> int:
    """Delete a peer's warnings that led to no case; return how many."""
    return len(await conn.fetch(_DROP_UNMATCHED, issuer))


_LIST_ALLOWING: Final = """-- list_allowing
SELECT l.name FROM hash_lists AS l WHERE l.name = ANY($1::text[]) AND l.allows_alerts
"""


async def list_allowing(conn: Connection, names: list[str]) -> frozenset[str]:
    """Find which of these lists may be spoken of to peers, as their terms say."""
    return frozenset(row["name"] for row in await conn.fetch(_LIST_ALLOWING, names))


_SET_ALLOWING: Final = """-- set_allowing
UPDATE hash_lists AS l SET allows_alerts = $2 WHERE l.name = $1 RETURNING l.name
"""


async def set_allowing(conn: Connection, name: str, *, allows: bool) -> bool:
    """Note whether the terms of a list allow to warn peers of what it holds; False if it is not known."""
    return await conn.fetchval(_SET_ALLOWING, name, allows) is not None
