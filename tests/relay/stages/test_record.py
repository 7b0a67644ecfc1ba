"""What was decided is written down together with the move that follows from it, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import audit, cases, media
from relay.lifecycle import GIVE_UP_AFTER, LEASE, RETRY_DELAYS, State
from relay.model import (
    Decision,
    DeliveryDecision,
    Dispatched,
    Evidence,
    EvidenceBasis,
    FetchFailure,
    MediaDecision,
    Receipt,
)
from relay.stages.record import record_decision, record_dispatch
from relay.stages.store import HoldPolicy, store
from relay.tools.limits import Backlog, FairShare
from scanner.labels import Category
from scanner.report import Basis, Verdict
from tests.fediverse.clock import START
from tests.relay.stages.parts import (
    PICTURE,
    WORKER,
    claim,
    decision,
    delivery,
    evidence,
    find,
    finding,
    outcome,
    reference,
    report,
)

if TYPE_CHECKING:
    from datetime import datetime

    from db.delivery_rows import StoredDelivery
    from db.pool import Database

LATER = START + timedelta(seconds=2)
MATCH = report(Verdict.MATCH, findings=(finding(basis=Basis.NEAR_HASH),))
WITHHELD = outcome(evidence(MATCH), MediaDecision.WITHHOLD, category=Category.SPAM.value, needs_case=True)


@pytest.fixture
async def stored(database: Database) -> StoredDelivery:
    """A delivery that is being examined."""
    hold = HoldPolicy(
        budget=timedelta(minutes=5),
        window=timedelta(minutes=50),
        backlog=Backlog(limit=10),
        fair_share=FairShare(per_second=10, burst=10),
    )
    assert await store(delivery(), database=database, hold=hold, is_selftest=False) is None
    return await claim(database)


async def _record(
    database: Database,
    stored: StoredDelivery,
    given: Decision,
    *,
    now: datetime = LATER,
    worker: str = WORKER,
) -> State | None:
    return await record_decision(stored, given, database=database, worker=worker, now=now)


async def _cases(database: Database, stored: StoredDelivery) -> tuple[cases.Case, ...]:
    async with database.connection() as conn:
        return await cases.list_cases_of(conn, stored.id)


async def _media(database: Database, stored: StoredDelivery) -> tuple[media.DeliveryMedia, ...]:
    async with database.connection() as conn:
        return await media.list_delivery_media(conn, stored.id)


async def test_a_released_delivery_goes_on_under_a_new_lease(
    database: Database, stored: StoredDelivery
) -> None:
    assert await _record(database, stored, decision(DeliveryDecision.FORWARD, outcome())) is State.FORWARDING

    after = await find(database, stored.id)
    assert (after.state, after.worker, after.due_at) == (State.FORWARDING, WORKER, LATER + LEASE)
    assert after.body == stored.body
    (row,) = await _media(database, stored)
    assert (row.url, row.verdict, row.decision, row.category) == (PICTURE, "no-match", "release", None)
    assert not await _cases(database, stored)


async def test_a_withheld_one_is_held_with_a_case_that_the_audit_log_only_counts(
    database: Database, stored: StoredDelivery
) -> None:
    given = decision(DeliveryDecision.HOLD, WITHHELD, reason="media_withheld")

    assert await _record(database, stored, given) is State.HELD

    after = await find(database, stored.id)
    assert (after.state, after.reason, after.body) == (State.HELD, "media_withheld", stored.body)
    (case,) = await _cases(database, stored)
    assert (case.category, case.basis, case.sha256) == ("spam", "near_hash", MATCH.fingerprints.sha256)
    async with database.connection() as conn:
        (entry,) = await audit.list_entries(conn, limit=10)
    assert (entry.event, entry.detail) == ("case_opened", {"case": case.id})


async def test_the_same_finding_opens_one_case_however_often_it_is_recorded(
    database: Database, stored: StoredDelivery
) -> None:
    twice = decision(DeliveryDecision.HOLD, WITHHELD, WITHHELD)

    await _record(database, stored, twice)

    assert len(await _cases(database, stored)) == 1
    assert [row.ordinal for row in await _media(database, stored)] == [0, 1]


async def test_a_dropped_delivery_leaves_no_body_behind(database: Database, stored: StoredDelivery) -> None:
    blocked = outcome(
        evidence(MATCH), MediaDecision.BLOCK, category=Category.CSAM_KNOWN.value, needs_case=True, purge=True
    )

    assert await _record(database, stored, decision(DeliveryDecision.DROP, blocked)) is State.DROPPED

    after = await find(database, stored.id)
    assert (after.state, after.body, after.finished_at) == (State.DROPPED, b"", LATER)
    assert len(await _cases(database, stored)) == 1


async def test_what_could_not_be_looked_at_is_looked_at_again_after_a_while(
    database: Database, stored: StoredDelivery
) -> None:
    unknown = Evidence(reference=reference(), basis=EvidenceBasis.FETCH, failure=FetchFailure.SERVER_ERROR)
    given = decision(DeliveryDecision.RETRY, outcome(unknown, MediaDecision.WITHHOLD), reason="not_examined")

    assert await _record(database, stored, given) is State.RECEIVED

    after = await find(database, stored.id)
    assert (after.state, after.retries, after.due_at) == (State.RECEIVED, 1, LATER + RETRY_DELAYS[0])
    (row,) = await _media(database, stored)
    assert (row.failure, row.sha256, row.verdict) == ("server_error", None, None)


async def test_after_three_days_it_is_given_up_with_its_body(
    database: Database, stored: StoredDelivery
) -> None:
    given = decision(DeliveryDecision.RETRY, reason="not_examined")

    reached = await _record(database, stored, given, now=START + GIVE_UP_AFTER)

    assert reached is State.DEAD
    after = await find(database, stored.id)
    assert (after.state, after.reason, after.body) == (State.DEAD, "not_examined", stored.body)


async def test_what_nobody_could_fetch_is_a_case_of_its_own(
    database: Database, stored: StoredDelivery
) -> None:
    gone = Evidence(reference=reference(), basis=EvidenceBasis.FETCH, failure=FetchFailure.GONE)
    given = decision(DeliveryDecision.HOLD, outcome(gone, MediaDecision.WITHHOLD, needs_case=True))

    await _record(database, stored, given)

    (case,) = await _cases(database, stored)
    assert (case.category, case.basis, case.sha256) == ("unexamined", "fetch", None)


async def test_an_unscannable_file_is_a_case_by_its_verdict(
    database: Database, stored: StoredDelivery
) -> None:
    """Where only an advisory detector found something, that is not what the case rests on."""
    unclear = report(Verdict.UNSCANNABLE, findings=(finding(advisory=True),))
    given = decision(
        DeliveryDecision.HOLD, outcome(evidence(unclear), MediaDecision.WITHHOLD, needs_case=True)
    )

    await _record(database, stored, given)

    assert [case.basis for case in await _cases(database, stored)] == ["unscannable"]


async def test_bytes_inside_the_activity_are_not_stored_a_second_time(
    database: Database, stored: StoredDelivery
) -> None:
    inline = evidence(url="data:image/png;base64,AAAA")

    await _record(database, stored, decision(DeliveryDecision.FORWARD, outcome(inline)))

    assert [row.url for row in await _media(database, stored)] == ["data:"]


async def test_without_the_lease_nothing_at_all_is_recorded(
    database: Database, stored: StoredDelivery
) -> None:
    given = decision(DeliveryDecision.HOLD, WITHHELD)

    assert await _record(database, stored, given, worker="another") is None

    assert await find(database, stored.id) == stored
    assert not await _cases(database, stored)
    assert not await _media(database, stored)


async def _dispatch(
    database: Database,
    stored: StoredDelivery,
    receipt: Receipt,
    *,
    now: datetime = LATER,
    worker: str = WORKER,
) -> State | None:
    await _record(database, stored, decision(DeliveryDecision.FORWARD))
    dispatched = Dispatched(receipt=receipt, reason="backend_said_so")
    return await record_dispatch(stored, dispatched, database=database, worker=worker, now=now)


@pytest.mark.parametrize(
    ("receipt", "state"),
    [
        (Receipt.TAKEN, State.FORWARDED),
        (Receipt.REFUSED, State.FORWARDED),
        (Receipt.STALE, State.DEAD),
        (Receipt.TRY_AGAIN, State.DECIDED),
    ],
)
async def test_every_receipt_leads_somewhere(
    receipt: Receipt, state: State, database: Database, stored: StoredDelivery
) -> None:
    assert await _dispatch(database, stored, receipt) is state

    after = await find(database, stored.id)
    assert (after.state, after.reason) == (state, "backend_said_so")
    if receipt is Receipt.TRY_AGAIN:
        assert (after.retries, after.due_at) == (1, LATER + RETRY_DELAYS[0])


async def test_a_backend_that_stays_away_for_three_days_makes_a_dead_letter(
    database: Database, stored: StoredDelivery
) -> None:
    assert await _dispatch(database, stored, Receipt.TRY_AGAIN, now=START + GIVE_UP_AFTER) is State.DEAD
    assert (await find(database, stored.id)).body == stored.body


async def test_the_waits_between_the_tries_become_longer(database: Database, stored: StoredDelivery) -> None:
    tried = replace(stored, retries=3)
    assert await _dispatch(database, tried, Receipt.TRY_AGAIN) is State.DECIDED
    assert (await find(database, stored.id)).due_at == LATER + RETRY_DELAYS[3]


async def test_a_receipt_without_the_lease_moves_nothing(database: Database, stored: StoredDelivery) -> None:
    assert await _dispatch(database, stored, Receipt.TAKEN, worker="another") is None
    assert (await find(database, stored.id)).state is State.FORWARDING
