"""`breakwater lists own`, `noisy`, `suspend`, `reinstate`: what rulings and mistakes make of lists."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from db import audit, hashlists, noisy
from db.noisy import NoiseState, NoisyEntry
from relay.cli.lists_tools import ListRefusedError, unknown_list
from relay.cli.options import config_options, explained, json_option, print_json, read_settings, run
from relay.cli.options import with_database as on_database
from relay.clock import SystemClock
from relay.config import csam_handling_problems
from relay.own_lists import OwnListTools, fold
from scanner.hashtable import ENTRY_CHARS

if TYPE_CHECKING:
    from db.pool import Database

_HEXADECIMAL = frozenset("0123456789abcdef")


@click.command("own")
@config_options
@json_option
def own_command(*, as_json: bool, **place: Any) -> None:
    """Bring the lists of what your moderators upheld up to date now.

    The relay does so by itself once a day. Every change of a list has media examined again.
    """
    with explained():
        settings = read_settings(**place)

    async def work(database: Database) -> dict[str, Any]:
        tools = OwnListTools(
            database=database, clock=SystemClock(), handles_csam=not csam_handling_problems(settings)
        )
        folded = await fold(tools)
        return {
            "files": folded.listed,
            "added": folded.added,
            "dropped": folded.dropped,
            "changed": list(folded.changed),
        }

    result = run(on_database(settings, work))
    if as_json:
        print_json(result)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"The own lists hold {result['files']:,} files: {result['added']:,} new, {result['dropped']:,} "
        "overruled."
    )
    console.print(f"Changed: {', '.join(result['changed']) or 'none'}.")


@click.command("noisy")
@config_options
@json_option
def noisy_command(*, as_json: bool, **place: Any) -> None:
    """Show listed hashes that fit many different pictures, and what was decided about them."""
    with explained():
        settings = read_settings(**place)

    async def work(database: Database) -> tuple[NoisyEntry, ...]:
        async with database.connection() as conn:
            return await noisy.list_noisy(conn)

    found = run(on_database(settings, work))
    if as_json:
        print_json([_to_json(one) for one in found])
        return
    console = Console(highlight=False, soft_wrap=True)
    if not found:
        console.print("No listed hash was noticed to fit many different pictures.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("list", "entry", "state", "pictures", "since", "decided by"):
        table.add_column(column)
    for one in found:
        since = one.noticed_at.isoformat(timespec="minutes")
        table.add_row(one.list_name, one.entry, one.state.value, f"{one.unlike:,}", since, one.decided_by)
    console.print(table)
    console.print(
        "alarm: it is still matched; look at its cases, and suspend it if they are wrong. suspended: near "
        "copies of it are not found until it is reinstated. Tell the list's maker in either case."
    )


@click.command("suspend")
@click.argument("name")
@click.argument("entry")
@config_options
@json_option
def suspend_command(*, name: str, entry: str, as_json: bool, **place: Any) -> None:
    """Match the hash ENTRY of the list NAME no more, until it is reinstated.

    `breakwater lists noisy` shows the names of entries. What waits for a ruling goes on waiting.
    """
    _decide(name, entry, NoiseState.SUSPENDED, as_json=as_json, place=place)


@click.command("reinstate")
@click.argument("name")
@click.argument("entry")
@config_options
@json_option
def reinstate_command(*, name: str, entry: str, as_json: bool, **place: Any) -> None:
    """Match the hash ENTRY of the list NAME again, however many pictures it fits."""
    _decide(name, entry, NoiseState.KEPT, as_json=as_json, place=place)


def _decide(name: str, entry: str, state: NoiseState, *, as_json: bool, place: dict[str, Any]) -> None:
    by = getpass.getuser()
    with explained():
        settings = read_settings(**place)
        if len(entry) != ENTRY_CHARS or not _HEXADECIMAL.issuperset(entry):
            raise ListRefusedError(
                f"{entry!r} is no name of an entry. Nothing was changed. `breakwater lists noisy` shows "
                f"them; they have {ENTRY_CHARS} characters"
            )

    async def work(database: Database) -> dict[str, Any]:
        now = SystemClock().now()
        async with database.transaction() as conn:
            if await hashlists.find_list(conn, name) is None:
                raise unknown_list(name)
            decided = NoisyEntry(
                list_name=name, entry=entry, state=state, unlike=0, noticed_at=now, decided_by=by
            )
            await noisy.put_noisy(conn, decided)
            # The list alone: the log names nothing that is listed.
            await audit.append(
                conn, at=now, actor=by, event=f"list_entry_{state.value}", detail={"list": name}
            )
        return _to_json(decided)

    result = run(on_database(settings, work))
    if as_json:
        print_json(result)
        return
    said = "is not matched any more" if state is NoiseState.SUSPENDED else "is matched again"
    Console(highlight=False, soft_wrap=True).print(f"The entry {entry} of {name} {said}.")


def _to_json(one: NoisyEntry) -> dict[str, Any]:
    return {
        "list": one.list_name,
        "entry": one.entry,
        "state": one.state.value,
        "pictures": one.unlike,
        "since": one.noticed_at.isoformat(timespec="seconds"),
        "decided_by": one.decided_by,
    }


NOISE_COMMANDS = (own_command, noisy_command, suspend_command, reinstate_command)
"""What `breakwater lists` has of these."""
