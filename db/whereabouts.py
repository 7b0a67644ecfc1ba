"""Tell where on the backend media may lie: what deliveries took there, and what was seen there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db.delivery_rows import DeliveryState, chain_number, storable

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A delivery that referred to some bytes.

    Attributes:
        id: The delivery.
        state: Where it stands.
        activity_id: The activity's id; empty where it has none.
        activity_type: Its type.
        object_id: The object acted upon.
        chain_key: The object whose deliveries stay in order.
        sender_actor: The actor whose key verified; None if none did.
        is_selftest: The relay sent it to itself.
    """

    id: int
    state: DeliveryState
    activity_id: str
    activity_type: str
    object_id: str
    chain_key: str
    sender_actor: str | None
    is_selftest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Where on the backend some bytes were seen, outside any delivery.

    Attributes:
        sha256: Their digest, 32 bytes.
        object_id: The post that shows them; empty where only the file is known.
        actor_id: Its author; empty where unknown.
        alias: The file's name in the backend's media store; empty where unknown.
        seen_at: When.
    """

    sha256: bytes
    object_id: str
    actor_id: str
    alias: str
    seen_at: datetime


_LIST_CARRIERS: Final = """-- list_carriers
SELECT
    d.id, d.state, d.activity_id, d.activity_type, d.object_id, d.chain_key, d.sender_actor, d.is_selftest
FROM deliveries AS d
WHERE d.id IN (SELECT m.delivery_id FROM delivery_media AS m WHERE m.sha256 = $1)
ORDER BY d.id DESC
LIMIT $2
"""


async def list_carriers(conn: Connection, sha256: bytes, *, limit: int) -> tuple[Carrier, ...]:
    """List the deliveries that referred to these bytes, newest first."""
    rows = await conn.fetch(_LIST_CARRIERS, sha256, limit)
    return tuple(Carrier(**{**row, "state": DeliveryState(row["state"])}) for row in rows)


# No index leads to finished deliveries of a chain; this is asked only after a known file was found.
_WAS_FORWARDED: Final = """-- was_forwarded
SELECT EXISTS (
    SELECT 1 FROM deliveries AS d WHERE d.chain = $1 AND d.chain_key = $2 AND d.state = 'forwarded'
)
"""


async def was_forwarded(conn: Connection, object_id: str) -> bool:
    """Tell whether the backend was ever given a delivery of this object, as far as is remembered."""
    chain = chain_number(object_id)
    return chain is not None and bool(await conn.fetchval(_WAS_FORWARDED, chain, storable(object_id)))


_PUT_SIGHTING: Final = """-- put_sighting
INSERT INTO sightings AS s (identity, sha256, object_id, actor_id, alias, seen_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (identity) DO UPDATE SET seen_at = GREATEST(s.seen_at, excluded.seen_at)
"""


async def put_sighting(conn: Connection, sighting: Sighting) -> None:
    """Remember where bytes were seen; a sighting at the same place takes the earlier one's."""
    await conn.execute(
        _PUT_SIGHTING,
        _identity_of(sighting),
        sighting.sha256,
        storable(sighting.object_id),
        storable(sighting.actor_id),
        storable(sighting.alias),
        sighting.seen_at,
    )


_LIST_SIGHTINGS: Final = """-- list_sightings
SELECT s.sha256, s.object_id, s.actor_id, s.alias, s.seen_at
FROM sightings AS s WHERE s.sha256 = $1 ORDER BY s.seen_at DESC LIMIT $2
"""


async def list_sightings(conn: Connection, sha256: bytes, *, limit: int) -> tuple[Sighting, ...]:
    """List where these bytes were seen, newest first."""
    return tuple(Sighting(**row) for row in await conn.fetch(_LIST_SIGHTINGS, sha256, limit))


_PURGE_SIGHTINGS: Final = """-- purge_sightings
DELETE FROM sightings AS s
WHERE s.identity IN (SELECT o.identity FROM sightings AS o WHERE o.seen_at < $1 ORDER BY o.seen_at LIMIT $2)
RETURNING s.identity
"""


async def purge_sightings(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget sightings from before a time; return how many."""
    return len(await conn.fetch(_PURGE_SIGHTINGS, before, limit))


def _identity_of(sighting: Sighting) -> bytes:
    texts = (sighting.object_id, sighting.alias)
    parts = (sighting.sha256, *(text.encode("utf-8", "surrogatepass") for text in texts))
    # Each part is preceded by its length, so that no two places read the same.
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()
