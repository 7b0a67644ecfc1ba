"""Bring the schema up to date: numbered files, each applied once, none ever edited.

The rule for a schema that is newer than the code: migrations beyond the last one this code knows are
tolerated, because every migration must leave the release before it working, so that a fleet can be
upgraded one relay at a time. One that was applied in another form than this code has is refused.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from db.errors import MigrationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from db.pool import Connection

_log = logging.getLogger(__name__)

_FOLDER: Final = Path(__file__).with_name("migrations")
_FILE_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
# Any constant of our own; the two-number form keeps it apart from the locks on chains.
_LOCK_CLASS: Final = 0x42574D  # "BWM"
# Source: UNIQUE NULLS NOT DISTINCT came with PostgreSQL 15.
MIN_SERVER_VERSION: Final = 150_000
# An index over millions of rows takes minutes.
_TIMEOUT: Final = "15min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """The SHA-256 of its text, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = _FOLDER) -> tuple[Migration, ...]:
    """Read the migrations of a folder in their order.

    Raises:
        MigrationError: A name is malformed, or a number is missing or used twice.
    """
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name} is not named NNNN_what.sql")
        text = path.read_text(encoding="utf-8")
        migrations.append(Migration(number=int(match[1]), name=path.stem, sql=text))
    if [migration.number for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError("the migrations are not numbered 0001, 0002, … without gaps")
    return tuple(migrations)


async def migrate(conn: Connection, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing, all or nothing, and return the names of what was applied.

    Raises:
        MigrationError: An applied migration was edited, or the server is too old.
    """
    shipped = read_migrations() if migrations is None else tuple(migrations)
    version = int(await conn.fetchval(_SERVER_VERSION))
    if version < MIN_SERVER_VERSION:
        raise MigrationError(
            f"the server is PostgreSQL {version // 10_000}; {MIN_SERVER_VERSION // 10_000} or later is needed"
        )
    async with conn.transaction():
        await conn.execute(f"SET LOCAL statement_timeout = '{_TIMEOUT}'")
        await conn.execute(f"SET LOCAL lock_timeout = '{_TIMEOUT}'")
        await conn.execute(_LOCK, _LOCK_CLASS)
        await conn.execute(_CREATE_RECORD)
        rows = await conn.fetch(_LIST_APPLIED)
        missing = _find_missing(shipped, {row["number"]: (row["name"], row["checksum"]) for row in rows})
        for migration in missing:
            await conn.execute(migration.sql)
            await conn.execute(_RECORD, migration.number, migration.name, migration.checksum)
            _log.info("applied migration %s", migration.name)
    return [migration.name for migration in missing]


_SERVER_VERSION: Final = """-- server_version
SELECT current_setting('server_version_num')
"""

_LOCK: Final = """-- lock_migrations
SELECT pg_advisory_xact_lock($1, 0)
"""

_CREATE_RECORD: Final = """-- create_schema_migrations
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

_LIST_APPLIED: Final = """-- list_applied_migrations
SELECT number, name, checksum FROM schema_migrations ORDER BY number
"""

_RECORD: Final = """-- record_migration
INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)
"""


def _find_missing(shipped: Sequence[Migration], applied: Mapping[int, tuple[str, str]]) -> list[Migration]:
    last_known = max((migration.number for migration in shipped), default=0)
    by_number = {migration.number: migration for migration in shipped}
    for number, (name, checksum) in sorted(applied.items()):
        if number > last_known:
            _log.warning("the database has migration %s, which is newer than this code", name)
        elif by_number[number].checksum != checksum:
            raise MigrationError(
                f"migration {name} was applied in another form than {by_number[number].name} has now; "
                "the schema was left as it is. Use the release that made it, or restore the migration."
            )
    return [migration for migration in shipped if migration.number not in applied]
