"""202 means that it is on disk, once; and who may end what."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, deliveries
from db.cases import CaseState
from relay.lifecycle import LEASE, State, move
from relay.model import Sender
from relay.stages.store import HoldPolicy, NotStored, delivery_domain, is_queued_behind, store
from relay.tools.limits import Backlog, FairShare
from tests.fediverse.clock import START
from tests.relay.letters import build_signed
from tests.relay.stages.parts import ALICE, NOTE, claim, delivery, find

if TYPE_CHECKING:
    from db.pool import Database
    from relay.model import Delivery

MALLORY = "https://evil.example/users/mallory"
BUDGET = timedelta(minutes=5)
WINDOW = timedelta(minutes=50)


def _hold(*, limit: int = 10, burst: int = 10) -> HoldPolicy:
    return HoldPolicy(
        budget=BUDGET,
        window=WINDOW,
        backlog=Backlog(limit=limit),
        fair_share=FairShare(per_second=1, burst=burst),
    )


async def _store(database: Database, given: Delivery, hold: HoldPolicy | None = None) -> NotStored | None:
    return await store(given, database=database, hold=hold or _hold(), is_selftest=False)


async def _states(database: Database) -> dict[State, int]:
    async with database.connection() as conn:
        counts = await deliveries.count_by_state(conn)
    return {state: count for state, count in counts.items() if count}


async def test_everything_that_makes_up_the_request_comes_back_from_the_store(database: Database) -> None:
    given = delivery()
    assert await _store(database, given) is None

    stored = await claim(database)

    message = given.message
    assert (stored.method, stored.scheme, stored.authority) == ("POST", "https", "instance.example")
    assert (stored.target, stored.headers, stored.body) == (message.target, message.headers, message.body)
    assert (stored.sender_actor, stored.chain_key, stored.hold_until) == (ALICE, NOTE, START + BUDGET)
    assert (stored.audience, stored.remote_address, stored.is_selftest) == ("public", "192.0.2.7", False)


async def test_the_same_delivery_twice_is_stored_and_counted_once(database: Database) -> None:
    hold = _hold(limit=2)

    assert [await _store(database, delivery(), hold) for _ in range(3)] == [None] * 3
    assert await _states(database) == {State.RECEIVED: 1}
    assert not hold.backlog.is_full


async def test_a_full_backlog_takes_nothing(database: Database) -> None:
    hold = _hold(limit=2)
    assert await _store(database, delivery(number=1), hold) is None
    assert await _store(database, delivery(number=2), hold) is None

    assert await _store(database, delivery(number=3), hold) == NotStored(is_flood=False)
    assert await _states(database) == {State.RECEIVED: 2}


async def test_a_flood_is_its_own_domains_fault_and_ebbs(database: Database) -> None:
    hold = _hold(burst=1)
    other = Sender(actor="https://beta.example/users/bob", key_id="https://beta.example/users/bob#main-key")
    assert await _store(database, delivery(number=1), hold) is None

    assert await _store(database, delivery(number=2), hold) == NotStored(is_flood=True)
    assert await _store(database, delivery(number=3, sender=other), hold) is None
    later = delivery(number=2, received_at=START + timedelta(seconds=1))
    assert await _store(database, later, hold) is None


def test_a_sender_who_is_not_known_answers_with_its_address() -> None:
    assert delivery_domain(delivery()) == "alpha.example"
    assert delivery_domain(delivery(sender=None)) == "192.0.2.7"


@pytest.mark.parametrize("kind", ["Create", "Update", "Undo", "Announce", "Delete"])
async def test_what_changes_an_object_queues_behind_what_is_still_on_its_way(
    kind: str, database: Database
) -> None:
    follow_up = delivery(kind, number=2)
    if kind in {"Undo", "Announce"}:
        follow_up = replace(follow_up, activity=replace(follow_up.activity, chain_key=NOTE))
    assert not await is_queued_behind(follow_up, database=database)

    await _store(database, delivery())

    assert await is_queued_behind(follow_up, database=database)


async def test_a_like_overtakes(database: Database) -> None:
    await _store(database, delivery())
    like = delivery("Like", number=2)

    assert not await is_queued_behind(
        replace(like, activity=replace(like.activity, chain_key=NOTE)), database=database
    )
    nameless = delivery("Update", number=3)
    assert not await is_queued_behind(
        replace(nameless, activity=replace(nameless.activity, chain_key="")), database=database
    )


async def test_the_authors_delete_drops_what_waits_and_goes_on_itself(database: Database) -> None:
    await _store(database, delivery())
    await _store(database, delivery("Update", number=2))

    await _store(database, delivery("Delete", number=3))

    assert await _states(database) == {State.DROPPED: 2, State.RECEIVED: 1}
    assert (await claim(database)).activity_type == "Delete"


async def test_what_is_on_its_way_to_the_backend_is_not_dropped_but_followed(database: Database) -> None:
    await _store(database, delivery())
    claimed = await claim(database)
    async with database.connection() as conn:
        await deliveries.advance(
            conn,
            claimed.id,
            expected=State.EXAMINING,
            to=State.FORWARDING,
            now=START,
            worker=claimed.worker,
            due_at=START + LEASE,
        )

    await _store(database, delivery("Delete", number=2))

    assert (await find(database, claimed.id)).state is State.FORWARDING
    assert await _states(database) == {State.FORWARDING: 1, State.RECEIVED: 1}


@pytest.mark.parametrize(
    "sender",
    [
        None,
        Sender(actor=MALLORY, key_id=f"{MALLORY}#main-key"),
        Sender(actor="http://alpha.example/users/alice", key_id="http://alpha.example/k"),
        Sender(actor="https://alpha.example:444/users/alice", key_id="https://alpha.example:444/k"),
        Sender(actor="https://alpha.example.evil.example/a", key_id="https://alpha.example.evil.example/k"),
    ],
)
async def test_a_delete_by_anybody_else_drops_nothing(sender: Sender | None, database: Database) -> None:
    await _store(database, delivery())

    await _store(database, delivery("Delete", number=2, sender=sender))

    assert await _states(database) == {State.RECEIVED: 2}


async def _bury(database: Database, reason: str = "too_old") -> int:
    claimed = await claim(database)
    async with database.connection() as conn:
        await move(
            conn,
            claimed.id,
            expected=State.EXAMINING,
            to=State.DEAD,
            now=START,
            worker=claimed.worker,
            reason=reason,
        )
    return claimed.id


async def test_a_delete_does_not_go_past_a_dead_letter_of_its_object_but_ends_it(database: Database) -> None:
    """Or a person could bring back what its author took back."""
    await _store(database, delivery())
    delivery_id = await _bury(database)

    assert await is_queued_behind(delivery("Delete"), database=database)
    assert not await is_queued_behind(delivery("Update"), database=database)
    stranger = delivery("Delete", actor=MALLORY, sender=Sender(actor=MALLORY, key_id=f"{MALLORY}#main-key"))
    assert not await is_queued_behind(stranger, database=database)
    await _store(database, delivery("Delete"))

    ended = await find(database, delivery_id)
    assert (ended.state, ended.reason, ended.body) == (State.DROPPED, "superseded", b"")


async def test_a_delete_closes_the_cases_in_which_nothing_was_found_and_no_others(database: Database) -> None:
    await _store(database, delivery())
    delivery_id = (await claim(database)).id
    async with database.connection() as conn:
        for category, sha256 in ((cases.UNEXAMINED, None), ("csam-suspected", bytes(32))):
            await cases.open_case(
                conn, category=category, delivery_id=delivery_id, sha256=sha256, basis="scan", now=START
            )

    await _store(database, delivery("Delete"))

    async with database.connection() as conn:
        states = {case.category: case.state for case in await cases.list_cases_of(conn, delivery_id)}
    assert states == {cases.UNEXAMINED: CaseState.EXPIRED, "csam-suspected": CaseState.OPEN}


@pytest.mark.parametrize(
    ("signed_before", "budget"),
    [
        (timedelta(), BUDGET),
        (timedelta(minutes=44), BUDGET),
        (timedelta(minutes=48), timedelta(minutes=2)),
        (timedelta(minutes=60), timedelta(minutes=-10)),
    ],
)
async def test_the_budget_ends_when_the_backend_would_find_the_signature_too_old(
    signed_before: timedelta, budget: timedelta, database: Database
) -> None:
    given = delivery()
    message = build_signed(given.message.body, signed_at=START - signed_before)

    await _store(database, replace(given, message=message))

    assert (await claim(database)).hold_until == START + budget
