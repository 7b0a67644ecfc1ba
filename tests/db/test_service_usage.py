"""Requests to services are counted by the day, and a day's limit holds for all who count."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from db.service_usage import find_used, purge_usage, spend

if TYPE_CHECKING:
    from db.pool import Database

TODAY = date(2026, 11, 22)
TOMORROW = date(2026, 11, 23)


async def test_a_limit_is_never_passed_however_many_spend_at_once(database: Database) -> None:
    async def take() -> int | None:
        async with database.transaction() as conn:
            return await spend(conn, "one", TODAY, requests=2, limit=7)

    async with asyncio.TaskGroup() as group:
        taking = [group.create_task(take()) for _ in range(8)]
    assert sorted(one.result() or 0 for one in taking) == [0, 0, 0, 0, 0, 2, 4, 6]
    async with database.connection() as conn:
        assert await find_used(conn, "one", TODAY) == 6


async def test_more_than_the_whole_limit_at_once_is_not_given(database: Database) -> None:
    async with database.connection() as conn:
        assert await spend(conn, "one", TODAY, requests=8, limit=7) is None
        assert await find_used(conn, "one", TODAY) == 0


async def test_days_and_services_are_counted_apart(database: Database) -> None:
    async with database.connection() as conn:
        assert await spend(conn, "one", TODAY, requests=1, limit=1) == 1
        assert await spend(conn, "one", TODAY, requests=1, limit=1) is None
        assert await spend(conn, "one", TOMORROW, requests=1, limit=1) == 1
        assert await spend(conn, "other", TODAY, requests=1, limit=1) == 1


async def test_days_long_ago_are_forgotten_a_few_at_a_time(database: Database) -> None:
    async with database.connection() as conn:
        for service, day in (("one", TODAY), ("other", TODAY), ("one", TOMORROW)):
            await spend(conn, service, day, requests=3, limit=9)
        noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
        assert await purge_usage(conn, before=noon, limit=1) == 1
        assert await purge_usage(conn, before=noon, limit=9) == 1
        assert await purge_usage(conn, before=noon, limit=9) == 0
        assert await find_used(conn, "one", TODAY) == await find_used(conn, "other", TODAY) == 0
        assert await find_used(conn, "one", TOMORROW) == 3
