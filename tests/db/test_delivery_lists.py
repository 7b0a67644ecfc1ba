"""Looking at deliveries without moving them, and letting go of finished ones."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from db import deliveries
from db.deliveries import DeliveryState
from tests.db.builders import LEASE, NOW, new_delivery
from tests.db.queue import claim, insert, move

if TYPE_CHECKING:
    from db.pool import Database

SECOND = timedelta(seconds=1)


async def test_next_due_ignores_what_stands_behind_another(database: Database) -> None:
    async with database.connection() as conn:
        assert await deliveries.next_due(conn) is None
    first = await insert(database, new_delivery(1, chain_key="note"))
    await insert(database, new_delivery(2, chain_key="note"))
    await claim(database)
    async with database.connection() as conn:
        assert await deliveries.next_due(conn) == NOW + LEASE
    until = NOW + SECOND
    await move(database, first, DeliveryState.EXAMINING, DeliveryState.HELD, worker="w", hold_until=until)
    async with database.connection() as conn:
        assert await deliveries.next_due(conn) == until


async def test_holds_are_due_when_their_budget_ends(database: Database) -> None:
    held = await insert(database, new_delivery(1, hold_until=NOW + SECOND))
    await claim(database)
    assert await move(database, held, DeliveryState.EXAMINING, DeliveryState.HELD, worker="w")
    async with database.connection() as conn:
        assert await deliveries.due_holds(conn, now=NOW, limit=10) == ()
        due = await deliveries.due_holds(conn, now=NOW + SECOND, limit=10)
    assert [(one.id, one.state) for one in due] == [(held, DeliveryState.HELD)]


async def test_states_are_counted_and_listed(database: Database) -> None:
    ids = [await insert(database, new_delivery(number)) for number in range(3)]
    await insert(database, new_delivery(3))
    for one in ids:
        await move(database, one, DeliveryState.RECEIVED, DeliveryState.DEAD, reason="poison")
    async with database.connection() as conn:
        counts = await deliveries.count_by_state(conn)
        assert await deliveries.count_unfinished(conn) == 1
        page = await deliveries.list_deliveries(conn, DeliveryState.DEAD, 2)
        rest = await deliveries.list_deliveries(conn, DeliveryState.DEAD, 2, after_id=page[-1].id)
    assert counts.pop(DeliveryState.DEAD) == 3
    assert counts.pop(DeliveryState.RECEIVED) == 1
    assert counts == {state: 0 for state in DeliveryState if state in counts}
    assert [one.id for one in (*page, *rest)] == ids
    assert page[0].has_body
    assert page[0].reason == "poison"


async def test_bodies_are_erased_before_rows_and_dead_letters_keep_theirs(database: Database) -> None:
    dropped = await insert(database, new_delivery(1))
    dead = await insert(database, new_delivery(2))
    live = await insert(database, new_delivery(3))
    await move(database, dropped, DeliveryState.RECEIVED, DeliveryState.DROPPED)
    await move(database, dead, DeliveryState.RECEIVED, DeliveryState.DEAD)
    async with database.connection() as conn:
        assert await deliveries.erase_bodies(conn, before=NOW, limit=10) == 0
        assert await deliveries.erase_bodies(conn, before=NOW + SECOND, limit=10) == 1
        assert await deliveries.erase_bodies(conn, before=NOW + SECOND, limit=10) == 0
        assert await deliveries.insert_delivery(conn, new_delivery(1)) is None
        erased = await deliveries.find_delivery(conn, dropped)
        kept = await deliveries.find_delivery(conn, dead)
        assert erased is not None
        assert kept is not None
        assert (erased.body, kept.body) == (b"", new_delivery(2).body)
        assert await deliveries.purge_finished(conn, before=NOW + SECOND, limit=1) == 1
        assert await deliveries.purge_finished(conn, before=NOW + SECOND, limit=10) == 1
        assert await deliveries.find_delivery(conn, live) is not None
        assert await deliveries.find_delivery(conn, dead) is None
