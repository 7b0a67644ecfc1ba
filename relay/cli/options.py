"""What all commands share: the options that name a configuration, and how errors reach a person."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
import uvloop
from rich.console import Console
from rich.table import Table

from db.errors import DatabaseError
from relay.config import Settings, find_config_file, load_settings, read_environment
from relay.errors import BreakwaterError
from relay.tools.database import open_relay_database
from scanner.errors import ScannerError
from signatures.errors import SignatureError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from db.pool import Database

T = TypeVar("T")

EXIT_UNUSABLE = 2
"""The command could not do its work: wrong usage, unusable settings, no database. Click uses the same for
usage."""

_EXPECTED = (BreakwaterError, DatabaseError, ScannerError, SignatureError)


def config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which configuration is meant."""
    options = (
        click.option(
            "--config", "config_path", type=click.Path(path_type=Path), help="The TOML file to read."
        ),
        click.option(
            "--data-dir", type=click.Path(path_type=Path), help="Keys, spool and embedded database."
        ),
        click.option("--port", type=click.IntRange(1, 65_535), help="The port of the inbox door."),
        click.option(
            "--admin-port", type=click.IntRange(1, 65_535), help="The admin port; by default the next."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option that asks for JSON in place of text."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def overrides_of(
    data_dir: Path | None, port: int | None = None, admin_port: int | None = None
) -> dict[str, object]:
    """Name the settings that a command's options set."""
    absolute = None if data_dir is None else data_dir.absolute()
    return {"server.data_dir": absolute, "server.port": port, "server.admin_port": admin_port}


def read_settings(
    config_path: Path | None,
    data_dir: Path | None,
    port: int | None = None,
    admin_port: int | None = None,
) -> Settings:
    """Read the settings that a command's options mean.

    Raises:
        ConfigError: They cannot be used.
    """
    environ = read_environment()
    overrides = overrides_of(data_dir, port, admin_port)
    return load_settings(config_path or _find_file(data_dir), environ, overrides)


def _find_file(data_dir: Path | None) -> Path | None:
    """Find the file: with a data directory of its own, a relay has a file of its own."""
    if data_dir is None:
        return find_config_file(read_environment())
    own = data_dir.absolute() / "breakwater.toml"
    return own if own.is_file() else None


@contextmanager
def explained() -> Iterator[None]:
    """Turn what went wrong into one message on standard error and exit status 2."""
    try:
        yield
    except* _EXPECTED as group:
        messages = sorted(set(_messages(group)))
    else:
        return
    fail("\n".join(messages))


def fail(message: str) -> NoReturn:
    """Say why the work could not be done, and stop."""
    click.echo(f"Error: {message}", err=True)
    sys.exit(EXIT_UNUSABLE)


def run(work: Awaitable[T]) -> T:
    """Run asynchronous work; what went wrong becomes one message and exit status 2.

    The event loop is that of libuv: a tenth less of the processor's time for a delivery that passes through.
    """
    result: list[T] = []
    with explained(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result.append(runner.run(_await(work)))
    return result[0]


async def _await(work: Awaitable[T]) -> T:
    return await work


def _messages(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [message for inner in error.exceptions for message in _messages(inner)]
    return [str(error)]


async def with_database(settings: Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    """Do work on the relay's database, whether or not the relay runs.

    Raises:
        StartupError: The database cannot be started or reached.
    """
    async with open_relay_database(settings) as opened:
        return await work(opened.database)


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print at least one row as a table, the names of the first one's values above."""
    table = Table(show_edge=False)
    for column in rows[0]:
        # Identifiers are there to be copied: a narrow terminal folds them, and cuts nothing off.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)
