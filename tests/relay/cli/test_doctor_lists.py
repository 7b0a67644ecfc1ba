"""What `breakwater doctor` says of lists that are fetched."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import hashlists, list_sources
from relay.cli.diagnosis import Finding
from relay.cli.doctor_lists import check_lists
from tests.db.builders import LEASE, NOW
from tests.db.test_hashlists import NEW

if TYPE_CHECKING:
    from pathlib import Path

    from db.pool import Connection, Database


@pytest.fixture
def login(tmp_path: Path) -> Path:
    path = tmp_path / "login"
    path.write_text("member:secret", encoding="utf-8")
    path.chmod(0o600)
    return path


async def add(conn: Connection, credentials: Path) -> int:
    list_id = await hashlists.import_list(conn, NEW, {}, now=NOW)
    source = list_sources.NewListSource(
        list_id=list_id,
        kind="ncmec",
        url="https://lists.example",
        credentials=f"file:{credentials}",
        options={},
        every=timedelta(hours=1),
        accepted_at=NOW,
    )
    await list_sources.add_source(conn, source)
    return list_id


async def test_a_list_that_was_just_fetched_is_well(database: Database, login: Path) -> None:
    async with database.connection() as conn:
        list_id = await add(conn, login)
        await list_sources.claim_source(conn, worker="a", lease=LEASE, now=NOW)
        await list_sources.finish_source(conn, list_id, worker="a", due_at=NOW, synced_at=NOW)
        (one,) = await check_lists(conn, now=NOW)
        assert one.finding is Finding.OK


async def test_a_list_that_is_older_than_it_may_be_says_that_media_waits_for_it(
    database: Database, login: Path
) -> None:
    async with database.connection() as conn:
        list_id = await add(conn, login)
        await list_sources.set_hold_after(conn, NEW.name, timedelta(days=3))
        found = await list_sources.find_overdue(conn, now=NOW)
        assert found == list_sources.Overdue(lists=frozenset(), next_at=NOW + timedelta(days=3))
        late = NOW + timedelta(days=3)
        assert (await list_sources.find_overdue(conn, now=late)).lists == {list_id}
        (one,) = await check_lists(conn, now=late)
        assert one.finding is Finding.PROBLEM
        assert "what no list matches is withheld" in one.detail
        assert "lists sync" in one.remedy
        # Out of use, it holds nothing.
        await hashlists.withdraw_list(conn, NEW.name, at=late)
        assert (await list_sources.find_overdue(conn, now=late)).lists == frozenset()


async def test_a_list_that_was_not_fetched_for_days_is_a_problem_with_its_reason(
    database: Database, login: Path
) -> None:
    async with database.connection() as conn:
        list_id = await add(conn, login)
        assert [one.finding for one in await check_lists(conn, now=NOW)] == [Finding.OK]
        await list_sources.claim_source(conn, worker="a", lease=LEASE, now=NOW)
        await list_sources.fail_source(
            conn, list_id, worker="a", due_at=NOW, error_kind="unavailable", error="It is away."
        )
        (noted,) = await check_lists(conn, now=NOW + timedelta(hours=1))
        assert noted.finding is Finding.NOTE
        (late,) = await check_lists(conn, now=NOW + timedelta(days=3))
        assert late.finding is Finding.PROBLEM
        assert "never" in late.detail
        assert late.remedy == "It is away."
        await hashlists.withdraw_list(conn, NEW.name, at=NOW)
        assert await check_lists(conn, now=NOW + timedelta(days=3)) == []


async def test_credentials_that_nobody_or_everybody_can_read_are_a_problem(
    database: Database, login: Path
) -> None:
    async with database.connection() as conn:
        await add(conn, login)
        await asyncio.to_thread(login.chmod, 0o644)
        (open_,) = await check_lists(conn, now=NOW)
        assert open_.finding is Finding.PROBLEM
        assert "chmod o-r" in open_.remedy
        await asyncio.to_thread(login.unlink)
        (missing,) = await check_lists(conn, now=NOW)
        assert missing.finding is Finding.PROBLEM
        assert "cannot be read" in missing.remedy
        assert "secret" not in open_.detail + open_.remedy
