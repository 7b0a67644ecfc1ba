"""`breakwater lists sync`, `status`, `remove`: lists that are fetched from their makers."""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from db import audit, hashlists, list_sources
from relay import assembly
from relay.cli.lists_tools import ListRefusedError, unknown_list
from relay.cli.lists_view import describe_source, print_status, print_synced, synced_to_json
from relay.cli.options import config_options, explained, fail, json_option, print_json, read_settings, run
from relay.cli.options import with_database as on_database
from relay.clock import SystemClock
from relay.config import csam_handling_problems, read_environment
from relay.sources.run import LEASE, SyncOptions, SyncTools
from relay.sources.sync import sync_source
from relay.tools.fetching import open_guarded_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from db.list_sources import ListSource
    from db.pool import Database
    from relay.config import Settings
    from relay.sources.run import Synced

EXIT_NOT_SYNCED: Final = 1
_CHANCE_BYTES: Final = 4


@click.command("sync")
@click.argument("name", required=False)
@click.option("--accept-loss", is_flag=True, help="Let a file take most of the hashes out of its list.")
@config_options
@json_option
def sync_command(*, name: str | None, accept_loss: bool, as_json: bool, **place: Any) -> None:
    """Fetch the list NAME now, or all lists that are fetched.

    Naming a list that is out of use brings it back. Ctrl-C stops between two pages; the next fetch goes on
    from there.
    """
    with explained():
        settings = read_settings(**place)
    results = run(_sync(settings, name=name, accept_loss=accept_loss, is_quiet=as_json))
    if as_json:
        print_json([synced_to_json(one, synced) for one, synced in results])
    else:
        print_synced(results)
    if any(synced is None or synced.failure is not None for _, synced in results):
        raise SystemExit(EXIT_NOT_SYNCED)


async def _sync(
    settings: Settings, *, name: str | None, accept_loss: bool, is_quiet: bool
) -> list[tuple[str, Synced | None]]:
    """Fetch one list or all of them; None stands for one that somebody else fetches at the moment."""
    clock, stop = SystemClock(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)

    async def work(database: Database) -> list[tuple[str, Synced | None]]:
        async with open_guarded_client(assembly.build_fetch_policy(settings, own=()), clock) as client:
            tools = SyncTools(
                database=database,
                client=client,
                clock=clock,
                environ=read_environment(),
                worker=f"lists:{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(_CHANCE_BYTES)}",
                legal_problems=tuple(csam_handling_problems(settings)),
            )
            results: list[tuple[str, Synced | None]] = []
            for one in await _list_names(database, name):
                with _progress(one, is_quiet=is_quiet) as on_page:
                    options = SyncOptions(revives=name is not None, accepts_loss=accept_loss, on_page=on_page)
                    results.append((one, await _sync_one(one, tools=tools, stop=stop, options=options)))
            return results

    return await on_database(settings, work)


async def _sync_one(
    name: str, *, tools: SyncTools, stop: asyncio.Event, options: SyncOptions
) -> Synced | None:
    async with tools.database.connection() as conn:
        claimed = await list_sources.claim_source(
            conn, worker=tools.worker, lease=LEASE, now=tools.clock.now(), name=name
        )
    return None if claimed is None else await sync_source(claimed, tools=tools, stop=stop, options=options)


async def _list_names(database: Database, name: str | None) -> list[str]:
    """List the names of the lists that are meant.

    Raises:
        ListRefusedError: There is no such list, or it is not fetched from anywhere.
    """
    async with database.connection() as conn:
        if name is None:
            known = await list_sources.list_sources(conn)
            return [one.name for one in known if not one.is_withdrawn]
        if await list_sources.find_source(conn, name) is not None:
            return [name]
        if await hashlists.find_list(conn, name) is None:
            raise unknown_list(name)
    raise ListRefusedError(
        f"The list {name!r} was imported from a file and is fetched from nowhere. `breakwater lists import` "
        "imports it again; `breakwater lists add` has a list fetched."
    )


@contextmanager
def _progress(name: str, *, is_quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    console = Console(stderr=True)
    is_hidden = is_quiet or not console.is_terminal
    columns = (SpinnerColumn(), TextColumn(name, markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=is_hidden) as bar:
        task = bar.add_task(name, total=None)

        def on_page(records: int, total: int | None) -> None:
            bar.update(task, completed=records, total=total)

        yield on_page


@click.command("status")
@click.argument("name", required=False)
@config_options
@json_option
def status_command(*, name: str | None, as_json: bool, **place: Any) -> None:
    """Show how the fetching of lists goes: when it last went well, what went wrong, and when it is next."""
    now = SystemClock().now()

    async def work(database: Database) -> list[ListSource]:
        async with database.connection() as conn:
            known = await list_sources.list_sources(conn)
        if name is not None and not any(one.name == name for one in known):
            raise unknown_list(name)
        return [one for one in known if name in (None, one.name)]

    with explained():
        settings = read_settings(**place)
    found = run(on_database(settings, work))
    if as_json:
        print_json([describe_source(one, now=now) for one in found])
    else:
        print_status(found, now=now)


@click.command("remove")
@click.argument("name")
@config_options
@json_option
def remove_command(*, name: str, as_json: bool, **place: Any) -> None:
    """Forget the list NAME with everything about it: its hashes, where it comes from, what was taken back.

    `withdraw` takes a list out of use and keeps it.
    """
    now = SystemClock().now()

    async def work(database: Database) -> bool:
        async with database.transaction() as conn:
            is_known = await hashlists.delete_list(conn, name)
            if is_known:
                await audit.append(
                    conn, at=now, actor=getpass.getuser(), event="list_removed", detail={"list": name}
                )
        return is_known

    with explained():
        settings = read_settings(**place)
    if not run(on_database(settings, work)):
        fail(str(unknown_list(name)))
    if as_json:
        print_json({"name": name, "removed": True})
    else:
        click.echo(f"{name} is gone, with its hashes.")
