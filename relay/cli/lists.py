"""`breakwater lists`: hash lists of known content, imported from files and kept in the database."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table

from db import alert_hits, audit, hashlists, list_sources
from relay.cli.lists_add import add_command
from relay.cli.lists_noise import NOISE_COMMANDS
from relay.cli.lists_sync import remove_command, status_command, sync_command
from relay.cli.lists_tools import ListRefusedError, require_answers, unknown_list
from relay.cli.options import config_options, explained, fail, json_option, print_json, read_settings, run
from relay.cli.options import with_database as on_database
from relay.clock import SystemClock
from scanner.canary import canary_list
from scanner.hashlist import (
    DEFAULT_DISTANCE,
    DEFAULT_MIN_QUALITY,
    HashKind,
    ListFormat,
    Purpose,
    build_update,
    parse_hash_list,
)
from scanner.hashtable import HashTable, unpack_rows
from scanner.labels import Category
from scanner.listfile import MAX_LIST_BYTES

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection, Database
    from scanner.hashlist import ListUpdate, ParsedList

_FORMATS: Final = {".csv": ListFormat.CSV, ".json": ListFormat.JSON, ".txt": ListFormat.TEXT}

_TEMPLATE: Final = """\
# A hash list for `breakwater lists import`. Lines that begin with # are comments.
# type is sha256, sha1, md5 or pdq; value is hexadecimal or base64.
# id and status may be left out. The status `withdrawn` takes back what an earlier version listed.
# The examples are the hashes of Breakwater's own drawn test picture.
type,value,id,status
{examples}
"""


@click.group("lists")
def lists_group() -> None:
    """Import, fetch and see hash lists of known content."""


for _command in (add_command, sync_command, status_command, remove_command, *NOISE_COMMANDS):
    lists_group.add_command(_command)


@lists_group.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The list's name; importing a name again updates that list.")
@click.option(
    "--category",
    required=True,
    type=click.Choice([category.value for category in Category]),
    help="What a match means.",
)
@click.option("--version", help="The maker's version; by default the time of the import.")
@click.option(
    "--format",
    "list_format",
    type=click.Choice([one.value for one in ListFormat]),
    help="By default what the file's name ends with.",
)
@click.option(
    "--kind", type=click.Choice([kind.value for kind in HashKind]), help="For hashes that do not say theirs."
)
@click.option("--add", is_flag=True, help="Add to the list; else the file is the whole list.")
@click.option(
    "--distance",
    type=click.IntRange(0, 255),
    default=DEFAULT_DISTANCE,
    show_default=True,
    help="The largest distance of a PDQ match, in bits.",
)
@click.option(
    "--min-quality",
    type=click.IntRange(0, 100),
    default=DEFAULT_MIN_QUALITY,
    show_default=True,
    help="The least PDQ quality of media that is matched.",
)
@click.option("--turned/--no-turned", default=False, help="Also find mirrored and rotated copies.")
@click.option("--label", help="A finer word for what is found.")
@click.option("--advisory", is_flag=True, help="Report matches without deciding on them.")
@click.option(
    "--purpose",
    type=click.Choice([purpose.value for purpose in Purpose]),
    default=Purpose.BLOCK.value,
    show_default=True,
    help="allow: what it lists is not held because it resembles something; SHA-256 only.",
)
@config_options
@json_option
def import_command(
    *, file: Path, list_format: str | None, kind: str | None, as_json: bool, **rest: Any
) -> None:
    """Import FILE: CSV, JSON or text, whole or not at all.

    A running relay uses the list at once.
    """
    place = {name: rest.pop(name) for name in ("config_path", "data_dir", "port", "admin_port")}
    with explained():
        settings = read_settings(**place)
        require_answers(settings, Category(rest["category"]))
        chosen = list_format or _FORMATS.get(file.suffix.lower())
        if chosen is None:
            raise ListRefusedError(
                f"The name of {file} does not say what it is. Nothing was imported. Name its format: "
                "--format csv, json or text"
            )
        with Console(stderr=True).status("reading the list"):
            parsed = parse_hash_list(
                _read(file), chosen, default_kind=None if kind is None else HashKind(kind)
            )
        if rest["purpose"] == Purpose.ALLOW.value and set(parsed.listed.rows) - {HashKind.SHA256}:
            raise ListRefusedError(
                "A list of what may pass holds SHA-256 digests alone: other hashes also fit files that "
                "nobody looked at. Nothing was imported."
            )
    now = SystemClock().now()
    result = run(on_database(settings, lambda database: _import(database, parsed, now=now, **rest)))
    if as_json:
        print_json(result)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"[green]{result['name']}[/green] version {result['version']} has {result['entries']:,} hashes: "
        f"{result['added']:,} new, {result['kept']:,} kept, {result['withdrawn']:,} taken back."
    )
    if result["placeholders"]:
        console.print(f"{result['placeholders']:,} left out: no picture has these values.")
    if result["ignored_columns"]:
        console.print(f"Columns that were not understood: {', '.join(result['ignored_columns'])}")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise ListRefusedError(f"{file} cannot be read ({error.strerror}). Nothing was imported.") from error


async def _import(
    database: Database,
    parsed: ParsedList,
    *,
    now: datetime,
    name: str,
    category: str,
    version: str | None,
    add: bool,
    distance: int,
    min_quality: int,
    turned: bool,
    label: str | None,
    advisory: bool,
    purpose: str,
) -> dict[str, Any]:
    version = version or now.isoformat(timespec="seconds")
    async with database.transaction() as conn:
        if await list_sources.find_source(conn, name) is not None:
            raise ListRefusedError(
                f"The list {name!r} is fetched from its maker, and what you import would be gone with the "
                "next fetch. Nothing was imported. Give yours another name, or run `breakwater lists remove` "
                "first."
            )
        update = await _build_update(conn, name, parsed, add=add)
        new = hashlists.NewHashList(
            name=name,
            version=version,
            category=category,
            distance=distance,
            min_quality=min_quality,
            is_dihedral=turned,
            digest=update.table.digest(),
            label=label,
            is_advisory=advisory,
            purpose=purpose,
        )
        values = {kind.value: update.table.get_rows(kind).tobytes() for kind in HashKind}
        ids = {(kind.value, value): text for (kind, value), text in parsed.ids.items()}
        await hashlists.import_list(conn, new, values, now=now, labels=ids)
        counts = {
            "entries": len(update.table),
            "added": update.added,
            "kept": update.kept,
            "withdrawn": update.withdrawn,
        }
        await audit.append(
            conn,
            at=now,
            actor=getpass.getuser(),
            event="list_imported",
            detail={"list": name, "version": version, "category": category, **counts},
        )
    return {
        "name": name,
        "version": version,
        "category": category,
        **counts,
        "placeholders": parsed.placeholders,
        "repeated": parsed.repeated,
        "ignored_columns": list(parsed.ignored_columns),
    }


async def _build_update(conn: Connection, name: str, parsed: ParsedList, *, add: bool) -> ListUpdate:
    stored = await hashlists.find_list(conn, name)
    packed = {} if stored is None else await hashlists.load_entries(conn, stored.id)
    rows = {HashKind(kind): unpack_rows(HashKind(kind), data) for kind, data in packed.items()}
    current = HashTable.from_rows(rows)
    return build_update(current, listed=parsed.listed, withdrawn=parsed.withdrawn, is_complete=not add)


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
@config_options
@json_option
def withdraw_command(*, name: str, entry: str | None, as_json: bool, **place: Any) -> None:
    """Take the list NAME out of use, or one hash of it for good."""
    now = SystemClock().now()

    async def work(database: Database) -> bool:
        async with database.transaction() as conn:
            if entry is None:
                is_changed = await hashlists.withdraw_list(conn, name, at=now)
            else:
                kind, value = _parse_entry(entry)
                is_changed = await hashlists.withdraw_entry(conn, name, kind=kind.value, value=value, at=now)
            if is_changed:
                event = "list_withdrawn" if entry is None else "list_entry_withdrawn"
                await audit.append(conn, at=now, actor=getpass.getuser(), event=event, detail={"list": name})
        return is_changed

    with explained():
        settings = read_settings(**place)
    is_changed = run(on_database(settings, work))
    if as_json:
        print_json({"name": name, "changed": is_changed})
    elif not is_changed:
        fail(f"Nothing was changed: no list {name!r} is in use, or it was done before.")
    elif entry is None:
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


@lists_group.command("export-template")
@json_option
def template_command(*, as_json: bool) -> None:
    """Print a list file to fill in, as CSV."""
    examples = [f"{one.kind.value},{one.value.hex()},example,active" for one in canary_list().table.entries()]
    text = _TEMPLATE.format(examples="\n".join(examples))
    if as_json:
        print_json({"csv": text})
    else:
        click.echo(text, nl=False)


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
