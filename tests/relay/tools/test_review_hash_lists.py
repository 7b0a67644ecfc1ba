"""A list that was imported comes into use, even where the first try to load it fails."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from db.errors import DatabaseUnavailableError
from relay.tools import hash_lists
from relay.tools.hash_lists import ListWatch
from tests.fediverse.clock import FrozenClock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pytest

    from db.pool import Database
    from scanner.hashlist import HashList


class StubbornScanning:
    """Takes lists at the third try only."""

    def __init__(self) -> None:
        self.tries = 0
        self.taken = asyncio.Event()

    async def replace_lists(self, _lists: Sequence[HashList], *, now: datetime) -> None:
        self.tries += 1
        if self.tries == 1:
            raise DatabaseUnavailableError("gone for a moment")
        if self.tries == 2:
            raise ValueError("a category that this version does not know")
        assert now
        self.taken.set()
        await asyncio.Event().wait()


async def test_lists_that_could_not_be_loaded_are_loaded_later(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hash_lists, "_RETRY_AFTER", timedelta())
    scanning = StubbornScanning()
    watch = ListWatch(
        scanning=scanning,  # type: ignore[arg-type] # it takes lists, which is all that is asked of it here
        database=database,
        clock=FrozenClock(),
    )
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        watching = group.create_task(watch.run())
        await scanning.taken.wait()
        watching.cancel()

    assert [one.getMessage() for one in caplog.records if one.name == "relay.tools.hash_lists"] == [
        "lists_not_loaded error=DatabaseUnavailableError",
        "lists_not_loaded error=ValueError",
    ]
