"""Give every test that asks for it a PostgreSQL database of its own.

One embedded server runs for the session. The schema is made once, in a template; each test gets a copy.
Imports of the packages under test stay inside the fixtures, so that tests without a database pay nothing.
"""

# ruff: noqa: PLC0415 (imports stay inside the fixtures, so that tests without a database pay nothing)

from __future__ import annotations

import itertools
import subprocess
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from db.pool import Database

_TEMPLATE = "breakwater_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_data_dir() -> Iterator[Path]:
    """A directory that the server's unprivileged user can enter, which pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="breakwater-tests-"))
    path.chmod(0o711)
    yield path
    # A database for each test makes half a million files; nobody need wait until they are gone.
    subprocess.run(["sh", "-c", 'rm -rf "$0" >/dev/null 2>&1 &', path], check=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_dsn(postgres_data_dir: Path) -> AsyncIterator[str]:
    """The DSN of the session's server; its own database is empty."""
    from db.embedded import open_postgres

    settings = {
        # These databases need not survive a loss of power; the embedded server's own tests leave fsync on.
        "fsync": "off",
        "full_page_writes": "off",
        # Some tests run several relays on it at once.
        "max_connections": "150",
    }
    async with open_postgres(postgres_data_dir, settings=settings) as dsn:
        yield dsn


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template_database(postgres_dsn: str) -> str:
    """The name of a database that holds the migrated schema and nothing else."""
    import asyncpg

    from db.migrate import migrate

    await _create_database(postgres_dsn, _TEMPLATE, "template1")
    connection = await asyncpg.connect(with_database(postgres_dsn, _TEMPLATE))
    try:
        await migrate(connection)
    finally:
        await connection.close()
    return _TEMPLATE


@pytest.fixture
async def empty_dsn(postgres_dsn: str) -> str:
    """The DSN of a new database without a schema."""
    name = f"breakwater_test_{next(_numbers)}"
    await _create_database(postgres_dsn, name, "template1")
    return with_database(postgres_dsn, name)


@pytest.fixture
async def dsn(postgres_dsn: str, template_database: str) -> str:
    """The DSN of a new database with the schema."""
    name = f"breakwater_test_{next(_numbers)}"
    await _create_database(postgres_dsn, name, template_database)
    return with_database(postgres_dsn, name)


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """An open pool on a new database with the schema."""
    from db.pool import open_database

    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(open_database(dsn, min_size=1, max_size=8))


def with_database(dsn: str, name: str) -> str:
    """Return the DSN of another database on the same server."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


async def _create_database(postgres_dsn: str, name: str, template: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()
