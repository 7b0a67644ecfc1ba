"""`breakwater deliveries`: what is on its way, why it stands where it stands, and what to do about it.

Nothing shown here leads to media: no addresses, digests or ids of posts.
"""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table

from db import audit, cases, delivery_lists, media
from relay.cli.options import config_options, fail, json_option, print_json, read_settings, run, with_database
from relay.clock import SystemClock
from relay.errors import BreakwaterError
from relay.lifecycle import State, move
from relay.model import MediaDecision
from relay.tools.reasons import explain

if TYPE_CHECKING:
    from datetime import datetime

    from db.delivery_rows import DeliverySummary
    from db.pool import Database

REPLAYED: Final = "replayed"
DROPPED_BY_HAND: Final = "dropped_by_hand"

_LISTED: Final = 200
_PAGE: Final = 500


class DeliveryError(BreakwaterError):
    """There is no such delivery, or it does not stand where this can be done."""


async def list_in_state(database: Database, state: State) -> list[dict[str, Any]]:
    """List the deliveries in a state, oldest first, with what happened to them."""
    async with database.connection() as conn:
        found = await delivery_lists.list_deliveries(conn, state, _LISTED)
    return [_describe(one) for one in found]


def _describe(one: DeliverySummary) -> dict[str, Any]:
    return {
        "id": one.id,
        "state": one.state.value,
        "type": one.activity_type,
        "sender": one.sender_actor,
        "received": one.received_at.isoformat(timespec="seconds"),
        "reason": one.reason,
        "what happened": explain(one.reason).happened,
    }


async def show(database: Database, delivery_id: int) -> dict[str, Any]:
    """Say everything about one delivery that may be said, and what to do.

    Raises:
        DeliveryError: There is none of that number.
    """
    async with database.connection() as conn:
        found = await delivery_lists.find_summary(conn, delivery_id)
        if found is None:
            raise _missing(delivery_id)
        rows = await media.list_delivery_media(conn, delivery_id)
        of_delivery = await cases.list_cases_of(conn, delivery_id)
    told = explain(found.reason)
    is_lost = found.state is State.DEAD and not found.has_body
    return {
        **_describe(found),
        "what it means": told.means,
        "what to do": _ERASED if is_lost else told.to_do,
        "finished": None if found.finished_at is None else found.finished_at.isoformat(timespec="seconds"),
        "tries": found.retries,
        "media": len(rows),
        "withheld": sum(row.decision != MediaDecision.RELEASE for row in rows),
        "cases": [one.id for one in of_delivery],
        "replayable": found.state is State.DEAD and found.has_body,
    }


_ERASED: Final = (
    "Its bytes were erased, because withheld media lay in them: it cannot be replayed. Its sender would have "
    "to send it again. Drop it."
)


async def replay(database: Database, delivery_id: int, *, by: str, now: datetime) -> str:
    """Put a dead letter back into the queue, to be examined anew and brought to the backend.

    Raises:
        DeliveryError: It is no dead letter, or its bytes are gone.
    """
    async with database.transaction() as conn:
        found = await delivery_lists.find_summary(conn, delivery_id)
        if found is None:
            raise _missing(delivery_id)
        if found.state is State.DEAD and not found.has_body:
            raise DeliveryError(f"Delivery {delivery_id} was not replayed. {_ERASED}")
        is_moved = await move(
            conn, delivery_id, expected=State.DEAD, to=State.RECEIVED, now=now, reason=REPLAYED
        )
        if not is_moved:
            raise _elsewhere(found)
        await audit.append(
            conn, at=now, actor=by, event="delivery_replayed", detail={"delivery": delivery_id}
        )
    return "it is examined again and then brought to the backend"


async def replay_all(database: Database, *, by: str, now: datetime) -> dict[str, int]:
    """Put every dead letter whose bytes are kept back into the queue; count them and the others."""
    counts, after_id = {"replayed": 0, "erased": 0}, 0
    while True:
        async with database.connection() as conn:
            page = await delivery_lists.list_deliveries(conn, State.DEAD, _PAGE, after_id=after_id)
        if not page:
            return counts
        after_id = page[-1].id
        for one in page:
            try:
                await replay(database, one.id, by=by, now=now)
            except DeliveryError:
                # Erased, or meanwhile replayed or dropped by somebody else.
                counts["erased"] += not one.has_body
            else:
                counts["replayed"] += 1


async def drop(database: Database, delivery_id: int, *, by: str, now: datetime) -> str:
    """Drop a dead letter for good, with its bytes.

    Raises:
        DeliveryError: It is no dead letter.
    """
    async with database.transaction() as conn:
        found = await delivery_lists.find_summary(conn, delivery_id)
        if found is None:
            raise _missing(delivery_id)
        is_moved = await move(
            conn,
            delivery_id,
            expected=State.DEAD,
            to=State.DROPPED,
            now=now,
            reason=DROPPED_BY_HAND,
            erase_body=True,
        )
        if not is_moved:
            raise _elsewhere(found)
        await audit.append(conn, at=now, actor=by, event="delivery_dropped", detail={"delivery": delivery_id})
    return "it is gone, with its bytes"


def _missing(delivery_id: int) -> DeliveryError:
    return DeliveryError(
        f"There is no delivery {delivery_id}. Finished ones are forgotten after 30 days. "
        "`breakwater deliveries list` shows the dead letters."
    )


def _elsewhere(found: DeliverySummary) -> DeliveryError:
    ruling = " Rule on its cases: `breakwater cases list`." if found.state is State.HELD else ""
    return DeliveryError(
        f"Delivery {found.id} is {found.state.value}, no dead letter. Nothing was changed.{ruling}"
    )


@click.group("deliveries")
def deliveries_group() -> None:
    """See why deliveries stand where they stand; replay or drop dead letters."""


@deliveries_group.command("list")
@click.option(
    "--state",
    type=click.Choice([state.value for state in State]),
    default=State.DEAD.value,
    show_default=True,
    help="Which ones.",
)
@config_options
@json_option
def list_command(*, state: str, as_json: bool, **place: Any) -> None:
    """List deliveries in a state, oldest first; the dead letters unless told otherwise."""
    rows = run(with_database(read_settings(**place), lambda db: list_in_state(db, State(state))))
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("None.")
        return
    table = Table(show_edge=False)
    shown = ("id", "type", "sender", "received", "what happened")
    for column in shown:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(row[column] or "") for column in shown))
    Console().print(table)


@deliveries_group.command("show")
@click.argument("delivery_id", metavar="ID", type=int)
@config_options
@json_option
def show_command(*, delivery_id: int, as_json: bool, **place: Any) -> None:
    """Say what happened to delivery ID, what it means and what to do."""
    told = run(with_database(read_settings(**place), lambda db: show(db, delivery_id)))
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        if text not in {None, ""}:
            click.echo(f"{name}: {text}")


@deliveries_group.command("replay")
@click.argument("delivery_id", metavar="ID", type=int, required=False)
@click.option("--all", "all_letters", is_flag=True, help="Every dead letter whose bytes are kept.")
@click.option("--by", default=getpass.getuser, help="Who does it; by default the system user.")
@config_options
@json_option
def replay_command(
    *, delivery_id: int | None, all_letters: bool, by: str, as_json: bool, **place: Any
) -> None:
    """Bring dead letter ID back: it is examined again, then brought to the backend."""
    if all_letters == (delivery_id is not None):
        fail("Name one delivery, or all of them with --all. Nothing was changed.")
    settings, now = read_settings(**place), SystemClock().now()
    if delivery_id is not None:
        number = delivery_id
        said = run(with_database(settings, lambda db: replay(db, number, by=by, now=now)))
        _tell({"id": number, "state": State.RECEIVED.value}, f"Delivery {number}: {said}.", as_json=as_json)
        return
    counts = run(with_database(settings, lambda db: replay_all(db, by=by, now=now)))
    _tell(
        counts,
        f"{counts['replayed']} dead letters are back in the queue. {counts['erased']} stay: their bytes were "
        "erased.",
        as_json=as_json,
    )


@deliveries_group.command("drop")
@click.argument("delivery_id", metavar="ID", type=int)
@click.option("--by", default=getpass.getuser, help="Who does it; by default the system user.")
@config_options
@json_option
def drop_command(*, delivery_id: int, by: str, as_json: bool, **place: Any) -> None:
    """Drop dead letter ID for good."""
    now = SystemClock().now()
    said = run(with_database(read_settings(**place), lambda db: drop(db, delivery_id, by=by, now=now)))
    row = {"id": delivery_id, "state": State.DROPPED.value}
    _tell(row, f"Delivery {delivery_id}: {said}.", as_json=as_json)


def _tell(result: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        click.echo(sentence)
