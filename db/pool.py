"""Open the database, lend connections, and translate the driver's errors at the border.

Everything above this package sees `Connection` as an opaque value that the other modules of this
package take as their first argument.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg

from db.errors import DatabaseError, DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_log = logging.getLogger(__name__)

# Quoted, because the driver's classes can be subscripted in annotations only.
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)
_Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# A server on the same machine answers in milliseconds; one that is starting, within seconds.
CONNECT_TIMEOUT: Final = timedelta(seconds=5)
# How long a start waits for a database that is not up yet (both may start at boot).
OPEN_DEADLINE: Final = timedelta(seconds=30)
# A caller that waits longer for a connection than its client waits for an answer helps nobody.
ACQUIRE_TIMEOUT: Final = timedelta(seconds=10)
# No statement but imports and migrations, which set their own, works longer than milliseconds.
STATEMENT_TIMEOUT: Final = timedelta(seconds=30)
LOCK_TIMEOUT: Final = timedelta(seconds=20)
# A transaction that nobody continues holds rows that others wait for.
IDLE_TRANSACTION_TIMEOUT: Final = timedelta(seconds=60)
_FIRST_RETRY: Final = timedelta(milliseconds=100)
_LAST_RETRY: Final = timedelta(seconds=2)
# All statements of this package fit, so that each is prepared once a connection.
_STATEMENT_CACHE: Final = 256

# SQLSTATE classes and codes after which the same call may succeed later.
# Source: PostgreSQL 18 manual, appendix A.
# 25006 is what a standby answers during a failover.
_PASSING: Final = ("08", "25006", "40", "53", "55", "57", "58")


# Source: PostgreSQL 18 manual, section 28.4 (asynchronous commit). It holds until the transaction ends.
_DO_NOT_WAIT: Final = """-- do_not_wait
SET LOCAL synchronous_commit TO off
"""


class Database:
    """A pool of connections."""

    def __init__(self, pool: _Pool, dsn: str) -> None:
        self._pool = pool
        self._dsn = dsn

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; every statement on it commits by itself.

        Raises:
            DatabaseUnavailableError: The database is down, full or overloaded, or no connection came free.
            DatabaseError: A statement was refused.
        """
        try:
            connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT.total_seconds())
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            # `from None` here and below: the driver's errors quote rows and parameters.
            raise _translate(error, is_lost=True) from None
        try:
            yield connection
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise _translate(error, is_lost=_is_lost(connection)) from None
        except ConnectionError as error:
            if not _is_lost(connection):
                raise  # It is about some other connection of the caller's.
            raise _translate(error, is_lost=True) from None
        finally:
            # Shielded by the pool itself: a cancelled caller still gives its connection back.
            await self._release(connection)

    @asynccontextmanager
    async def transaction(self, *, waits_for_disk: bool = True) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction that commits unless the block raises.

        Args:
            waits_for_disk: The commit has reached the disk when the block ends. Where it is off, a database
                server that loses its power may lose the transaction, but never one that waited and came
                later: the log is written in order. For what may be done again, such as a claim.

        Raises:
            DatabaseUnavailableError: As for `connection`; nothing was committed, or the answer to the
                commit was lost and it is not known whether it was.
            DatabaseError: A statement was refused.
        """
        async with self.connection() as connection, connection.transaction():
            if not waits_for_disk:
                await connection.execute(_DO_NOT_WAIT)
            yield connection

    async def listen(self, channel: str, callback: Callable[[str], None]) -> None:
        """Call back with the payload of every notification on a channel, until cancelled.

        After each (re)connection the callback gets an empty payload, because notifications may have been
        missed before it. The callback must not block. Run this in a task of the caller's own group.
        """
        pause = _FIRST_RETRY
        while True:
            try:
                async with self._listener(channel, callback) as lost:
                    pause = _FIRST_RETRY
                    callback("")
                    await lost.wait()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                _log.warning("notifications are interrupted: %s", _translate(error, is_lost=True))
            await asyncio.sleep(pause.total_seconds())
            pause = min(pause * 2, _LAST_RETRY)

    @asynccontextmanager
    async def _listener(self, channel: str, callback: Callable[[str], None]) -> AsyncIterator[asyncio.Event]:
        """Listen on a connection of its own and yield what is set when it is lost."""
        connection = await asyncpg.connect(self._dsn, timeout=CONNECT_TIMEOUT.total_seconds())
        try:
            lost = asyncio.Event()

            def lose(_: object) -> None:
                lost.set()

            def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
                callback(str(payload))

            connection.add_termination_listener(lose)
            await connection.add_listener(channel, hear)
            yield lost
        finally:
            connection.terminate()

    async def _release(self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        try:
            await self._pool.release(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            # The connection is gone, which the statement before has reported already.
            _log.debug("a connection could not be given back: %s", type(error).__name__)


@asynccontextmanager
async def open_database(dsn: str, *, min_size: int = 1, max_size: int = 10) -> AsyncIterator[Database]:
    """Open a pool of connections, waiting a bounded time for a server that is still starting.

    Raises:
        DatabaseUnavailableError: The server did not take connections in time.
        DatabaseError: It refused us (wrong password, no such database).
    """
    pool = await _open_pool(dsn, min_size=min_size, max_size=max_size)
    try:
        yield Database(pool, dsn)
    finally:
        try:
            async with asyncio.timeout(ACQUIRE_TIMEOUT.total_seconds()):
                await pool.close()
        except TimeoutError:
            pool.terminate()


def in_transaction(conn: Connection) -> AbstractAsyncContextManager[object]:
    """Return the caller's transaction, or a new one where there is none.

    Locks must live until the change that they protect is visible.
    """
    return nullcontext() if conn.is_in_transaction() else conn.transaction()


def snapshot(conn: Connection) -> AbstractAsyncContextManager[object]:
    """Return a transaction whose reads see one moment; inside the caller's, that one's rules hold."""
    if conn.is_in_transaction():
        return nullcontext()
    return conn.transaction(isolation="repeatable_read", readonly=True)


async def notify(conn: Connection, channel: str, payload: str = "") -> None:
    """Notify the listeners of a channel when the transaction commits."""
    await conn.execute(_NOTIFY, channel, payload)


_NOTIFY: Final = """-- notify
SELECT pg_notify($1, $2)
"""


async def ping(conn: Connection) -> None:
    """Ask the database for a sign of life; the border raises if there is none."""
    await conn.execute(_PING)


_PING: Final = """-- ping
SELECT 1
"""


async def _open_pool(dsn: str, *, min_size: int, max_size: int) -> _Pool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + OPEN_DEADLINE.total_seconds()
    pause = _FIRST_RETRY
    while True:
        try:
            return await asyncpg.create_pool(
                dsn,
                min_size=min_size,
                max_size=max_size,
                timeout=CONNECT_TIMEOUT.total_seconds(),
                statement_cache_size=_STATEMENT_CACHE,
                init=_init_connection,
                reset=_leave_session,
                server_settings=_server_settings(),
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
            failure = _translate(error, is_lost=isinstance(error, OSError))
            if not isinstance(failure, DatabaseUnavailableError) or loop.time() >= deadline:
                raise failure from None
            _log.info("the database does not take connections yet: %s", failure)
        await asyncio.sleep(pause.total_seconds())
        pause = min(pause * 2, _LAST_RETRY)


def _server_settings() -> dict[str, str]:
    return {
        "application_name": "breakwater",
        "timezone": "UTC",
        "synchronous_commit": "on",
        # What follows a lock must see what was committed before it.
        "default_transaction_isolation": "read committed",
        "statement_timeout": _milliseconds(STATEMENT_TIMEOUT),
        "lock_timeout": _milliseconds(LOCK_TIMEOUT),
        "idle_in_transaction_session_timeout": _milliseconds(IDLE_TRANSACTION_TIMEOUT),
    }


def _milliseconds(duration: timedelta) -> str:
    return str(duration // timedelta(milliseconds=1))


async def _init_connection(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_json, decoder=json.loads, format="text"
    )


async def _leave_session(_: Connection) -> None:
    """Give a connection back without a round trip that clears its session.

    The pool itself ends an open transaction. Beyond that this package leaves nothing in a session: it sets
    no parameters and takes no locks that outlive a transaction, cursors live inside of one, and listening
    has a connection of its own.
    """


def _encode_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _is_lost(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # The pool takes a connection back by itself when it is lost.


def _translate(error: BaseException, *, is_lost: bool = False) -> DatabaseError:
    """Say in our own words what the driver reports, without its message: it quotes values.

    `is_lost` says that there is no connection, so that the driver's misuse errors mean just that.
    """
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = str(error.sqlstate or "")
        place = f" ({error.constraint_name})" if error.constraint_name else ""
        text = f"{type(error).__name__} {sqlstate}{place}"
        return DatabaseUnavailableError(text) if sqlstate.startswith(_PASSING) else DatabaseError(text)
    if isinstance(error, TimeoutError):
        return DatabaseUnavailableError("no connection came free in time")
    if is_lost:
        return DatabaseUnavailableError(f"the server cannot be reached ({type(error).__name__})")
    return DatabaseError(type(error).__name__)
