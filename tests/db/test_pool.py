"""Connections and the translation of the driver's errors."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import deliveries, pool
from db.errors import DatabaseError, DatabaseUnavailableError
from db.pool import notify, open_database, ping
from tests.conftest import with_database
from tests.db.builders import new_delivery

if TYPE_CHECKING:
    from pathlib import Path

    from db.pool import Database

SECRET = "https://a.example/secret.png"


async def run(database: Database, sql: str, *arguments: object) -> None:
    async with database.connection() as conn:
        await conn.execute(sql, *arguments)


async def run_and_fail(database: Database) -> None:
    async with database.transaction() as conn:
        await conn.execute("CREATE TABLE undone (id integer)")
        raise RuntimeError("undo")


async def test_a_living_database_answers_a_ping(database: Database) -> None:
    async with database.connection() as conn:
        await ping(conn)


async def test_a_transaction_commits_as_a_whole_or_not_at_all(database: Database) -> None:
    with pytest.raises(RuntimeError, match="undo"):
        await run_and_fail(database)
    async with database.transaction() as conn:
        assert await conn.fetchval("SELECT to_regclass('undone')") is None
        await conn.execute("CREATE TABLE kept (id integer)")
    async with database.connection() as conn:
        assert await conn.fetchval("SELECT to_regclass('kept')") is not None


async def test_errors_carry_no_values(database: Database) -> None:
    await run(database, "CREATE TABLE seen (url text PRIMARY KEY)")
    await run(database, "INSERT INTO seen VALUES ($1)", SECRET)
    with pytest.raises(DatabaseError) as caught:
        await run(database, "INSERT INTO seen VALUES ($1)", SECRET)
    assert "seen_pkey" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not isinstance(caught.value, DatabaseUnavailableError)


@pytest.mark.parametrize(
    ("statement", "is_passing"),
    [
        ("SELECT 1/0", False),
        ("SELEC", False),
        ("SELECT * FROM nothing", False),
        ("DO $$ BEGIN RAISE disk_full; END $$", True),
        ("DO $$ BEGIN RAISE too_many_connections; END $$", True),
        ("DO $$ BEGIN RAISE out_of_memory; END $$", True),
        ("DO $$ BEGIN RAISE query_canceled; END $$", True),
        ("DO $$ BEGIN RAISE serialization_failure; END $$", True),
        ("DO $$ BEGIN RAISE deadlock_detected; END $$", True),
        ("DO $$ BEGIN RAISE admin_shutdown; END $$", True),
        ("DO $$ BEGIN RAISE read_only_sql_transaction; END $$", True),
        ("SET statement_timeout = 1; SELECT pg_sleep(10)", True),
    ],
)
async def test_what_passes_is_told_from_what_stays(
    database: Database, statement: str, *, is_passing: bool
) -> None:
    with pytest.raises(DatabaseError) as caught:
        await run(database, statement)
    assert isinstance(caught.value, DatabaseUnavailableError) == is_passing


async def test_a_lost_connection_is_unavailable_and_the_next_one_works(database: Database) -> None:
    with pytest.raises(DatabaseUnavailableError):
        await run(database, "SELECT pg_terminate_backend(pg_backend_pid())")
    await run(database, "SELECT 1")


async def test_other_errors_of_the_block_pass_through(database: Database) -> None:
    async def fail(error: Exception) -> None:
        async with database.connection():
            raise error

    for error in (TimeoutError("mine"), ConnectionResetError("mine"), FileNotFoundError("mine")):
        with pytest.raises(type(error), match="mine"):
            await fail(error)


async def test_waiting_for_a_connection_is_bounded(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "ACQUIRE_TIMEOUT", timedelta(milliseconds=10))
    async with open_database(dsn, max_size=1) as database, database.connection():
        with pytest.raises(DatabaseUnavailableError, match="in time"):
            await run(database, "SELECT 1")


async def test_a_wrong_password_and_a_missing_database_are_refused_at_once(dsn: str) -> None:
    for wrong in (dsn.replace("breakwater:", "breakwater:x"), with_database(dsn, "nowhere"), "nonsense://"):
        with pytest.raises(DatabaseError) as caught:
            async with open_database(wrong):
                pytest.fail("it was opened")
        assert not isinstance(caught.value, DatabaseUnavailableError)


async def test_opening_a_server_that_is_down_gives_up_after_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "OPEN_DEADLINE", timedelta(milliseconds=200))
    with pytest.raises(DatabaseUnavailableError):
        async with open_database(f"postgresql://u:p@/d?host={tmp_path}"):
            pytest.fail("it was opened")


async def test_listeners_hear_what_is_committed_and_survive_a_lost_connection(database: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(database.listen("news", heard.put_nowait))
        assert await heard.get() == ""
        async with database.connection() as conn:
            await notify(conn, "news", "one")
            assert await heard.get() == "one"
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND query LIKE 'LISTEN%'"
            )
            assert await heard.get() == ""
            await notify(conn, "news", "two")
            assert await heard.get() == "two"
        task.cancel()


async def test_a_cancelled_caller_gives_its_connection_back(dsn: str) -> None:
    async with open_database(dsn, max_size=1) as database:
        started = asyncio.Event()

        async def hang() -> None:
            async with database.connection() as conn:
                started.set()
                await conn.execute("SELECT pg_sleep(60)")

        async with asyncio.TaskGroup() as group:
            task = group.create_task(hang())
            await started.wait()
            task.cancel()
        async with database.connection() as conn:
            assert await deliveries.insert_delivery(conn, new_delivery()) is not None


async def test_only_the_transaction_that_said_so_does_not_wait_for_the_disk(dsn: str) -> None:
    async with open_database(dsn, min_size=1, max_size=1) as database:
        seen = []
        async with database.transaction(waits_for_disk=False) as conn:
            seen.append(await conn.fetchval("SHOW synchronous_commit"))
        async with database.transaction() as conn:
            seen.append(await conn.fetchval("SHOW synchronous_commit"))
        assert seen == ["off", "on"]


async def test_a_transaction_that_was_left_open_ends_when_the_connection_is_given_back(dsn: str) -> None:
    async with open_database(dsn, min_size=1, max_size=1) as database:
        async with database.connection() as conn:
            await conn.execute("BEGIN")
            await conn.execute("CREATE TABLE undone (id integer)")
        async with database.connection() as conn:
            assert not conn.is_in_transaction()
            assert await conn.fetchval("SELECT to_regclass('undone')") is None
