"""Bring the hash lists from the database to the scanner, at the start and whenever they change."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import attestations, hashlists, list_sources, retiring
from db.errors import DatabaseError
from relay.tools.list_shelf import ListShelf
from relay.tools.naps import wait_within

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from db.pool import Database
    from relay.clock import Clock
    from relay.tools.scanning import Scanning
    from scanner.hashlist import HashList

_log = logging.getLogger(__name__)


# A database that restarts is back within seconds.
_RETRY_AFTER: Final = timedelta(seconds=5)
# A fetch that brings a list up to date announces itself; this bounds what a lost word costs.
_LOOK_EVERY: Final = timedelta(minutes=1)


async def load_lists(database: Database, *, now: datetime) -> tuple[HashList, ...]:
    """Load every list in use, all of it from the database.

    Args:
        database: Where they are.
        now: The time, which decides whether they are as new as they have to be.

    Raises:
        DatabaseError: They could not be read; the lists in use stay as they are.
    """
    return await ListShelf().load(database, now=now)


async def load_lists_into(
    scanning: Scanning, database: Database, *, now: datetime, shelf: ListShelf | None = None
) -> None:
    """Load the lists in use into the scanner, and note since when the scanner is in this state.

    Args:
        scanning: The scanner.
        database: Where the lists are.
        now: The time.
        shelf: What was loaded before; None reads all from the database.

    Raises:
        DatabaseError: They could not be read; the scanner goes on with those it has.
    """
    shelf = shelf or ListShelf()
    before = shelf.overdue
    lists = await shelf.load(database, now=now)
    await scanning.replace_lists(lists, now=now)
    if shelf.overdue and shelf.overdue != before:
        # The number alone: which lists these are, `breakwater doctor` says.
        _log.warning("lists_overdue lists=%d what_no_list_matches=withheld", len(shelf.overdue))
    elif before and not shelf.overdue:
        _log.info("lists_not_overdue_any_more what_no_list_matches=judged")
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
    """Load the lists again when somebody imports or withdraws one, or when one becomes too old or new again.

    Attributes:
        scanning: What they are loaded into.
        database: Where they are.
        clock: The time.
        on_change: Called after they were loaded.
        shelf: What was loaded before, so that only changes are read.
    """

    scanning: Scanning
    database: Database
    clock: Clock
    on_change: Callable[[], None] | None = None
    shelf: ListShelf = field(default_factory=ListShelf)

    async def run(self) -> None:
        """Watch until cancelled."""
        changed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.database.listen(hashlists.CHANNEL, lambda _: changed.set()))
            group.create_task(self._watch_ages(changed))
            while True:
                await changed.wait()
                changed.clear()
                try:
                    await self._load()
                except Exception as error:  # noqa: BLE001 (the relay goes on with the lists that it has)
                    _log.error("lists_not_loaded error=%s", type(error).__name__)
                    # Nobody tells us a second time, and until then media are judged by lists out of date.
                    await asyncio.sleep(_RETRY_AFTER.total_seconds())
                    changed.set()
                else:
                    _log.info("lists_loaded")
                    if self.on_change is not None:
                        self.on_change()
                    await self._compact()

    async def _watch_ages(self, changed: asyncio.Event) -> None:
        """Have the lists loaded when one becomes older than it may be, and when it is not any more."""
        woken = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.database.listen(list_sources.CHANNEL, lambda _: woken.set()))
            while True:
                woken.clear()
                nap = await self._look_at_ages(changed)
                await wait_within(woken, nap)

    async def _look_at_ages(self, changed: asyncio.Event) -> timedelta:
        """Look once, and return when to look again."""
        now = self.clock.now()
        try:
            async with self.database.connection() as conn:
                found = await list_sources.find_overdue(conn, now=now)
        except DatabaseError as error:
            # Without the database nothing is released either.
            _log.warning("list_ages_not_read error=%s", type(error).__name__)
            return _RETRY_AFTER
        if found.lists != self.shelf.overdue:
            changed.set()
        return _LOOK_EVERY if found.next_at is None else min(found.next_at - now, _LOOK_EVERY)

    async def _load(self) -> None:
        await load_lists_into(self.scanning, self.database, now=self.clock.now(), shelf=self.shelf)

    async def _compact(self) -> None:
        """Put lists that changed much on a new base; what matches stays the same."""
        try:
            if await self.shelf.compact():
                await self._load()
        except Exception as error:  # noqa: BLE001 (the relay goes on with the bases that it has)
            _log.error("lists_not_compacted error=%s", type(error).__name__)
