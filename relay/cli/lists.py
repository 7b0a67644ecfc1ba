"""`breakwater lists`: hash lists of known content, imported from files and kept in the database."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from db import alert_hits, audit, hashlists
from relay.cli.lists_add import add_command
from relay.cli.lists_hold import hold_command
from relay.cli.lists_import import import_command, template_command
from relay.cli.lists_noise import NOISE_COMMANDS
from relay.cli.lists_sync import remove_command, status_command, sync_command
from relay.cli.lists_tools import ListRefusedError, unknown_list
from relay.cli.options import config_options, explained, fail, json_option, print_json, read_settings, run
from relay.cli.options import with_database as on_database
from relay.clock import SystemClock
from scanner.hashtable import HashKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection, Database


@click.group("lists")
def lists_group() -> None:
    """Import, fetch and see hash lists of known content."""


for _command in (
    import_command,
    add_command,
    sync_command,
    status_command,
    hold_command,
    remove_command,
    template_command,
    *NOISE_COMMANDS,
):
    lists_group.add_command(_command)


@lists_group.command("list")
@click.option("--all", "include_withdrawn", is_flag=True, help="Show lists out of use, too.")
@config_options
@json_option
def list_command(*, include_withdrawn: bool, as_json: bool, **place: Any) -> None:
    """List the hash lists in use."""

    async def work(database: Database) -> list[dict[str, Any]]:
        async with database.connection() as conn:
            found = await hashlists.list_lists(conn, include_withdrawn=include_withdrawn)
        return [_describe(one) for one in found]

    with explained():
        settings = read_settings(**place)
    rows = run(on_database(settings, work))
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(
            "No list is imported. `breakwater lists import` imports one, `export-template` shows the form."
        )
        return
    columns = ("name", "version", "category", "purpose", "entries", "distance", "advisory", "imported")
    table = Table(*columns, show_edge=False)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)


@lists_group.command("show")
@click.argument("name")
@config_options
@json_option
def show_command(*, name: str, as_json: bool, **place: Any) -> None:
    """Show what is known of the list NAME; never its hashes."""

    async def work(database: Database) -> dict[str, Any]:
        async with database.connection() as conn:
            stored = await hashlists.find_list(conn, name)
            if stored is None:
                raise unknown_list(name)
            packed = await hashlists.load_entries(conn, stored.id)
        by_kind = {kind: len(data) // HashKind(kind).width for kind, data in sorted(packed.items())}
        return {**_describe(stored), "hashes": by_kind}

    with explained():
        settings = read_settings(**place)
    shown = run(on_database(settings, work))
    if as_json:
        print_json(shown)
        return
    for key, value in shown.items():
        click.echo(f"{key:12} {value}")


@lists_group.command("withdraw")
@click.argument("name")
@click.option("--entry", help="Take back one hash alone, written KIND:HEXADECIMAL.")
@click.option("--id", "entry_id", help="Take back what the list's maker gave this id, a video for instance.")
@config_options
@json_option
def withdraw_command(
    *, name: str, entry: str | None, entry_id: str | None, as_json: bool, **place: Any
) -> None:
    """Take the list NAME out of use, or one hash of it for good."""
    if entry is not None and entry_id is not None:
        raise click.UsageError("Give --entry or --id, not both.")
    now = SystemClock().now()
    is_whole = entry is None and entry_id is None

    async def work(database: Database) -> bool:
        async with database.transaction() as conn:
            if is_whole:
                is_changed = await hashlists.withdraw_list(conn, name, at=now)
            else:
                found = await _find_entries(conn, name, entry=entry, entry_id=entry_id)
                is_changed = await _withdraw_entries(conn, name, found, at=now)
            if is_changed:
                event = "list_withdrawn" if is_whole else "list_entry_withdrawn"
                await audit.append(conn, at=now, actor=getpass.getuser(), event=event, detail={"list": name})
        return is_changed

    with explained():
        settings = read_settings(**place)
    is_changed = run(on_database(settings, work))
    if as_json:
        print_json({"name": name, "changed": is_changed})
    elif not is_changed:
        fail(f"Nothing was changed: no list {name!r} is in use, or it was done before.")
    elif is_whole:
        click.echo(f"{name} is out of use. Importing it again brings it back.")
    else:
        click.echo(f"The hash is taken back from {name}, whatever later versions of the list say.")


@lists_group.command("alerts")
@click.argument("name")
@click.option(
    "--allow/--forbid", "allows", required=True, help="Whether the list's terms let peers be told of matches."
)
@config_options
@json_option
def alerts_command(*, name: str, allows: bool, as_json: bool, **place: Any) -> None:
    """Say whether peers may be warned of exact matches with the list NAME; at first they may not.

    Many lists are given out on the condition that nobody else learns what they hold. Warnings go only to
    peers with whom `breakwater peers alerts` agreed on the category, sealed so that no other can read them.
    """
    now = SystemClock().now()

    async def work(database: Database) -> bool:
        async with database.transaction() as conn:
            is_known = await alert_hits.set_allowing(conn, name, allows=allows)
            if is_known:
                detail = {"list": name, "allowed": allows}
                await audit.append(
                    conn, at=now, actor=getpass.getuser(), event="list_alerts_set", detail=detail
                )
        return is_known

    with explained():
        settings = read_settings(**place)
    if not run(on_database(settings, work)):
        fail(f"There is no list {name!r}, and nothing was changed. `breakwater lists list` shows them.")
    if as_json:
        print_json({"name": name, "alerts": allows})
    else:
        click.echo(f"Peers {'may' if allows else 'may not'} be warned of exact matches with {name}.")


def _describe(stored: hashlists.StoredHashList) -> dict[str, Any]:
    return {
        "name": stored.name,
        "version": stored.version,
        "category": stored.category,
        "purpose": stored.purpose,
        "label": stored.label,
        "entries": stored.entries,
        "distance": stored.distance,
        "min_quality": stored.min_quality,
        "turned": stored.is_dihedral,
        "advisory": stored.is_advisory,
        "imported": stored.imported_at.isoformat(timespec="seconds"),
        "withdrawn": None
        if stored.withdrawn_at is None
        else stored.withdrawn_at.isoformat(timespec="seconds"),
    }


async def _find_entries(
    conn: Connection, name: str, *, entry: str | None, entry_id: str | None
) -> Sequence[tuple[str, bytes]]:
    """Find the entries that are meant, by what they are or by what their maker calls them."""
    if entry_id is not None:
        return await hashlists.find_labelled(conn, name, entry_id)
    return () if entry is None else [_parse_entry(entry)]


async def _withdraw_entries(
    conn: Connection, name: str, entries: Sequence[tuple[str, bytes]], *, at: datetime
) -> bool:
    """Take entries out of use; return whether any of them was in use."""
    done = [await hashlists.withdraw_entry(conn, name, kind=kind, value=one, at=at) for kind, one in entries]
    return any(done)


def _parse_entry(text: str) -> tuple[HashKind, bytes]:
    kind, _, value = text.partition(":")
    try:
        known, raw = HashKind(kind.strip().lower()), bytes.fromhex(value.strip())
    except ValueError as error:
        raise ListRefusedError(
            "Write the hash as sha256:…, sha1:…, md5:… or pdq:…, in hexadecimal."
        ) from error
    if len(raw) != known.width:
        raise ListRefusedError(f"A {known.value} hash has {known.width * 2} hexadecimal digits.")
    return known, raw
