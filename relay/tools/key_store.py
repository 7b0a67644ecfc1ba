"""Keep remote keys in the database, behind the key directory's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import keys
from relay.tools.key_directory import RemoteKey
from signatures.errors import SignatureError
from signatures.keys import parse_public_key_pem

if TYPE_CHECKING:
    from db.pool import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseKeyStore:
    """A `KeyStore` over the table of remote keys."""

    database: Database

    async def find(self, key_id: str) -> RemoteKey | None:
        """Return the stored key, None if there is none."""
        async with self.database.connection() as conn:
            row = await keys.find_key(conn, key_id)
        if row is None or row.gone_at is not None:
            return None
        try:
            key = parse_public_key_pem(row.pem)
        except SignatureError:
            return None  # Not a key of ours to judge: the origin is asked again.
        return RemoteKey(key_id=row.key_id, owner=row.actor, key=key, fetched_at=row.fetched_at)

    async def save(self, key: RemoteKey) -> None:
        """Store a key in place of an earlier one with its id."""
        if len(key.key_id) > keys.MAX_KEY_ID_CHARACTERS:
            return
        async with self.database.connection() as conn:
            await keys.put_key(
                conn,
                keys.RemoteKey(
                    key_id=key.key_id,
                    actor=key.owner,
                    pem=key.key.to_pem(),
                    algorithm=key.key.algorithm.value,
                    fetched_at=key.fetched_at,
                ),
            )

    async def forget(self, key_id: str) -> None:
        """Remove a key; it is no error if there is none."""
        async with self.database.connection() as conn:
            await keys.delete_key(conn, key_id)
