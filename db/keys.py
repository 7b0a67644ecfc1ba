"""Cache the public keys of remote actors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection

# As long as an index entry may safely be; longer ids are refused by the table, so refuse them before.
MAX_KEY_ID_CHARACTERS: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteKey:
    """A public key as it was fetched.

    Attributes:
        key_id: Its id, at most `MAX_KEY_ID_CHARACTERS` long, without U+0000.
        actor: Its owner.
        pem: The key.
        algorithm: rsa or ed25519.
        fetched_at: When it was fetched.
        gone_at: When its owner answered that it is gone; None if it is not.
    """

    key_id: str
    actor: str
    pem: str
    algorithm: str
    fetched_at: datetime
    gone_at: datetime | None = None


_PUT_KEY: Final = """-- put_key
INSERT INTO remote_keys (key_id, actor, pem, algorithm, fetched_at, gone_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (key_id) DO UPDATE
SET actor = excluded.actor, pem = excluded.pem, algorithm = excluded.algorithm,
    fetched_at = excluded.fetched_at, gone_at = excluded.gone_at
"""


async def put_key(conn: Connection, key: RemoteKey) -> None:
    """Store a key in place of an earlier one with its id."""
    await conn.execute(_PUT_KEY, key.key_id, key.actor, key.pem, key.algorithm, key.fetched_at, key.gone_at)


_FIND_KEY: Final = """-- find_key
SELECT k.key_id, k.actor, k.pem, k.algorithm, k.fetched_at, k.gone_at
FROM remote_keys AS k
WHERE k.key_id = $1
"""


async def find_key(conn: Connection, key_id: str) -> RemoteKey | None:
    """Find a key by its id; how old it may be is the caller's to judge."""
    row = await conn.fetchrow(_FIND_KEY, key_id)
    return None if row is None else RemoteKey(**row)


_MARK_GONE: Final = """-- mark_gone
UPDATE remote_keys AS k SET gone_at = $2 WHERE k.key_id = $1 RETURNING k.key_id
"""


async def mark_gone(conn: Connection, key_id: str, *, at: datetime) -> bool:
    """Record that a key's owner is gone; the key stays, to verify the owner's own Delete."""
    return await conn.fetchval(_MARK_GONE, key_id, at) is not None


_DELETE_KEY: Final = """-- delete_key
DELETE FROM remote_keys AS k WHERE k.key_id = $1 RETURNING k.key_id
"""


async def delete_key(conn: Connection, key_id: str) -> bool:
    """Forget a key; False if it was not known."""
    return await conn.fetchval(_DELETE_KEY, key_id) is not None


_PURGE_KEYS: Final = """-- purge_keys
DELETE FROM remote_keys AS k
WHERE k.key_id IN (
    SELECT o.key_id FROM remote_keys AS o WHERE o.fetched_at < $1 ORDER BY o.fetched_at LIMIT $2
)
RETURNING k.key_id
"""


async def purge_keys(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget keys that were fetched before a time; return how many."""
    return len(await conn.fetch(_PURGE_KEYS, before, limit))
