"""`breakwater lists import` and `export-template`: hash lists from files."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from db import audit, hashlists, list_sources
from relay.cli.lists_tools import ListRefusedError, require_answers
from relay.cli.options import config_options, explained, json_option, print_json, read_settings, run
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
# type is sha256, sha1, md5 or pdq, and value is hexadecimal or base64; of the type vpdq, value is the JSON
# that vPDQ writes of a video.
# id and status may be left out. The status `withdrawn` takes back what an earlier version listed.
# The examples are the hashes of Breakwater's own drawn test picture.
type,value,id,status
{examples}
"""


@click.command("import")
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
        f"[green]{result['name']}[/green] version {result['version']} has {result['entries']:,} hashes, "
        f"{result['videos']:,} of them of whole videos: "
        f"{result['added']:,} new, {result['kept']:,} kept, {result['withdrawn']:,} taken back."
    )
    if result["placeholders"]:
        console.print(f"{result['placeholders']:,} left out: nothing that can be seen has these values.")
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
        await hashlists.import_list(conn, new, values, now=now, labels=ids, videos=parsed.videos)
        counts = {
            "entries": len(update.table),
            "videos": len(update.table.get_rows(HashKind.VPDQ)),
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


@click.command("export-template")
@json_option
def template_command(*, as_json: bool) -> None:
    """Print a list file to fill in, as CSV."""
    examples = [f"{one.kind.value},{one.value.hex()},example,active" for one in canary_list().table.entries()]
    text = _TEMPLATE.format(examples="\n".join(examples))
    if as_json:
        print_json({"csv": text})
    else:
        click.echo(text, nl=False)
