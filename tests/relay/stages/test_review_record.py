"""What is written down of what must not be kept, and who is asked about what is held."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, media
from relay.lifecycle import State
from relay.model import DeliveryDecision, Evidence, EvidenceBasis, FetchFailure, MediaDecision
from relay.stages.record import record_decision
from relay.stages.store import HoldPolicy, store
from relay.tools.limits import Backlog, FairShare
from scanner.labels import Category
from scanner.report import Verdict
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
    from db.delivery_rows import StoredDelivery
    from db.pool import Database
    from relay.model import Decision

KNOWN = report(Verdict.MATCH, findings=(finding(Category.CSAM_KNOWN),))


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


async def _record(database: Database, stored: StoredDelivery, given: Decision) -> State | None:
    return await record_decision(stored, given, database=database, worker=WORKER, now=START)


@pytest.mark.parametrize("then", [DeliveryDecision.DROP, DeliveryDecision.HOLD])
async def test_of_media_that_must_not_be_kept_no_address_is_written_down(
    then: DeliveryDecision, database: Database, stored: StoredDelivery
) -> None:
    known = outcome(
        evidence(KNOWN), MediaDecision.BLOCK, category=Category.CSAM_KNOWN.value, needs_case=True, purge=True
    )

    await _record(database, stored, decision(then, known, outcome()))

    async with database.connection() as conn:
        rows = await media.list_delivery_media(conn, stored.id)
    assert [(row.url, row.category) for row in rows] == [("", Category.CSAM_KNOWN.value), (PICTURE, None)]
    assert (await find(database, stored.id)).body == (b"" if then is DeliveryDecision.DROP else stored.body)


async def test_inline_bytes_are_not_written_down_however_their_scheme_is_written(
    database: Database, stored: StoredDelivery
) -> None:
    given = outcome(evidence(url="DATA:image/png;base64,AAAA"))

    await _record(database, stored, decision(DeliveryDecision.FORWARD, given))

    async with database.connection() as conn:
        assert [row.url for row in await media.list_delivery_media(conn, stored.id)] == ["data:"]


@pytest.mark.parametrize("with_retry", [False, True])
async def test_whatever_is_held_is_somebodys_case(
    *, with_retry: bool, database: Database, stored: StoredDelivery
) -> None:
    slow = Evidence(reference=reference(), basis=EvidenceBasis.FETCH, failure=FetchFailure.TIMEOUT)
    outcomes = [outcome(slow, MediaDecision.WITHHOLD)] if with_retry else []
    given = decision(DeliveryDecision.HOLD, *outcomes, reason="too_many_references")

    assert await _record(database, stored, given) is State.HELD

    async with database.connection() as conn:
        (case,) = await cases.list_cases_of(conn, stored.id)
    assert (case.state, case.basis, case.sha256) == (cases.CaseState.OPEN, "too_many_references", None)
