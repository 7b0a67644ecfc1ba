"""`breakwater peers canary`: harmless pictures that tell who signs without looking."""

from __future__ import annotations

import getpass
import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from db import canaries
from relay.assembly import build_scanner_settings
from relay.cli.options import (
    config_options,
    explained,
    fail,
    json_option,
    print_json,
    print_rows,
    read_settings,
    run,
    with_database,
)
from relay.clock import SystemClock
from relay.exchange.canaries import CHANCE_BYTES, draw, is_canary_by_looks, watch
from scanner.scan import open_scanner

if TYPE_CHECKING:
    from db.pool import Database

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_SHOWN: Final = 100
_NEXT: Final = (
    "Post it publicly from an ordinary account, as anybody would post a picture, where the peers that you "
    "wonder about see it. If your server encodes pictures anew, download it from the post and let this relay "
    "watch for those bytes, too: breakwater peers canary watch FILE. `breakwater peers canary list` shows "
    "who attested it; a peer that did although its own lists hold it goes into quarantine by itself."
)


@click.group("canary")
def canary_group() -> None:
    """Find out peers that attest what they never looked at.

    A canary is a drawing of a lighthouse that says what it is. Every relay's scanner knows it by its looks;
    its bytes are like no other's. Whoever attests that nothing was found in it has not looked.
    """


@canary_group.command("draw")
@click.argument("file", type=_FILE)
@click.option("--note", default="", help="Your own words: where you post it, and for whom.")
@click.option("--by", default=getpass.getuser, help="Who has it drawn; by default the system user.")
@config_options
@json_option
def draw_command(*, file: Path, note: str, by: str, as_json: bool, **place: Any) -> None:
    """Draw a new canary into FILE, and watch for who attests it."""
    if file.exists():
        fail(f"{file} is there already, and was not replaced. Choose another name.")
    picture = run(
        with_database(
            read_settings(**place),
            lambda database: draw(
                database,
                chance=secrets.token_bytes(CHANCE_BYTES),
                note=note,
                by=by,
                now=SystemClock().now(),
            ),
        )
    )
    try:
        file.write_bytes(picture)
    except OSError as error:
        fail(f"{file} cannot be written ({error.strerror}). Choose another place, and draw a new one.")
    _show({"file": str(file), "next": _NEXT}, as_json=as_json)


@canary_group.command("watch")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--note", default="", help="Your own words: where it is posted, and for whom.")
@click.option("--by", default=getpass.getuser, help="Who watches; by default the system user.")
@config_options
@json_option
def watch_command(*, file: Path, note: str, by: str, as_json: bool, **place: Any) -> None:
    """Watch for who attests FILE: a canary as a server shows it after it was encoded anew."""
    with explained():
        settings = read_settings(**place)
        data = file.read_bytes()
        with open_scanner(build_scanner_settings(settings)) as scanner:
            report = scanner.scan(data)
    if not is_canary_by_looks(report):
        fail(
            f"{file} is no canary by its looks: an honest scanner may find nothing in it, and its relay "
            "would be taken for a liar. Nothing was changed. Draw one with `breakwater peers canary draw`."
        )
    digest = hashlib.sha256(data).digest()
    run(
        with_database(
            settings,
            lambda database: watch(database, digest, note=note, by=by, now=SystemClock().now()),
        )
    )
    _show({"file": str(file), "next": _NEXT}, as_json=as_json)


@canary_group.command("list")
@config_options
@json_option
def list_command(*, as_json: bool, **place: Any) -> None:
    """List the newest canaries, and who attested them."""
    rows = run(with_database(read_settings(**place), _list_rows))
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("None. To draw one: breakwater peers canary draw FILE")
    else:
        print_rows([{**row, "attested by": "\n".join(row["attested by"])} for row in rows])


async def _list_rows(database: Database) -> list[dict[str, Any]]:
    async with database.connection() as conn:
        return [
            {
                "drawn at": canary.drawn_at.isoformat(timespec="seconds"),
                "by": canary.drawn_by,
                "note": canary.note,
                "attested by": list(await canaries.list_issuers(conn, canary.sha256)),
            }
            for canary in await canaries.list_canaries(conn, limit=_SHOWN)
        ]


def _show(shown: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(shown)
    else:
        click.echo(f"{shown['file']} is watched for.\n{shown['next']}")
