"""The queue of errands."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import errands
from db.errands import Errand, ErrandKind, ErrandState
from tests.db.builders import LEASE, NOW

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Database

SECOND = timedelta(seconds=1)
NOTE = "https://a.example/notes/1"


async def add(
    database: Database,
    subject: str = NOTE,
    *,
    kind: ErrandKind = ErrandKind.REPORT,
    case_id: int | None = None,
    payload: dict[str, object] | None = None,
) -> int | None:
    async with database.connection() as conn:
        return await errands.add(conn, kind=kind, subject=subject, case_id=case_id, payload=payload, now=NOW)


async def claim(
    database: Database, *, now: datetime = NOW, worker: str = "w", kinds: tuple[ErrandKind, ...] | None = None
) -> Errand | None:
    async with database.connection() as conn:
        return await errands.claim(conn, worker=worker, lease=LEASE, now=now, kinds=kinds)


async def test_the_same_errand_is_added_once(database: Database) -> None:
    different = [
        await add(database),
        await add(database, kind=ErrandKind.REMOVE),
        await add(database, NOTE + "/2"),
        await add(database, case_id=1),
        await add(database, case_id=2),
    ]
    assert None not in different
    assert len(set(different)) == len(different)
    assert await add(database) is None
    assert await add(database, case_id=2) is None
    results = await asyncio.gather(*(add(database, "raced") for _ in range(6)))
    assert len([one for one in results if one is not None]) == 1


async def test_an_errand_that_is_undone_with_its_cause_was_never_there(database: Database) -> None:
    async def fail_after_adding() -> None:
        async with database.transaction() as conn:
            await errands.add(conn, kind=ErrandKind.REPORT, subject=NOTE, now=NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_after_adding()
    assert await claim(database) is None


async def test_what_was_not_needed_may_come_to_be_needed(database: Database) -> None:
    errand_id = await add(database, payload={"a": "b"})
    assert errand_id is not None
    await claim(database)
    async with database.connection() as conn:
        await errands.finish(
            conn, errand_id, worker="w", to=ErrandState.DONE, now=NOW, reason=errands.NOT_NEEDED
        )
    assert await add(database, payload={"a": "b"}) == errand_id
    again = await claim(database)
    assert again is not None
    assert (again.payload, again.reason) == ({"a": "b"}, None)


async def test_what_a_column_cannot_hold_is_replaced(database: Database) -> None:
    payload: dict[str, object] = {"a\0": ["b\0", {"c": "\ud800"}], "n": 1, "t": True, "none": None}
    errand_id = await add(database, "x\0\ud800", payload=payload)
    claimed = await claim(database)
    assert claimed is not None
    assert claimed.id == errand_id
    assert claimed.subject == "x\ufffd?"
    assert claimed.payload == {"a\ufffd": ["b\ufffd", {"c": "?"}], "n": 1, "t": True, "none": None}


async def test_each_errand_is_claimed_by_one_worker(database: Database) -> None:
    wanted = {await add(database, f"{NOTE}/{number}") for number in range(4)}
    claimed = await asyncio.gather(*(claim(database, worker=str(number)) for number in range(7)))
    got = [one for one in claimed if one is not None]
    assert {one.id for one in got} == wanted
    assert {one.state for one in got} == {ErrandState.WORKING}
    assert {(one.tries, one.lost_leases) for one in got} == {(0, 0)}


async def test_only_what_is_due_and_wanted_is_claimed(database: Database) -> None:
    async with database.connection() as conn:
        later = await errands.add(
            conn, kind=ErrandKind.RESOLVE, subject=NOTE, now=NOW, due_at=NOW + SECOND, payload={"u": NOTE}
        )
        assert await errands.next_due(conn) == NOW + SECOND
        assert await errands.next_due(conn, kinds=(ErrandKind.RESOLVE,)) == NOW + SECOND
        assert await errands.next_due(conn, kinds=(ErrandKind.REPORT,)) is None
    assert await claim(database) is None
    assert await claim(database, now=NOW + SECOND, kinds=(ErrandKind.REPORT,)) is None
    claimed = await claim(database, now=NOW + SECOND, kinds=(ErrandKind.RESOLVE,))
    assert claimed is not None
    assert (claimed.id, claimed.payload, claimed.due_at) == (later, {"u": NOTE}, NOW + SECOND + LEASE)


async def test_a_lost_lease_is_counted_and_its_holder_cannot_end_the_errand(database: Database) -> None:
    errand_id = await add(database)
    assert errand_id is not None
    assert await claim(database, worker="lost") is not None
    assert await claim(database, worker="next", now=NOW + LEASE - SECOND) is None
    async with database.connection() as conn:
        assert await errands.extend_lease(conn, errand_id, worker="lost", lease=LEASE, now=NOW + SECOND)
    assert await claim(database, worker="next", now=NOW + LEASE) is None
    claimed = await claim(database, worker="next", now=NOW + SECOND + LEASE)
    assert claimed is not None
    assert claimed.lost_leases == 1
    async with database.connection() as conn:
        assert not await errands.extend_lease(conn, errand_id, worker="lost", lease=LEASE, now=NOW)
        assert not await errands.finish(conn, errand_id, worker="lost", to=ErrandState.DONE, now=NOW)
        assert not await errands.put_back(conn, errand_id, worker="lost", due_at=NOW, reason="", now=NOW)
        assert await errands.finish(conn, errand_id, worker="next", to=ErrandState.DONE, now=NOW)


async def test_an_errand_that_is_put_back_waits_and_counts_its_tries(database: Database) -> None:
    errand_id = await add(database, payload={"object": NOTE})
    assert errand_id is not None
    await claim(database)
    async with database.connection() as conn:
        assert await errands.put_back(
            conn, errand_id, worker="w", due_at=NOW + SECOND, reason="unavailable\0", now=NOW
        )
    assert await claim(database) is None
    claimed = await claim(database, now=NOW + SECOND)
    assert claimed is not None
    assert (claimed.tries, claimed.lost_leases, claimed.reason) == (1, 0, "unavailable\ufffd")
    assert claimed.payload == {"object": NOTE}


async def test_what_is_done_keeps_no_payload_and_what_failed_may_be_retried(database: Database) -> None:
    first, second = await add(database, payload={"a": "b"}), await add(database, "other", payload={"c": "d"})
    assert first is not None
    assert second is not None
    for _ in range(2):
        await claim(database)
    async with database.connection() as conn:
        with pytest.raises(ValueError, match="done or failed"):
            await errands.finish(conn, first, worker="w", to=ErrandState.WAITING, now=NOW)
        await errands.finish(conn, first, worker="w", to=ErrandState.DONE, now=NOW)
        await errands.finish(conn, second, worker="w", to=ErrandState.FAILED, now=NOW, reason="forbidden")
        done, failed = await errands.list_errands(conn, limit=9)
        assert (done.state, done.payload, done.finished_at) == (ErrandState.DONE, {}, NOW)
        assert (failed.state, failed.payload, failed.reason) == (ErrandState.FAILED, {"c": "d"}, "forbidden")
        assert await errands.next_due(conn) is None
        assert not await errands.retry(conn, first, now=NOW + SECOND)
        assert not await errands.retry(conn, 999, now=NOW)
        assert await errands.retry(conn, second, now=NOW + SECOND)
    again = await claim(database, now=NOW + SECOND)
    assert again is not None
    assert (again.id, again.tries, again.tried_since, again.created_at) == (second, 0, NOW + SECOND, NOW)


async def test_errands_are_listed_counted_and_forgotten(database: Database) -> None:
    first = await add(database, case_id=7)
    second = await add(database, kind=ErrandKind.REMOVE, case_id=7)
    third = await add(database, case_id=8)
    assert first is not None
    await claim(database)
    async with database.connection() as conn:
        await errands.finish(conn, first, worker="w", to=ErrandState.DONE, now=NOW)
        assert [one.id for one in await errands.list_of_case(conn, 7)] == [first, second]
        waiting = await errands.list_errands(conn, limit=9, states=(ErrandState.WAITING,))
        assert [one.id for one in waiting] == [second, third]
        assert [one.id for one in await errands.list_errands(conn, limit=1, after_id=first)] == [second]
        assert await errands.count_by_state(conn) == {
            ErrandState.WAITING: 2,
            ErrandState.WORKING: 0,
            ErrandState.DONE: 1,
            ErrandState.FAILED: 0,
        }
        assert await errands.purge_errands(conn, before=NOW, limit=9) == 0
        assert await errands.purge_errands(conn, before=NOW + SECOND, limit=9) == 1
        assert await errands.find(conn, first) is None
        assert second is not None
        found = await errands.find(conn, second)
    assert found is not None
    assert found.kind is ErrandKind.REMOVE


async def test_whoever_listens_is_told_of_new_errands(database: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(database.listen(errands.CHANNEL, heard.put_nowait))
        assert not await heard.get()
        errand_id = await add(database)
        assert await heard.get() == str(errand_id)
        listening.cancel()
