"""The queue of deliveries, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import deliveries, delivery_lists
from db.deliveries import DeliveryState
from tests.db.builders import LEASE, NOW, new_delivery
from tests.db.queue import claim, finish, insert, move

if TYPE_CHECKING:
    from db.pool import Database

SECOND = timedelta(seconds=1)


async def test_a_delivery_comes_back_as_it_was_stored(database: Database) -> None:
    new = new_delivery(
        headers=(("Signature", 'keyId="x"'), ("X-Odd", "\udcff\x00é"), ("X-Odd", "again")),
        target="/inbox?a=%00&b=é",
        body=bytes(range(256)),
        hold_until=NOW + SECOND,
    )
    stored_id = await insert(database, new)
    async with database.connection() as conn:
        stored = await deliveries.find_delivery(conn, stored_id)
    assert stored is not None
    assert stored.state is DeliveryState.RECEIVED
    assert (stored.worker, stored.attempts, stored.retries, stored.reason) == (None, 0, 0, None)
    for name in new.__dataclass_fields__:
        assert getattr(stored, name) == getattr(new, name), name


async def test_the_same_delivery_is_stored_once(database: Database) -> None:
    await insert(database, new_delivery(1))
    async with database.connection() as conn:
        assert await deliveries.insert_delivery(conn, new_delivery(1)) is None


async def test_another_inbox_another_body_or_another_id_is_another_delivery(database: Database) -> None:
    await insert(database, new_delivery(1))
    await insert(database, new_delivery(1, inbox="/users/eve/inbox"))
    await insert(database, new_delivery(1, body=b"{}"))
    await insert(database, new_delivery(1, activity_id="https://a.example/activities/other"))


async def test_without_an_id_the_body_tells_deliveries_apart(database: Database) -> None:
    await insert(database, new_delivery(1, activity_id="", body=b"one"))
    await insert(database, new_delivery(1, activity_id="", body=b"two"))
    async with database.connection() as conn:
        assert await deliveries.insert_delivery(conn, new_delivery(1, activity_id="", body=b"one")) is None


async def test_texts_that_the_database_cannot_hold_do_not_refuse_a_delivery(database: Database) -> None:
    hostile = "https://a.example/\x00\ud800" + "x" * 20_000
    stored_id = await insert(database, new_delivery(activity_id=hostile, chain_key=hostile))
    async with database.connection() as conn:
        stored = await deliveries.find_delivery(conn, stored_id)
        assert await deliveries.has_unfinished(conn, hostile)
    assert stored is not None
    assert stored.activity_id.startswith("https://a.example/\N{REPLACEMENT CHARACTER}")


async def test_concurrent_copies_are_stored_once(database: Database) -> None:
    async def store() -> int | None:
        async with database.connection() as conn:
            return await deliveries.insert_delivery(conn, new_delivery(1))

    results = await asyncio.gather(*(store() for _ in range(8)))
    assert len([result for result in results if result is not None]) == 1


async def test_a_claim_begins_the_examination_of_the_oldest(database: Database) -> None:
    first = await insert(database, new_delivery(1))
    await insert(database, new_delivery(2, received_at=NOW + SECOND))
    claimed = await claim(database, now=NOW + SECOND)
    assert claimed is not None
    assert (claimed.id, claimed.state, claimed.worker) == (first, DeliveryState.EXAMINING, "w")
    assert claimed.due_at == NOW + SECOND + LEASE
    assert claimed.attempts == 0


async def test_nothing_is_claimed_before_it_is_due(database: Database) -> None:
    await insert(database, new_delivery(1, received_at=NOW + SECOND))
    assert await claim(database) is None


async def test_a_decided_delivery_is_claimed_for_forwarding(database: Database) -> None:
    stored = await insert(database, new_delivery())
    await claim(database)
    assert await move(database, stored, DeliveryState.EXAMINING, DeliveryState.DECIDED, worker="w")
    claimed = await claim(database, worker="other")
    assert claimed is not None
    assert (claimed.state, claimed.worker) == (DeliveryState.FORWARDING, "other")


async def test_a_lease_that_ends_is_claimed_again_and_counted(database: Database) -> None:
    stored = await insert(database, new_delivery())
    await claim(database, worker="dead")
    assert await claim(database, worker="next", now=NOW + LEASE - SECOND) is None
    again = await claim(database, worker="next", now=NOW + LEASE)
    assert again is not None
    assert (again.id, again.state, again.worker, again.attempts) == (
        stored,
        DeliveryState.EXAMINING,
        "next",
        1,
    )


async def test_a_worker_that_lost_its_lease_can_neither_extend_nor_advance(database: Database) -> None:
    stored = await insert(database, new_delivery())
    await claim(database, worker="slow")
    await claim(database, worker="next", now=NOW + LEASE)
    async with database.connection() as conn:
        assert not await deliveries.extend_lease(conn, stored, worker="slow", lease=LEASE, now=NOW + LEASE)
        assert await deliveries.extend_lease(conn, stored, worker="next", lease=LEASE, now=NOW + LEASE)
    assert not await move(database, stored, DeliveryState.EXAMINING, DeliveryState.DECIDED, worker="slow")
    assert await move(database, stored, DeliveryState.EXAMINING, DeliveryState.DECIDED, worker="next")


async def test_an_extended_lease_is_not_claimed(database: Database) -> None:
    stored = await insert(database, new_delivery())
    await claim(database)
    async with database.connection() as conn:
        await deliveries.extend_lease(conn, stored, worker="w", lease=LEASE, now=NOW + LEASE / 2)
    assert await claim(database, worker="other", now=NOW + LEASE) is None


async def test_advance_moves_only_from_the_expected_state(database: Database) -> None:
    stored = await insert(database, new_delivery())
    assert not await move(database, stored, DeliveryState.HELD, DeliveryState.DECIDED)
    assert not await move(database, stored + 1, DeliveryState.RECEIVED, DeliveryState.DEAD)
    assert await move(database, stored, DeliveryState.RECEIVED, DeliveryState.DEAD, reason="poison")
    async with database.connection() as conn:
        dead = await deliveries.find_delivery(conn, stored)
    assert dead is not None
    assert (dead.state, dead.reason, dead.finished_at) == (DeliveryState.DEAD, "poison", NOW)


async def test_of_concurrent_moves_one_wins(database: Database) -> None:
    stored = await insert(database, new_delivery())
    await claim(database)
    targets = [DeliveryState.DECIDED, DeliveryState.HELD, DeliveryState.DROPPED, DeliveryState.DEAD] * 2
    results = await asyncio.gather(
        *(move(database, stored, DeliveryState.EXAMINING, to, worker="w") for to in targets)
    )
    assert results.count(True) == 1


async def test_a_lease_cannot_be_taken_without_a_worker_and_an_end(database: Database) -> None:
    stored = await insert(database, new_delivery())
    with pytest.raises(ValueError, match="lease"):
        await move(database, stored, DeliveryState.RECEIVED, DeliveryState.EXAMINING)


async def test_advance_can_take_a_lease(database: Database) -> None:
    stored = await insert(database, new_delivery())
    await claim(database)
    end = NOW + LEASE
    assert await move(
        database, stored, DeliveryState.EXAMINING, DeliveryState.FORWARDING, worker="w", due_at=end
    )
    assert await claim(database, now=end - SECOND) is None
    assert await claim(database, now=end) is not None


async def test_putting_back_counts_as_a_retry_and_progress_begins_anew(database: Database) -> None:
    stored = await insert(database, new_delivery())
    await claim(database)
    await claim(database, now=NOW + LEASE)
    later = NOW + 2 * LEASE
    assert await move(
        database, stored, DeliveryState.EXAMINING, DeliveryState.RECEIVED, worker="w", due_at=later
    )
    assert await claim(database, now=later - SECOND) is None
    again = await claim(database, now=later)
    assert again is not None
    assert (again.attempts, again.retries) == (1, 1)
    assert await move(database, stored, DeliveryState.EXAMINING, DeliveryState.DECIDED, worker="w")
    forwarding = await claim(database)
    assert forwarding is not None
    assert (forwarding.attempts, forwarding.retries) == (0, 0)


async def test_a_chain_is_handed_out_in_order(database: Database) -> None:
    create = await insert(database, new_delivery(1, chain_key="note"))
    update = await insert(database, new_delivery(2, chain_key="note"))
    other = await insert(database, new_delivery(3, chain_key="other"))
    first = await claim(database)
    second = await claim(database)
    assert first is not None
    assert second is not None
    assert (first.id, second.id) == (create, other)
    assert await claim(database) is None
    await finish(database, create)
    third = await claim(database)
    assert third is not None
    assert third.id == update


async def test_a_held_delivery_blocks_its_chain_alone(database: Database) -> None:
    create = await insert(database, new_delivery(1, chain_key="note"))
    await claim(database)
    assert await move(database, create, DeliveryState.EXAMINING, DeliveryState.HELD, worker="w")
    await insert(database, new_delivery(2, chain_key="note"))
    free = await insert(database, new_delivery(3, chain_key="other"))
    claimed = await claim(database)
    assert claimed is not None
    assert claimed.id == free
    assert await claim(database) is None
    async with database.connection() as conn:
        assert await deliveries.has_unfinished(conn, "note")
        assert not await deliveries.has_unfinished(conn, "nothing")


async def test_deliveries_without_a_chain_do_not_wait_for_each_other(database: Database) -> None:
    await insert(database, new_delivery(1, chain_key=""))
    await insert(database, new_delivery(2, chain_key=""))
    assert await claim(database) is not None
    assert await claim(database) is not None
    async with database.connection() as conn:
        assert not await deliveries.has_unfinished(conn, "")


async def test_a_claim_by_id_obeys_the_same_rules(database: Database) -> None:
    first = await insert(database, new_delivery(1, chain_key="note"))
    second = await insert(database, new_delivery(2, chain_key="note"))
    late = await insert(database, new_delivery(3, received_at=NOW + SECOND))
    async with database.connection() as conn:
        for blocked in (second, late, late + 1):
            assert (
                await deliveries.claim_delivery_by_id(conn, blocked, worker="w", lease=LEASE, now=NOW) is None
            )
        claimed = await deliveries.claim_delivery_by_id(conn, first, worker="w", lease=LEASE, now=NOW)
        assert claimed is not None
        assert claimed.id == first
        assert await deliveries.claim_delivery_by_id(conn, first, worker="v", lease=LEASE, now=NOW) is None


async def test_a_delete_supersedes_what_is_not_on_its_way(database: Database) -> None:
    forwarding = await insert(database, new_delivery(1, chain_key="note"))
    await claim(database)
    await move(database, forwarding, DeliveryState.EXAMINING, DeliveryState.DECIDED, worker="w")
    await claim(database)
    update = await insert(database, new_delivery(2, chain_key="note"))
    other = await insert(database, new_delivery(3, chain_key="other"))
    delete = await insert(database, new_delivery(4, chain_key="note"))
    later = await insert(database, new_delivery(5, chain_key="note"))
    async with database.connection() as conn:
        assert await deliveries.supersede(conn, chain_key="note", before_id=delete, now=NOW) == (update,)
        dropped = await deliveries.find_delivery(conn, update)
        assert await deliveries.supersede(conn, chain_key="", before_id=delete, now=NOW) == ()
    assert dropped is not None
    assert (dropped.state, dropped.reason, dropped.body) == (
        DeliveryState.DROPPED,
        deliveries.SUPERSEDED,
        b"",
    )
    claimed = await claim(database)
    assert claimed is not None
    assert claimed.id == other
    assert await move(database, forwarding, DeliveryState.FORWARDING, DeliveryState.FORWARDED, worker="w")
    claimed = await claim(database)
    assert claimed is not None
    assert claimed.id == delete
    assert later > delete


async def test_a_delete_ends_dead_letters_of_its_object_and_no_others(database: Database) -> None:
    mine = await insert(database, new_delivery(1, chain_key="o"))
    other = await insert(database, new_delivery(2, chain_key="p"))
    for one in (mine, other):
        await claim(database)
        assert await move(database, one, DeliveryState.EXAMINING, DeliveryState.DEAD, worker="w")
    delete = await insert(database, new_delivery(3, chain_key="o"))

    async with database.connection() as conn:
        assert await deliveries.supersede(conn, chain_key="o", before_id=delete, now=NOW) == (mine,)
        ended = await deliveries.find_delivery(conn, mine)
        assert not await delivery_lists.has_dead(conn, "o")
        assert await delivery_lists.has_dead(conn, "p")
    assert ended is not None
    assert (ended.state, ended.body) == (DeliveryState.DROPPED, b"")


async def test_a_superseded_examination_cannot_be_decided(database: Database) -> None:
    create = await insert(database, new_delivery(1, chain_key="note"))
    await claim(database)
    delete = await insert(database, new_delivery(2, chain_key="note"))
    async with database.connection() as conn:
        assert await deliveries.supersede(conn, chain_key="note", before_id=delete, now=NOW) == (create,)
    assert not await move(database, create, DeliveryState.EXAMINING, DeliveryState.DECIDED, worker="w")
    claimed = await claim(database)
    assert claimed is not None
    assert claimed.id == delete


async def test_a_dead_letter_can_be_replayed_behind_its_chain(database: Database) -> None:
    first = await insert(database, new_delivery(1, chain_key="note"))
    second = await insert(database, new_delivery(2, chain_key="note"))
    assert await move(database, second, DeliveryState.RECEIVED, DeliveryState.DEAD)
    assert await move(database, second, DeliveryState.DEAD, DeliveryState.RECEIVED)
    claimed = await claim(database)
    assert claimed is not None
    assert claimed.id == first
    assert await claim(database) is None
    await finish(database, first)
    again = await claim(database)
    assert again is not None
    assert (again.id, again.finished_at, again.replayed_at) == (second, None, NOW)


async def test_a_body_can_be_erased_by_the_move_that_drops_it(database: Database) -> None:
    stored = await insert(database, new_delivery())
    assert await move(database, stored, DeliveryState.RECEIVED, DeliveryState.DROPPED, erase_body=True)
    async with database.connection() as conn:
        dropped = await deliveries.find_delivery(conn, stored)
    assert dropped is not None
    assert dropped.body == b""


async def test_an_insert_wakes_the_listeners_of_the_queue(database: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(database.listen(deliveries.CHANNEL, heard.put_nowait))
        assert await heard.get() == ""
        stored = await insert(database, new_delivery())
        assert await heard.get() == str(stored)
        task.cancel()


async def test_an_insert_is_undone_with_its_transaction(database: Database) -> None:
    async def insert_and_fail() -> None:
        async with database.transaction() as conn:
            await deliveries.insert_delivery(conn, new_delivery())
            raise RuntimeError("undo")

    with pytest.raises(RuntimeError, match="undo"):
        await insert_and_fail()
    assert await claim(database) is None


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_workers_never_share_a_delivery_nor_break_a_chain(
    database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    chains = [f"chain-{number}" for number in range(5)]
    order: dict[str, list[int]] = {chain: [] for chain in chains}
    forwarded: dict[str, list[int]] = {chain: [] for chain in chains}
    busy: set[str] = set()
    total = 60

    async def produce(numbers: range) -> None:
        for number in numbers:
            chain = chance.choice(chains)
            async with database.connection() as conn:
                stored = await deliveries.insert_delivery(conn, new_delivery(number, chain_key=chain))
            assert stored is not None
            order[chain].append(stored)

    async def work(worker: str) -> None:
        while sum(map(len, forwarded.values())) < total:
            taken = await claim(database, worker=worker)
            if taken is None:
                await asyncio.sleep(0)
                continue
            assert taken.chain_key not in busy
            busy.add(taken.chain_key)
            await asyncio.sleep(0)
            if taken.state is DeliveryState.EXAMINING:
                busy.remove(taken.chain_key)
                to = DeliveryState.RECEIVED if chance.random() < 0.2 else DeliveryState.DECIDED
            else:
                forwarded[taken.chain_key].append(taken.id)
                busy.remove(taken.chain_key)
                to = DeliveryState.FORWARDED
            assert await move(database, taken.id, taken.state, to, worker=worker)

    async with asyncio.TaskGroup() as group:
        for part in range(2):
            group.create_task(produce(range(part * total // 2, (part + 1) * total // 2)))
        for number in range(4):
            group.create_task(work(f"w{number}"))
    assert forwarded == {chain: sorted(ids) for chain, ids in order.items()}


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_a_claim_reads_an_index_and_never_the_finished_rows(
    database: Database, *, is_analyzed: bool
) -> None:
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO deliveries (
                identity, chain, chain_key, state, is_waiting, due_at, activity_id, activity_type, actor,
                object_id, inbox, head, body, body_digest, remote_address, audience, is_selftest,
                received_at, updated_at, finished_at
            )
            SELECT sha256(n::text::bytea), n, n::text, 'forwarded', false, $1, '', '', '', '', '', '',
                '', sha256(''), '', 'public', false, $1, $1, $1
            FROM generate_series(1, 20000) AS n
            """,
            NOW,
        )
    await insert(database, new_delivery())
    async with database.connection() as conn:
        if is_analyzed:
            await conn.execute("ANALYZE deliveries")
        rows = await conn.fetch(
            "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) " + deliveries._CLAIM_DELIVERY.split("\n", 1)[1],
            NOW,
            "w",
            NOW + LEASE,
        )
    plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan" not in plan
    assert "deliveries_due" in plan
    assert "deliveries_chain" in plan
