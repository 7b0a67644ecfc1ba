"""`breakwater errands`: what is done on the backend, what waits, and what failed and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from db import errands
from db.errands import ErrandState
from relay.cli.options import (
    config_options,
    json_option,
    print_json,
    print_rows,
    read_settings,
    run,
    with_database,
)
from relay.clock import SystemClock
from relay.errors import BreakwaterError

if TYPE_CHECKING:
    from db.pool import Database

_LISTED: Final = 200

_OPEN: Final = (ErrandState.WAITING, ErrandState.WORKING, ErrandState.FAILED)


class NoSuchErrandError(BreakwaterError):
    """There is no such errand, or it did not fail."""


@click.group("errands")
def errands_group() -> None:
    """See what is done on your server, and retry what failed."""


@errands_group.command("list")
@click.option("--all", "with_done", is_flag=True, help="Also those of the last month that are done.")
@config_options
@json_option
def list_command(*, with_done: bool, as_json: bool, **place: Any) -> None:
    """List what waits, what is being done, and what failed and why; oldest first."""
    states = tuple(ErrandState) if with_done else _OPEN
    rows = run(with_database(read_settings(**place), lambda database: list_rows(database, states)))
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("None.")
    else:
        print_rows(rows)


@errands_group.command("retry")
@click.argument("errand_id", type=int)
@config_options
def retry_command(*, errand_id: int, **place: Any) -> None:
    """Let the failed errand ERRAND_ID be tried again, for another three days."""
    run(with_database(read_settings(**place), lambda database: retry(database, errand_id)))
    click.echo(f"Errand {errand_id} is tried again.")


async def list_rows(database: Database, states: tuple[ErrandState, ...]) -> list[dict[str, Any]]:
    """List errands without what they are about; a case's posts are named by `breakwater cases posts`."""
    async with database.connection() as conn:
        found = await errands.list_errands(conn, states=states, limit=_LISTED)
    return [
        {
            "id": one.id,
            "kind": one.kind.value,
            "case": one.case_id,
            "state": one.state.value,
            "tries": one.tries,
            "due_at": None if one.finished_at is not None else one.due_at.isoformat(timespec="seconds"),
            "reason": one.reason,
        }
        for one in found
    ]


async def retry(database: Database, errand_id: int) -> None:
    """Let a failed errand be tried again.

    Raises:
        NoSuchErrandError: There is none of that number, or it did not fail.
    """
    async with database.connection() as conn:
        if not await errands.retry(conn, errand_id, now=SystemClock().now()):
            raise NoSuchErrandError(
                f"There is no failed errand {errand_id}. Nothing was changed. `breakwater errands list` "
                "shows those that failed."
            )
