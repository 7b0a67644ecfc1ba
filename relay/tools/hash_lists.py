"""Bring the hash lists from the database to the scanner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import hashlists
from scanner.hashlist import HashList
from scanner.hashtable import HashKind, HashTable, unpack_rows
from scanner.labels import Category

if TYPE_CHECKING:
    from db.pool import Database


async def load_lists(database: Database) -> tuple[HashList, ...]:
    """Load every list in use.

    Raises:
        DatabaseError: They could not be read; the lists in use stay as they are.
    """
    loaded: list[HashList] = []
    async with database.connection() as conn:
        for stored in await hashlists.list_lists(conn):
            values = await hashlists.load_entries(conn, stored.id)
            rows = {HashKind(kind): unpack_rows(HashKind(kind), data) for kind, data in values.items()}
            loaded.append(
                HashList(
                    name=stored.name,
                    version=stored.version,
                    category=Category(stored.category),
                    table=HashTable.from_rows(rows),
                    distance=stored.distance,
                    min_quality=stored.min_quality,
                    dihedral=stored.is_dihedral,
                    label=stored.label,
                    advisory=stored.is_advisory,
                )
            )
    return tuple(loaded)
