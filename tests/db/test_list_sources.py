"""Where lists come from, and which hashes stand in which record of their makers'."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from db import hashlists, list_records, list_sources
from db.list_records import Record
from db.list_sources import NewListSource
from tests.db.builders import LEASE, NOW, sha256
from tests.db.test_hashlists import NEW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection, Database


def named(text: str) -> bytes:
    return sha256(text)[:16]


def md5(text: str) -> tuple[str, bytes]:
    return "md5", sha256(text)[:16]


def record(name: str, *hashes: tuple[str, bytes], at: datetime = NOW, is_removed: bool = False) -> Record:
    return Record(
        id=named(name), changed_at=at, hashes=frozenset(hashes), is_removed=is_removed, label=f"A1 {name}"
    )


async def add_source(conn: Connection, name: str = NEW.name) -> int:
    new = replace(NEW, name=name)
    list_id = await hashlists.import_list(conn, new, {}, now=NOW)
    await list_sources.add_source(
        conn,
        NewListSource(
            list_id=list_id,
            kind="ncmec",
            url="https://lists.example",
            credentials="file:/etc/secret",
            options={"only": [1]},
            every=timedelta(hours=1),
            accepted_at=NOW,
        ),
    )
    return list_id


async def take(
    conn: Connection, list_id: int, records: Sequence[Record], *, generation: int = 1
) -> set[bytes]:
    """Take records in, write the changes, and return the listed MD5 values."""
    async with conn.transaction():
        await list_records.put_records(conn, list_id, records, generation=generation)
        await list_records.write_changes(conn, list_id)
    return await listed(conn, list_id)


async def listed(conn: Connection, list_id: int) -> set[bytes]:
    data = (await hashlists.load_entries(conn, list_id)).get("md5", b"")
    return {data[place : place + 16] for place in range(0, len(data), 16)}


async def test_a_hash_is_listed_until_the_last_record_that_holds_it_is_gone(database: Database) -> None:
    both, own = md5("both"), md5("own")
    async with database.connection() as conn:
        list_id = await add_source(conn)
        assert await take(conn, list_id, [record("a", both, own), record("b", both)]) == {both[1], own[1]}
        later = NOW + timedelta(minutes=1)
        assert await take(conn, list_id, [record("a", at=later, is_removed=True)]) == {both[1]}
        assert await take(conn, list_id, [record("b", at=later, is_removed=True)]) == set()


async def test_an_older_page_does_not_bring_back_what_was_taken_back(database: Database) -> None:
    one = md5("one")
    async with database.connection() as conn:
        list_id = await add_source(conn)
        gone = record("a", at=NOW, is_removed=True)
        assert await take(conn, list_id, [gone]) == set()
        assert await take(conn, list_id, [record("a", one, at=NOW - timedelta(days=1))]) == set()
        assert await take(conn, list_id, [record("a", one, at=NOW)]) == set()
        # The maker lists it again, and says so with a later time.
        assert await take(conn, list_id, [record("a", one, at=NOW + timedelta(days=1))]) == {one[1]}


async def test_an_older_state_of_a_record_does_not_replace_the_newer_one(database: Database) -> None:
    old, new = md5("old"), md5("new")
    async with database.connection() as conn:
        list_id = await add_source(conn)
        assert await take(conn, list_id, [record("a", new, at=NOW)]) == {new[1]}
        assert await take(conn, list_id, [record("a", old, at=NOW - timedelta(days=1))]) == {new[1]}
        # Both in one page, in whichever order.
        later = [record("a", old, at=NOW + timedelta(days=2)), record("a", new, at=NOW + timedelta(days=1))]
        assert await take(conn, list_id, later) == {old[1]}


async def test_of_two_states_of_one_time_the_removal_holds(database: Database) -> None:
    one = md5("one")
    async with database.connection() as conn:
        list_id = await add_source(conn)
        assert await take(conn, list_id, [record("a", is_removed=True), record("a", one)]) == set()


async def test_what_a_whole_fetch_did_not_name_is_dropped(database: Database) -> None:
    kept, lost = md5("kept"), md5("lost")
    async with database.connection() as conn:
        list_id = await add_source(conn)
        assert await take(conn, list_id, [record("a", kept), record("b", lost)], generation=1) == {
            kept[1],
            lost[1],
        }
        async with conn.transaction():
            await list_records.put_records(conn, list_id, [record("a", kept)], generation=2)
            assert await list_records.prune_records(conn, list_id, generation=2) == 1
            assert await list_records.has_changes(conn, list_id)
            changed = await list_records.write_changes(conn, list_id)
        assert (changed.added, changed.removed) == (0, 1)
        assert await listed(conn, list_id) == {kept[1]}
        assert not await list_records.has_changes(conn, list_id)


async def test_an_older_state_in_a_whole_fetch_still_says_that_the_record_is_there(
    database: Database,
) -> None:
    new, old = md5("new"), md5("old")
    async with database.connection() as conn:
        list_id = await add_source(conn)
        await take(conn, list_id, [record("a", new, at=NOW)], generation=1)
        async with conn.transaction():
            older = record("a", old, at=NOW - timedelta(days=1))
            await list_records.put_records(conn, list_id, [older], generation=2)
            assert await list_records.prune_records(conn, list_id, generation=2) == 0
        assert await listed(conn, list_id) == {new[1]}


async def test_a_local_withdrawal_outlasts_what_the_maker_says(database: Database) -> None:
    one = md5("one")
    async with database.connection() as conn:
        list_id = await add_source(conn)
        await take(conn, list_id, [record("a", one)])
        await hashlists.withdraw_entry(conn, NEW.name, kind="md5", value=one[1], at=NOW)
        assert await take(conn, list_id, [record("b", one, at=NOW + timedelta(days=1))]) == set()


async def test_the_makers_words_are_found_by_the_value(database: Database) -> None:
    async with database.connection() as conn:
        list_id = await add_source(conn)
        await take(conn, list_id, [record("a", md5("one"))])
        assert await hashlists.find_label(conn, list_id, *md5("one")) == "A1 a"


async def test_a_source_is_fetched_by_one_at_a_time_and_the_longest_due_first(database: Database) -> None:
    async with database.connection() as conn:
        first = await add_source(conn)
        second = await add_source(conn, "second")
        one = await list_sources.claim_source(conn, worker="a", lease=LEASE, now=NOW)
        two = await list_sources.claim_source(conn, worker="a", lease=LEASE, now=NOW)
        assert one is not None
        assert two is not None
        assert {one.list_id, two.list_id} == {first, second}
        assert await list_sources.claim_source(conn, worker="b", lease=LEASE, now=NOW) is None
        assert await list_sources.claim_source(conn, worker="b", lease=LEASE, now=NOW, name="second") is None


async def test_who_lost_the_lease_cannot_take_another_step(database: Database) -> None:
    async with database.connection() as conn:
        list_id = await add_source(conn)
        await list_sources.claim_source(conn, worker="a", lease=LEASE, now=NOW)
        later = NOW + LEASE
        assert await list_sources.claim_source(conn, worker="b", lease=LEASE, now=later) is not None
        assert not await list_sources.extend_lease(conn, list_id, worker="a", lease_until=later)
        assert not await list_sources.advance_source(
            conn, list_id, worker="a", checkpoint={}, generation=1, unusable={}, lease_until=later
        )
        source = await list_sources.find_source(conn, NEW.name)
        assert source is not None
        assert (source.checkpoint, source.worker) == (None, "b")


async def test_a_source_comes_back_as_it_was_left(database: Database) -> None:
    async with database.connection() as conn:
        list_id = await add_source(conn)
        await list_sources.claim_source(conn, worker="a", lease=LEASE, now=NOW)
        assert await list_sources.advance_source(
            conn,
            list_id,
            worker="a",
            checkpoint={"next": "/v2/entries?start=2"},
            generation=3,
            unusable={"pdna": 5},
            lease_until=NOW + LEASE,
        )
        due_at = NOW + timedelta(minutes=5)
        await list_sources.fail_source(
            conn, list_id, worker="a", due_at=due_at, error_kind="unavailable", error="It is away."
        )
        failed = await list_sources.find_source(conn, NEW.name)
        assert failed is not None
        assert (failed.checkpoint, failed.generation, failed.unusable) == (
            {"next": "/v2/entries?start=2"},
            3,
            {"pdna": 5},
        )
        assert (failed.tries, failed.error_kind, failed.due_at, failed.worker) == (
            1,
            "unavailable",
            due_at,
            None,
        )
        assert await list_sources.next_due(conn) == due_at
        await list_sources.claim_source(conn, worker="a", lease=LEASE, now=due_at)
        await list_sources.finish_source(conn, list_id, worker="a", due_at=due_at, synced_at=NOW)
        done = await list_sources.find_source(conn, NEW.name)
        assert done is not None
        assert (done.tries, done.error_kind, done.synced_at) == (0, None, NOW)


async def test_a_list_out_of_use_is_fetched_only_when_it_is_named(database: Database) -> None:
    async with database.connection() as conn:
        await add_source(conn)
        await hashlists.withdraw_list(conn, NEW.name, at=NOW)
        assert await list_sources.next_due(conn) is None
        assert await list_sources.claim_source(conn, worker="a", lease=LEASE, now=NOW) is None
        named_one = await list_sources.claim_source(conn, worker="a", lease=LEASE, now=NOW, name=NEW.name)
        assert named_one is not None
        assert named_one.is_withdrawn
