"""`breakwater lists hold`: how old a list that is fetched may become."""

from __future__ import annotations

import getpass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from db import audit, hashlists, list_sources
from relay.cli.lists_tools import ListRefusedError, unknown_list
from relay.cli.options import config_options, explained, json_option, print_json, read_settings, run
from relay.cli.options import with_database as on_database
from relay.clock import SystemClock

if TYPE_CHECKING:
    from db.pool import Database

_FEWEST_INTERVALS: Final = 2
"""A list is as old as its interval just before every fetch, and one fetch may fail for a passing reason."""


def read_hold(days: float | None, *, every: timedelta, decides: bool) -> timedelta | None:
    """Read how old a list may become, in days; None for any age.

    Args:
        days: What the admin said.
        every: How often the list is fetched.
        decides: Whether a match with the list decides anything.

    Raises:
        ListRefusedError: It would hold media all the time, or for nothing.
    """
    if days is None:
        return None
    if not decides:
        raise ListRefusedError(
            "This list decides nothing that is withheld, so that nothing need wait for it to be new. Nothing "
            "was changed."
        )
    hold_after = timedelta(days=days)
    if hold_after < _FEWEST_INTERVALS * every:
        raise ListRefusedError(
            f"The list is fetched every {every.total_seconds() / 3600:g} hours, so that media would be "
            "withheld between two fetches. Nothing was changed. Allow twice that time at least, or fetch it "
            "more often."
        )
    return hold_after


@click.command("hold")
@click.argument("name")
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0.1),
    metavar="DAYS",
    help="Not fetched for so many days.",
)
@click.option("--never", is_flag=True, help="The list may become as old as it likes.")
@config_options
@json_option
def hold_command(*, name: str, days: float | None, never: bool, as_json: bool, **place: Any) -> None:
    """Withhold what no list matches while the list NAME was not fetched for DAYS.

    What its maker added since then cannot be known. What a list matches is withheld as ever, and what waits
    is looked at again after the list was fetched.
    """
    if (days is None) != never:
        raise click.UsageError("Give --older-than DAYS, or --never.")
    now = SystemClock().now()

    async def work(database: Database) -> timedelta | None:
        async with database.transaction() as conn:
            source = await list_sources.find_source(conn, name)
            stored = await hashlists.find_list(conn, name)
            if stored is None:
                raise unknown_list(name)
            if source is None:
                raise ListRefusedError(
                    f"The list {name!r} was imported from a file, and nobody knows when its maker changes "
                    "it. Nothing was changed. `breakwater lists add` has a list fetched."
                )
            decides = stored.purpose == "block" and not stored.is_advisory
            hold_after = read_hold(days, every=source.every, decides=decides)
            await list_sources.set_hold_after(conn, name, hold_after)
            detail = {"list": name, "hold_after_s": _seconds(hold_after)}
            await audit.append(conn, at=now, actor=getpass.getuser(), event="list_hold_set", detail=detail)
        return hold_after

    with explained():
        settings = read_settings(**place)
    hold_after = run(on_database(settings, work))
    if as_json:
        print_json({"name": name, "hold_after_s": _seconds(hold_after)})
    elif hold_after is None:
        click.echo(f"{name} is matched however old it is, and what no list matches passes.")
    else:
        click.echo(f"Once {name} was not fetched for {days:g} days, what no list matches is withheld.")


def _seconds(hold_after: timedelta | None) -> int | None:
    return None if hold_after is None else int(hold_after.total_seconds())
