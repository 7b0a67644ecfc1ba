"""Open the database of a relay: the configured one, or the embedded one, whoever runs it.

A relay that runs on the embedded PostgreSQL owns it and notes in `<data directory>/run/dsn` how to reach it.
Commands use the running one where there is one, and otherwise start it for as long as they need it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from db.embedded import open_postgres
from db.errors import DatabaseError, EmbeddedPostgresError
from db.migrate import migrate
from db.pool import Database, open_database
from relay.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config import Settings

_COMMAND_CONNECTIONS: Final = 2
"""A command does one thing after the other; the second one is for listening."""

_START_WAIT_S: Final = 30.0
"""A relay that is just starting notes its database within seconds."""

_POLL_S: Final = 0.1
_MAX_DSN_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedDatabase:
    """A database that is open and up to date.

    Attributes:
        database: The pool.
        place: Where it is, in words and without its password.
        is_own: It was started by this process and ends with it.
    """

    database: Database
    place: str
    is_own: bool


@asynccontextmanager
async def open_owned_database(settings: Settings) -> AsyncIterator[OpenedDatabase]:
    """Open the database for a relay: the embedded one is started and belongs to this process.

    Raises:
        StartupError: It cannot be started or reached, or another relay uses it.
    """
    async with AsyncExitStack() as stack:
        try:
            opened = await _open_owned(stack, settings)
        except (DatabaseError, OSError) as error:
            raise _unusable(settings, error) from error
        yield opened


@asynccontextmanager
async def open_relay_database(settings: Settings) -> AsyncIterator[OpenedDatabase]:
    """Open the database for a command: that of the running relay if there is one.

    Raises:
        StartupError: It cannot be started or reached.
    """
    async with AsyncExitStack() as stack:
        try:
            if settings.database.url.get_secret_value() or not _is_in_use(settings.server.data_dir):
                opened = await _open_owned(stack, settings, connections=_COMMAND_CONNECTIONS)
            else:
                dsn = await _wait_for_dsn(settings.server.data_dir)
                database = await _connect(stack, dsn, connections=_COMMAND_CONNECTIONS)
                place = f"the embedded PostgreSQL of the relay that runs in {settings.server.data_dir}"
                opened = OpenedDatabase(database=database, place=place, is_own=False)
        except (DatabaseError, OSError) as error:
            raise _unusable(settings, error) from error
        yield opened


async def _open_owned(
    stack: AsyncExitStack, settings: Settings, *, connections: int | None = None
) -> OpenedDatabase:
    connections = connections or settings.database.max_connections
    dsn = settings.database.url.get_secret_value()
    if dsn:
        database = await _connect(stack, dsn, connections=connections)
        return OpenedDatabase(database=database, place=_describe(dsn), is_own=False)
    data_dir = settings.server.data_dir
    dsn = await stack.enter_async_context(open_postgres(data_dir))
    database = await _connect(stack, dsn, connections=connections)
    note = data_dir / "run" / "dsn"
    _note_dsn(note, dsn)
    stack.callback(note.unlink, missing_ok=True)
    return OpenedDatabase(database=database, place=f"an embedded PostgreSQL in {data_dir}", is_own=True)


async def _connect(stack: AsyncExitStack, dsn: str, *, connections: int) -> Database:
    database = await stack.enter_async_context(open_database(dsn, min_size=1, max_size=connections))
    async with database.connection() as conn:
        await migrate(conn)
    return database


def _is_in_use(data_dir: Path) -> bool:
    """Tell whether a process holds the embedded database of a data directory."""
    try:
        descriptor = os.open(data_dir / "postgres" / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


async def _wait_for_dsn(data_dir: Path) -> str:
    note = data_dir / "run" / "dsn"
    for _ in range(round(_START_WAIT_S / _POLL_S)):
        if note.exists():
            with note.open("rb") as file:
                return file.read(_MAX_DSN_BYTES).decode()
        await asyncio.sleep(_POLL_S)
    raise StartupError(
        f"Another process uses the database in {data_dir}, but does not say how to reach it. It may be "
        "starting or stopping. Try again in a moment."
    )


def _note_dsn(note: Path, dsn: str) -> None:
    """Write the note whole and for our own eyes; it holds a password."""
    note.parent.mkdir(mode=0o700, exist_ok=True)
    draft = note.with_name(f".dsn.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(dsn.encode())
    draft.replace(note)


def _describe(dsn: str) -> str:
    parts = urlsplit(dsn)
    host = parts.hostname or "a local socket"
    return f"the PostgreSQL database {parts.path.lstrip('/') or '(default)'} on {host}"


def _unusable(settings: Settings, error: DatabaseError | OSError) -> StartupError:
    if isinstance(error, EmbeddedPostgresError):
        return StartupError(str(error))
    where = _describe(dsn) if (dsn := settings.database.url.get_secret_value()) else "the embedded database"
    detail = error.strerror if isinstance(error, OSError) else str(error)
    return StartupError(
        f"{where[0].upper()}{where[1:]} cannot be used ({detail}). Nothing can be stored without it. Check "
        "that it runs, and that database.url names it with the right user and password."
    )
