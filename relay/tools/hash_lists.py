"""Bring the hash lists from the database to the scanner, at the start and whenever they change."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import attestations, hashlists, retiring
from scanner.hashlist import HashList
from scanner.hashtable import HashKind, HashTable, unpack_rows
from scanner.labels import Category

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from db.pool import Database
    from relay.clock import Clock
    from relay.tools.scanning import Scanning

_log = logging.getLogger(__name__)


# A database that restarts is back within seconds.
_RETRY_AFTER: Final = timedelta(seconds=5)


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


async def load_lists_into(scanning: Scanning, database: Database, *, now: datetime) -> None:
    """Load the lists in use into the scanner, and note since when the scanner is in this state.

    Raises:
        DatabaseError: They could not be read; the scanner goes on with those it has.
    """
    await scanning.replace_lists(await load_lists(database), now=now)
    async with database.transaction() as conn:
        # Lists that are as they were before an update, say, whose state our peers were told to forget.
        while await retiring.is_retired(conn, scanning.state_digest):
            scanning.salt_anew()
        state = scanning.published_state
        await attestations.put_state(
            conn, state_digest=state.digest, document=dict(state.document), now=state.as_of
        )
        known_since = await attestations.find_state_time(conn, state.digest)
    scanning.date_state(known_since or state.as_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWatch:
    """Load the lists again when somebody imports or withdraws one, in this process or another.

    Attributes:
        scanning: What they are loaded into.
        database: Where they are.
        clock: The time.
        on_change: Called after they were loaded.
    """

    scanning: Scanning
    database: Database
    clock: Clock
    on_change: Callable[[], None] | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        changed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.database.listen(hashlists.CHANNEL, lambda _: changed.set()))
            while True:
                await changed.wait()
                changed.clear()
                try:
                    await load_lists_into(self.scanning, self.database, now=self.clock.now())
                except Exception as error:  # noqa: BLE001 (the relay goes on with the lists that it has)
                    _log.error("lists_not_loaded error=%s", type(error).__name__)
                    # Nobody tells us a second time, and until then media are judged by lists out of date.
                    await asyncio.sleep(_RETRY_AFTER.total_seconds())
                    changed.set()
                else:
                    _log.info("lists_loaded")
                    if self.on_change is not None:
                        self.on_change()
