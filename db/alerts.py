"""Keep the sealed warnings of allied peers: a keyed digest and a category, useless to anybody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A warning.

    Attributes:
        issuer: The peer that gave it.
        mac: The HMAC-SHA-256 of the digest of the bytes under the key of the pair, 32 bytes.
        category: What the peer found, as text.
        received_at: When.
        case_id: The case that it led to here; None as long as no bytes of ours fit it.
    """

    issuer: str
    mac: bytes
    category: str
    received_at: datetime
    case_id: int | None = None


_PUT_ALERT: Final = """-- put_alert
INSERT INTO alerts (issuer, mac, category, received_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (issuer, mac) DO NOTHING
RETURNING issuer
"""


async def put_alert(conn: Connection, alert: Alert) -> bool:
    """Store a warning; False if the same peer has given it before."""
    return (
        await conn.fetchval(_PUT_ALERT, alert.issuer, alert.mac, alert.category, alert.received_at)
        is not None
    )


_FIND_ALERTS: Final = """-- find_alerts
SELECT a.issuer, a.mac, a.category, a.received_at, a.case_id FROM alerts AS a WHERE a.mac = ANY($1::bytea[])
"""


async def find_alerts(conn: Connection, macs: Sequence[bytes]) -> tuple[Alert, ...]:
    """Find the warnings that fit any of these keyed digests; whose key made which is not checked here."""
    return tuple(Alert(**row) for row in await conn.fetch(_FIND_ALERTS, list(macs)))


_SET_CASE: Final = """-- set_case
UPDATE alerts AS a SET case_id = $3 WHERE a.issuer = $1 AND a.mac = $2
"""


async def set_case(conn: Connection, issuer: str, mac: bytes, *, case_id: int) -> None:
    """Note which case a warning led to, to tell later how often its issuer was right."""
    await conn.execute(_SET_CASE, issuer, mac, case_id)


_COUNT_RULINGS: Final = """-- count_rulings
SELECT c.state, count(*) AS count
FROM alerts AS a JOIN cases AS c ON c.id = a.case_id
WHERE a.issuer = $1
GROUP BY c.state
"""


async def count_rulings(conn: Connection, issuer: str) -> dict[str, int]:
    """Count what became of the cases that a peer's warnings led to, by the case's state."""
    return {row["state"]: int(row["count"]) for row in await conn.fetch(_COUNT_RULINGS, issuer)}


_PURGE_ALERTS: Final = """-- purge_alerts
DELETE FROM alerts AS a
WHERE (a.issuer, a.mac) IN (
    SELECT o.issuer, o.mac FROM alerts AS o WHERE o.received_at < $1 ORDER BY o.received_at LIMIT $2
)
RETURNING a.issuer
"""


async def purge_alerts(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete warnings that came before a time; return how many."""
    return len(await conn.fetch(_PURGE_ALERTS, before, limit))
