"""Who stands in whose way: copies, strangers' chains, and shares of the backlog."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from db import deliveries
from relay.lifecycle import State
from relay.model import Location, MediaReference, Sender
from relay.stages.store import HoldPolicy, NotStored, is_queued_behind, store
from relay.tools.limits import UNVERIFIED, Backlog, FairShare, share_of
from tests.relay.stages.parts import ALICE, NOTE, delivery

if TYPE_CHECKING:
    from db.pool import Database
    from relay.model import Delivery

MALLORY = "https://evil.example/users/mallory"
STRANGER = Sender(actor=MALLORY, key_id=f"{MALLORY}#main-key")
PICTURE = MediaReference(url="https://evil.example/never-answers.png", location=Location.ATTACHMENT)


def _hold(*, limit: int = 1_000) -> HoldPolicy:
    return HoldPolicy(
        budget=timedelta(minutes=5),
        window=timedelta(minutes=50),
        backlog=Backlog(limit=limit),
        fair_share=FairShare(per_second=10_000, burst=10_000),
    )


async def _store(database: Database, given: Delivery, hold: HoldPolicy | None = None) -> NotStored | None:
    return await store(given, database=database, hold=hold or _hold(), is_selftest=False)


async def _count(database: Database, state: State = State.RECEIVED) -> int:
    async with database.connection() as conn:
        return (await deliveries.count_by_state(conn))[state]


def _with_picture(given: Delivery) -> Delivery:
    return replace(given, activity=replace(given.activity, references=(PICTURE,)))


def _signed(given: Delivery, signature: str) -> Delivery:
    headers = (*given.message.headers, ("Signature", signature))
    return replace(given, message=replace(given.message, headers=headers))


async def test_an_unverified_copy_never_makes_the_senders_own_delivery_a_duplicate(
    database: Database,
) -> None:
    await _store(database, _signed(delivery(sender=None), "forged"))

    await _store(database, _signed(delivery(), "genuine"))

    assert await _count(database) == 2


async def test_an_unverified_copy_never_makes_another_unverified_one_a_duplicate(database: Database) -> None:
    """The key's origin may be down while the forgery and the genuine delivery come in."""
    await _store(database, _signed(delivery(sender=None), "forged"))

    await _store(database, _signed(delivery(sender=None), "genuine"))
    await _store(database, _signed(delivery(sender=None), "genuine"))

    assert await _count(database) == 2


async def test_what_a_third_party_passes_on_never_makes_the_actors_own_delivery_a_duplicate(
    database: Database,
) -> None:
    await _store(database, delivery(sender=STRANGER))

    await _store(database, delivery())

    assert await _count(database) == 2


async def test_nobody_who_is_unverified_stands_in_an_objects_way(database: Database) -> None:
    await _store(database, _with_picture(delivery(sender=None)))

    assert not await is_queued_behind(delivery("Update", number=2), database=database)


async def test_no_strangers_picture_stands_in_an_objects_way(database: Database) -> None:
    await _store(database, _with_picture(delivery("Update", sender=STRANGER)))

    assert not await is_queued_behind(delivery("Update", number=2), database=database)


async def test_nobody_stands_in_an_objects_way_by_taking_its_id_for_an_activity(database: Database) -> None:
    boost = _with_picture(delivery("Announce", sender=STRANGER))
    await _store(database, replace(boost, activity=replace(boost.activity, id=NOTE, chain_key=NOTE)))

    assert not await is_queued_behind(delivery("Update", number=2), database=database)


async def test_what_a_community_announces_of_anothers_object_keeps_its_order(database: Database) -> None:
    boost = _with_picture(delivery("Announce", sender=STRANGER))
    ended = delivery("Delete", number=2, sender=STRANGER)
    await _store(database, replace(boost, activity=replace(boost.activity, chain_key=NOTE)))

    assert await is_queued_behind(ended, database=database)
    await _store(database, ended)
    async with database.connection() as conn:
        first, second = await deliveries.list_deliveries(conn, State.RECEIVED, 9)
    assert first.chain_key == second.chain_key


async def test_the_authors_delete_drops_unverified_copies_too(database: Database) -> None:
    await _store(database, delivery(sender=None))

    await _store(database, delivery("Delete", number=2))

    assert await _count(database, State.DROPPED) == 1


async def test_deliveries_that_nobody_verified_take_a_tenth_of_the_backlog_and_no_more(
    database: Database,
) -> None:
    hold = _hold(limit=1_000)
    hold.backlog.set(99, by_domain={UNVERIFIED: 99})

    assert await _store(database, delivery(sender=None), hold) is None
    assert await _store(database, delivery(number=2, sender=None), hold) == NotStored(is_flood=True)
    assert await _store(database, delivery(number=3), hold) is None


async def test_no_domain_fills_the_backlog_alone(database: Database) -> None:
    hold = _hold(limit=1_000)
    hold.backlog.set(100, by_domain={share_of(MALLORY): 100})
    assert await _store(database, delivery(sender=STRANGER), hold) is None

    hold.backlog.set(500, by_domain={share_of(MALLORY): 100, share_of(ALICE): 99})

    assert await _store(database, delivery(number=2, sender=STRANGER), hold) == NotStored(is_flood=True)
    assert await _store(database, delivery(number=3), hold) is None


def test_a_share_is_given_back_when_a_delivery_is_finished() -> None:
    backlog = Backlog(limit=1_000)
    for _ in range(100):
        backlog.add(1, domain=UNVERIFIED)
    assert not backlog.has_room_for(UNVERIFIED)
    assert backlog.is_worth_a_recount

    backlog.add(-1, domain=UNVERIFIED)

    assert backlog.has_room_for(UNVERIFIED)
