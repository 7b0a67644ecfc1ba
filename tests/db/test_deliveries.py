"""The queue of deliveries, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import deliveries
from db.deliveries import DeliveryState
from tests.db.builders import LEASE, NOW, new_delivery

if TYPE_CHECKING:
    from db.deliveries import NewDelivery, StoredDelivery
    from db.pool import Database

SECOND = timedelta(seconds=1)


async def insert(database: Database, new: NewDelivery) -> int:
    async with database.connection() as conn:
        stored = await deliveries.insert_delivery(conn, new)
    assert stored is not None
    return stored


async def claim(database: Database, *, worker: str = "w", now: object = NOW) -> StoredDelivery | None:
    async with database.connection() as conn:
        return await deliveries.claim_delivery(conn, worker=worker, lease=LEASE, now=now)  # type: ignore[arg-type]


async def move(
    database: Database, delivery_id: int, expected: DeliveryState, to: DeliveryState, **more: object
) -> bool:
    arguments: dict[str, object] = {"now": NOW, **more}
    async with database.connection() as conn:
        return await deliveries.advance(conn, delivery_id, expected=expected, to=to, **arguments)  # type: ignore[arg-type]


async def finish(database: Database, delivery_id: int, worker: str = "w") -> None:
    assert await move(database, delivery_id, DeliveryState.EXAMINING, DeliveryState.DECIDED, worker=worker)
    async with database.connection() as conn:
        claimed = await deliveries.claim_delivery_by_id(
            conn, delivery_id, worker=worker, lease=LEASE, now=NOW
        )
    assert claimed is not None
    assert await move(database, delivery_id, DeliveryState.FORWARDING, DeliveryState.FORWARDED, worker=worker)


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
    assert (again.id, again.finished_at) == (second, None)


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
