"""Errands are carried out once each, tried again while it may help, and given up where everybody sees it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import errands
from db.errands import Errand, ErrandKind, ErrandState
from relay.backends.abilities import ApiFailure, Refusal
from relay.errands import worker as worker_module
from relay.errands.results import Carried
from relay.errands.uploads import UploadTools
from relay.errands.worker import ErrandTools, ErrandWorkers, decide_due
from relay.lifecycle import LEASE, MAX_LEASE_LOSSES, RETRY_DELAYS
from relay.metrics import Metrics
from relay.tools.naps import decide_nap
from tests.e2e.world import wait_until
from tests.fediverse import FrozenClock
from tests.fediverse.clock import START
from tests.relay.errands.api import ScriptedApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.pool import Database

POST = "https://a.example/notes"
SECOND = timedelta(seconds=1)
ERRAND = Errand(
    id=1,
    kind=ErrandKind.REPORT,
    subject=POST,
    case_id=1,
    payload={},
    state=ErrandState.WORKING,
    due_at=START,
    worker="w",
    tries=0,
    lost_leases=0,
    reason=None,
    created_at=START,
    tried_since=START,
    updated_at=START,
    finished_at=None,
)


class Office:
    """Workers of one process, their clock and their backend."""

    def __init__(self, database: Database, api: ScriptedApi, *, name: str = "one") -> None:
        self.clock, self.metrics, self.api, self.database = FrozenClock(), Metrics(), api, database
        tools = ErrandTools(
            database=database,
            api=api,
            uploads=UploadTools(line=None, hosts=frozenset(), source=None),  # type: ignore[arg-type]
            metrics=self.metrics,
            clock=self.clock,
            name=name,
        )
        self.workers = ErrandWorkers(tools)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.workers.run())
            try:
                yield
            finally:
                self.workers.stop()

    async def add(self, number: int = 1) -> int:
        async with self.database.connection() as conn:
            added = await errands.add(
                conn,
                kind=ErrandKind.REPORT,
                subject=f"{POST}/{number}",
                payload={"object": f"{POST}/{number}"},
                case_id=number,
                now=self.clock.now(),
            )
        assert added is not None
        return added

    async def find(self, errand_id: int) -> Errand:
        async with self.database.connection() as conn:
            found = await errands.find(conn, errand_id)
        assert found is not None
        return found

    async def wait_for(self, errand_id: int, *states: ErrandState, tries: int = 0) -> Errand:
        async def look() -> Errand | None:
            found = await self.find(errand_id)
            return found if found.state in states and found.tries >= tries else None

        return await wait_until(look, f"an errand in {states}")


@pytest.fixture
def office(database: Database) -> Office:
    return Office(database, ScriptedApi())


async def test_an_errand_is_carried_out_and_nothing_of_it_is_kept(office: Office) -> None:
    errand_id = await office.add()
    async with office.at_work():
        done = await office.wait_for(errand_id, ErrandState.DONE)
    assert (done.payload, done.reason) == ({}, None)
    assert [words[:2] for words in office.api.asked] == [("report", f"{POST}/1")]
    assert 'breakwater_errands_total{kind="report",outcome="done"} 1.0' in office.metrics.render()[0].decode()


async def test_an_errand_that_comes_while_they_wait_is_begun_at_once(office: Office) -> None:
    async with office.at_work():
        await office.wait_for(await office.add(1), ErrandState.DONE)
        await office.wait_for(await office.add(2), ErrandState.DONE)


async def test_what_may_pass_is_tried_again_when_its_time_has_come(office: Office) -> None:
    office.api.answers += [ApiFailure(kind=Refusal.UNAVAILABLE, detail="no connection")] * 2
    errand_id = await office.add()
    async with office.at_work():
        for tries, delay in enumerate(RETRY_DELAYS[:2], start=1):
            put_back = await office.wait_for(errand_id, ErrandState.WAITING, tries=tries)
            assert put_back.reason == "unavailable: no connection"
            assert put_back.due_at == office.clock.now() + delay
            office.clock.advance(delay)
            office.workers.wake()
        assert (await office.wait_for(errand_id, ErrandState.DONE)).tries == 2
    assert len(office.api.asked) == 3


async def test_what_a_person_must_mend_fails_at_once_and_stops_nothing_else(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.api.answers.append(ApiFailure(kind=Refusal.FORBIDDEN, detail="the token may not"))
    first = await office.add(1)
    async with office.at_work():
        failed = await office.wait_for(first, ErrandState.FAILED)
        await office.wait_for(await office.add(2), ErrandState.DONE)
    assert failed.reason == "forbidden: the token may not"
    assert failed.payload == {"object": f"{POST}/1"}
    assert f"errand_moved errand={first} kind=report state=failed" in caplog.text
    assert POST not in caplog.text


async def test_uploads_that_come_slowly_keep_no_report_waiting(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, never = asyncio.Semaphore(0), asyncio.Event()

    async def stall(errand: Errand, *, tools: object) -> Carried:
        begun.release()
        await never.wait()
        return Carried()

    monkeypatch.setattr(worker_module, "examine_upload", stall)
    async with office.database.connection() as conn:
        for number in range(9):
            await errands.add(
                conn, kind=ErrandKind.EXAMINE_UPLOAD, subject=str(number), now=office.clock.now()
            )
    async with office.at_work():
        await begun.acquire()
        await office.wait_for(await office.add(), ErrandState.DONE)
        never.set()


async def test_two_processes_do_each_errand_once(database: Database) -> None:
    api = ScriptedApi()
    offices = [Office(database, api, name=str(number)) for number in range(2)]
    ids = [await offices[0].add(number) for number in range(12)]
    async with offices[0].at_work(), offices[1].at_work():
        for errand_id in ids:
            await offices[0].wait_for(errand_id, ErrandState.DONE)
    assert len(api.asked) == len(set(api.asked)) == 12


async def test_a_lost_errand_goes_on_with_its_lease_and_is_given_up_when_it_is_lost_again_and_again(
    office: Office,
) -> None:
    errand_id = await office.add()
    for number in range(MAX_LEASE_LOSSES + 1):
        async with office.database.connection() as conn:
            lost = await errands.claim(conn, worker="lost", lease=LEASE, now=START + number * LEASE)
            assert lost is not None
            assert lost.lost_leases == number
    office.clock.advance((MAX_LEASE_LOSSES + 1) * LEASE)
    async with office.at_work():
        failed = await office.wait_for(errand_id, ErrandState.FAILED)
    assert (failed.reason or "").startswith("poison")
    assert office.api.asked == []


async def test_a_fault_of_ours_leaves_the_errand_to_its_lease_and_the_worker_at_work(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    broken = await office.add(1)
    async with office.database.connection() as conn:
        await conn.execute(
            "UPDATE errands SET kind = 'examine_upload', payload = $2 WHERE id = $1",
            broken,
            {
                "id": "1",
                "uri": "u",
                "actor": "",
                "edited_at": "",
                "is_public": True,
                "media": [],
            },
        )
    async with office.at_work():
        # Without a line there is nothing to examine with: an AttributeError.
        await office.wait_for(await office.add(2), ErrandState.DONE)

        async def said() -> bool | None:
            return "errand_failed errors=AttributeError" in caplog.text or None

        await wait_until(said, "the fault in the log")
    assert (await office.find(broken)).state is ErrandState.WORKING


async def test_what_does_not_end_soon_after_the_stop_is_put_back(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_GRACE", timedelta())
    office.api.gate = asyncio.Event()
    errand_id = await office.add()
    async with office.at_work():

        async def begun() -> bool | None:
            return bool(office.api.asked) or None

        await wait_until(begun, "a question to the backend")
    put_back = await office.find(errand_id)
    assert (put_back.state, put_back.reason) == (ErrandState.WAITING, "interrupted")
    assert put_back.due_at == office.clock.now()


async def test_what_is_under_way_may_end_after_the_stop(office: Office) -> None:
    office.api.gate = asyncio.Event()
    errand_id = await office.add()
    async with office.at_work():

        async def begun() -> bool | None:
            return bool(office.api.asked) or None

        await wait_until(begun, "a question to the backend")
        office.workers.stop()
        office.api.gate.set()
    assert (await office.find(errand_id)).state is ErrandState.DONE


def test_an_errand_is_tried_for_three_days_and_then_given_up() -> None:
    due_at: object = START
    now, tries = START, 0
    while (next_at := decide_due(replace(ERRAND, tries=tries), after=None, now=now)) is not None:
        assert next_at > now
        now, tries, due_at = next_at, tries + 1, next_at
    assert timedelta(hours=66) < now - START <= timedelta(hours=72)
    assert due_at == now


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (None, RETRY_DELAYS[0]),
        (SECOND, RETRY_DELAYS[0]),
        (timedelta(minutes=5), timedelta(minutes=5)),
        (timedelta(days=9), RETRY_DELAYS[-1]),
    ],
)
def test_a_backend_is_left_alone_for_as_long_as_it_asks_within_reason(
    after: timedelta | None, expected: timedelta
) -> None:
    assert decide_due(ERRAND, after=after, now=START) == START + expected


@pytest.mark.parametrize(
    ("due", "expected"),
    [
        (None, timedelta(seconds=5)),
        (START + SECOND, SECOND),
        (START + timedelta(hours=1), timedelta(seconds=5)),
        (START + timedelta(microseconds=1), timedelta(milliseconds=20)),
        (START, SECOND),
    ],
)
def test_they_sleep_until_something_is_due(due: object, expected: timedelta) -> None:
    assert decide_nap(due, now=START) == expected  # type: ignore[arg-type]
