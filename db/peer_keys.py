"""Keep the keys that peers sign attestations with, old ones included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerKey:
    """A key that a peer signs with.

    Attributes:
        key_id: Its id.
        actor: The peer.
        multikey: The key; it was admitted before it was stored.
        admitted_at: When that was.
        expires_at: When the owner ends it; None for as long as the peer shows it.
        revoked_at: From when on, as the owner says, others may have had it.
    """

    key_id: str
    actor: str
    multikey: str
    admitted_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


_PUT_PEER_KEY: Final = """-- put_peer_key
INSERT INTO peer_keys (key_id, actor, multikey, admitted_at, expires_at, revoked_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (key_id) DO UPDATE
SET expires_at = excluded.expires_at,
    -- What was revoked stays so, from the earliest time that was ever named.
    revoked_at = least(peer_keys.revoked_at, excluded.revoked_at)
WHERE peer_keys.actor = excluded.actor AND peer_keys.multikey = excluded.multikey
RETURNING key_id
"""


async def put_peer_key(conn: Connection, key: PeerKey) -> bool:
    """Store a key, or what is new about it; False where its id is another key's, which stays as it is."""
    return (
        await conn.fetchval(
            _PUT_PEER_KEY,
            key.key_id,
            key.actor,
            key.multikey,
            key.admitted_at,
            key.expires_at,
            key.revoked_at,
        )
        is not None
    )


_FIND_PEER_KEY: Final = """-- find_peer_key
SELECT k.key_id, k.actor, k.multikey, k.admitted_at, k.expires_at, k.revoked_at
FROM peer_keys AS k
WHERE k.key_id = $1
"""


async def find_peer_key(conn: Connection, key_id: str) -> PeerKey | None:
    """Find a key by its id; whether it holds at a time is the caller's to judge."""
    row = await conn.fetchrow(_FIND_PEER_KEY, key_id)
    return None if row is None else PeerKey(**row)


_LIST_PEER_KEYS: Final = """-- list_peer_keys
SELECT k.key_id, k.actor, k.multikey, k.admitted_at, k.expires_at, k.revoked_at
FROM peer_keys AS k
WHERE k.actor = $1
ORDER BY k.admitted_at, k.key_id
"""


async def list_peer_keys(conn: Connection, actor: str) -> tuple[PeerKey, ...]:
    """List the keys of a peer, the oldest first."""
    return tuple(PeerKey(**row) for row in await conn.fetch(_LIST_PEER_KEYS, actor))


_REVOKE_PEER_KEY: Final = """-- revoke_peer_key
UPDATE peer_keys AS k SET revoked_at = least(k.revoked_at, $2) WHERE k.key_id = $1 RETURNING k.key_id
"""


async def revoke_peer_key(conn: Connection, key_id: str, *, since: datetime) -> bool:
    """Note that a key counts no more for what was received from a time on; False if it is not known."""
    return await conn.fetchval(_REVOKE_PEER_KEY, key_id, since) is not None
