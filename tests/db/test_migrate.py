"""Migrations, on empty and on migrated databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from db import migrate as migrate_module
from db.errors import MigrationError
from db.migrate import Migration, migrate, read_migrations
from db.pool import open_database

if TYPE_CHECKING:
    from pathlib import Path

    from db.pool import Database

SHIPPED = read_migrations()
NAMES = [migration.name for migration in SHIPPED]
NEWER = Migration(number=len(SHIPPED) + 1, name="9999_newer", sql="CREATE TABLE newer (id integer)")


async def test_an_empty_database_gets_every_migration_once(empty_dsn: str) -> None:
    async with open_database(empty_dsn) as database, database.connection() as conn:
        assert await migrate(conn) == NAMES
        assert await migrate(conn) == []


async def test_relays_that_start_together_migrate_once(empty_dsn: str) -> None:
    async with open_database(empty_dsn, max_size=4) as database:

        async def run() -> list[str]:
            async with database.connection() as conn:
                return await migrate(conn)

        results = await asyncio.gather(*(run() for _ in range(4)))
    assert sorted(results, key=len) == [[], [], [], NAMES]


async def test_an_edited_migration_is_refused(database: Database) -> None:
    edited = (replace(SHIPPED[0], sql=SHIPPED[0].sql + "-- edited\n"), *SHIPPED[1:])
    async with database.connection() as conn:
        with pytest.raises(MigrationError, match=SHIPPED[0].name):
            await migrate(conn, edited)


async def test_a_schema_newer_than_the_code_is_tolerated(database: Database) -> None:
    async with database.connection() as conn:
        assert await migrate(conn, (*SHIPPED, NEWER)) == [NEWER.name]
        assert await migrate(conn) == []


async def test_a_migration_that_fails_leaves_nothing_behind(database: Database) -> None:
    broken = Migration(number=NEWER.number + 1, name="broken", sql="CREATE TABLE broken (")
    async with database.connection() as conn:
        with pytest.raises(Exception, match="syntax"):
            await migrate(conn, (*SHIPPED, NEWER, broken))
        assert await conn.fetchval("SELECT to_regclass('newer')") is None
        assert await migrate(conn, (*SHIPPED, NEWER)) == [NEWER.name]


async def test_a_server_that_is_too_old_is_refused_in_words(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate_module, "MIN_SERVER_VERSION", 990_000)
    async with database.connection() as conn:
        with pytest.raises(MigrationError, match="99 or later"):
            await migrate(conn)


@pytest.mark.parametrize(
    "names",
    [
        ("0001_a.sql", "0003_c.sql"),
        ("0002_b.sql",),
        ("0001_a.sql", "0001_b.sql"),
        ("1_a.sql",),
        ("0001-a.sql",),
    ],
    ids=["gap", "late start", "twice", "short number", "malformed"],
)
def test_misnumbered_files_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError):
        read_migrations(tmp_path)
