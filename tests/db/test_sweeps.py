from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, sweeps
from db.errors import DatabaseError
from db.sweeps import SweepState
from tests.db.builders import LEASE, NOW, sha256

if TYPE_CHECKING:
    from db.pool import Connection, Database

SOURCE = "local:/srv/media"
STATE = sha256("a state of the scanner")


async def start(conn: Connection, *, is_dry_run: bool = True) -> sweeps.Sweep:
    return await sweeps.start_sweep(conn, SOURCE, is_dry_run=is_dry_run, state_digest=STATE, now=NOW)


async def test_a_source_is_swept_by_one_at_a_time(database: Database) -> None:
    async with database.connection() as conn:
        assert await sweeps.take_lease(conn, SOURCE, holder="one", lease=LEASE, now=NOW)
        assert not await sweeps.take_lease(conn, SOURCE, holder="two", lease=LEASE, now=NOW)
        assert await sweeps.take_lease(conn, "local:/other", holder="two", lease=LEASE, now=NOW)
        assert await sweeps.find_lease_end(conn, SOURCE) == NOW + LEASE

        later = NOW + timedelta(seconds=30)
        assert await sweeps.extend_lease(conn, SOURCE, holder="one", lease=LEASE, now=later)
        assert not await sweeps.take_lease(conn, SOURCE, holder="two", lease=LEASE, now=NOW + LEASE)
        assert await sweeps.take_lease(conn, SOURCE, holder="two", lease=LEASE, now=later + LEASE)
        assert not await sweeps.extend_lease(conn, SOURCE, holder="one", lease=LEASE, now=later + LEASE)

        await sweeps.release_lease(conn, SOURCE, holder="one")
        assert await sweeps.find_lease_end(conn, SOURCE) == later + 2 * LEASE
        await sweeps.release_lease(conn, SOURCE, holder="two")
        assert await sweeps.find_lease_end(conn, SOURCE) is None


async def test_a_checkpoint_comes_back_as_it_was_saved(database: Database) -> None:
    counters = {"files": 7, "matched": {"spam": 1}}
    async with database.transaction() as conn:
        sweep = await start(conn)
        assert (sweep.cursor, sweep.counters, sweep.state) == (b"", {}, SweepState.OPEN)
        for known in ({5: True, 4: False}, {5: True}):
            assert await sweeps.save_checkpoint(
                conn, sweep.id, cursor=b"a/\xff\n", counters=counters, cases=known, now=NOW + LEASE
            )
        found = await sweeps.find_open(conn, SOURCE, is_dry_run=True)
        assert found is not None
        assert (found.id, found.cursor, found.counters) == (sweep.id, b"a/\xff\n", counters)
        assert (found.updated_at, found.state_digest) == (NOW + LEASE, STATE)
        assert await sweeps.list_cases(conn, sweep.id, limit=10) == {4: False, 5: True}
        assert await sweeps.list_cases(conn, sweep.id, limit=1) == {4: False}
        assert await sweeps.find_open(conn, SOURCE, is_dry_run=False) is None


async def test_only_one_sweep_of_a_kind_is_open(database: Database) -> None:
    async with database.connection() as conn:
        first = await start(conn)
        await start(conn, is_dry_run=False)
    with pytest.raises(DatabaseError):
        async with database.connection() as conn:
            await start(conn)
    async with database.connection() as conn:
        assert await sweeps.end_sweep(conn, first.id, to=SweepState.ABANDONED, now=NOW)
        assert (await start(conn)).id != first.id


async def test_what_is_over_cannot_be_moved_on(database: Database) -> None:
    async with database.connection() as conn:
        sweep = await start(conn)
        assert await sweeps.end_sweep(conn, sweep.id, to=SweepState.FINISHED, now=NOW)
        assert not await sweeps.end_sweep(conn, sweep.id, to=SweepState.ABANDONED, now=NOW)
        assert not await sweeps.save_checkpoint(
            conn, sweep.id, cursor=b"z", counters={}, cases={1: False}, now=NOW
        )
        assert await sweeps.list_cases(conn, sweep.id, limit=1) == {}
        with pytest.raises(ValueError, match="ends"):
            await sweeps.end_sweep(conn, sweep.id, to=SweepState.OPEN, now=NOW)


async def test_the_last_finished_sweep_is_found_by_its_kind(database: Database) -> None:
    async with database.connection() as conn:
        assert await sweeps.find_finished(conn, SOURCE) is None
        acting = await start(conn, is_dry_run=False)
        await sweeps.end_sweep(conn, acting.id, to=SweepState.FINISHED, now=NOW)
        assert await sweeps.find_finished(conn, SOURCE, dry_runs_only=True) is None
        given_up = await start(conn)
        await sweeps.end_sweep(conn, given_up.id, to=SweepState.ABANDONED, now=NOW)
        assert await sweeps.find_finished(conn, SOURCE, dry_runs_only=True) is None
        dry = await start(conn)
        await sweeps.end_sweep(conn, dry.id, to=SweepState.FINISHED, now=NOW)
        for dry_runs_only in (False, True):
            found = await sweeps.find_finished(conn, SOURCE, dry_runs_only=dry_runs_only)
            assert found is not None
            assert found.id == dry.id


async def test_the_case_that_says_most_about_some_bytes_is_found(database: Database) -> None:
    async with database.connection() as conn:
        assert await sweeps.find_case_of_bytes(conn, sha256("x")) is None
        ids = [
            await cases.open_case(
                conn, category="spam", delivery_id=delivery, sha256=sha256("x"), basis="exact_hash", now=NOW
            )
            for delivery in (1, 2, None)
        ]
        first, second, third = (one or 0 for one in ids)
        await cases.rule_case(conn, second, to=cases.CaseState.RELEASED, ruled_by="mia", now=NOW)
        found = await sweeps.find_case_of_bytes(conn, sha256("x"))
        assert found == sweeps.KnownCase(id=third, category="spam", state=cases.CaseState.OPEN)
        await cases.rule_case(conn, first, to=cases.CaseState.UPHELD, ruled_by="mia", now=NOW)
        found = await sweeps.find_case_of_bytes(conn, sha256("x"))
        assert found == sweeps.KnownCase(id=first, category="spam", state=cases.CaseState.UPHELD)
