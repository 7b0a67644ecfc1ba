"""Dead letters are listed and explained, come back once, or are dropped for good."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from db import audit, deliveries, media
from relay.cli.deliveries import DeliveryError, drop, list_in_state, replay, replay_all, show
from relay.lifecycle import GIVE_UP_AFTER, State
from tests.db.builders import new_delivery
from tests.fediverse.clock import START
from tests.relay.cli.commands import answer, breakwater
from tests.relay.stages.parts import find

if TYPE_CHECKING:
    from db.pool import Database

LATER = START + GIVE_UP_AFTER
SECRET = "https://files.example/secret.png"


async def _bury(
    database: Database, number: int = 1, *, reason: str = "too_old", erase_body: bool = False
) -> int:
    """Store a delivery and give it up."""
    async with database.transaction() as conn:
        delivery_id = await deliveries.insert_delivery(conn, new_delivery(number, received_at=START))
        assert delivery_id is not None
        assert await deliveries.advance(
            conn,
            delivery_id,
            expected=State.RECEIVED,
            to=State.DEAD,
            now=START,
            reason=reason,
            erase_body=erase_body,
        )
        row = media.DeliveryMedia(
            delivery_id=delivery_id,
            ordinal=0,
            url=SECRET,
            location="attachment",
            sha256=bytes(32),
            verdict="match",
            decision="withhold",
            category="spam",
            failure=None,
        )
        await media.put_delivery_media(conn, delivery_id, [row])
    return delivery_id


async def _audited(database: Database) -> list[tuple[str, str, dict[str, object]]]:
    async with database.connection() as conn:
        entries = await audit.list_entries(conn, limit=10)
    return [(entry.actor, entry.event, entry.detail) for entry in entries]


async def test_a_dead_letter_says_what_happened_what_it_means_and_what_to_do(database: Database) -> None:
    delivery_id = await _bury(database)

    (row,) = await list_in_state(database, State.DEAD)
    told = await show(database, delivery_id)

    assert (row["id"], row["reason"]) == (delivery_id, "too_old")
    assert (told["replayable"], told["media"], told["withheld"]) == (True, 1, 1)
    assert "longer than the backend accepts" in told["what happened"]
    assert "backend.token" in told["what to do"]


async def test_nothing_that_is_shown_leads_to_the_media_or_the_post(database: Database) -> None:
    delivery_id = await _bury(database)
    stored = await find(database, delivery_id)

    told = json.dumps([await show(database, delivery_id), await list_in_state(database, State.DEAD)])

    for secret in (SECRET, "files.example", bytes(32).hex(), stored.object_id, stored.activity_id):
        assert secret not in told


async def test_a_replayed_letter_waits_in_the_queue_with_its_patience_renewed(database: Database) -> None:
    delivery_id = await _bury(database)

    await replay(database, delivery_id, by="ada", now=LATER)

    stored = await find(database, delivery_id)
    assert (stored.state, stored.reason, stored.queued_at) == (State.RECEIVED, "replayed", LATER)
    assert (stored.received_at, stored.finished_at) == (START, None)
    assert await _audited(database) == [("ada", "delivery_replayed", {"delivery": delivery_id})]


async def test_a_letter_is_replayed_once(database: Database) -> None:
    delivery_id = await _bury(database)
    await replay(database, delivery_id, by="ada", now=LATER)

    with pytest.raises(DeliveryError, match="is received, no dead letter"):
        await replay(database, delivery_id, by="ada", now=LATER)
    assert len(await _audited(database)) == 1


async def test_a_letter_whose_bytes_are_gone_says_so_and_stays(database: Database) -> None:
    delivery_id = await _bury(database, reason="never_ruled", erase_body=True)

    with pytest.raises(DeliveryError, match="bytes were erased"):
        await replay(database, delivery_id, by="ada", now=LATER)

    told = await show(database, delivery_id)
    assert not told["replayable"]
    assert "cannot be replayed" in told["what to do"]
    assert (await find(database, delivery_id)).state is State.DEAD
    assert not await _audited(database)


async def test_all_letters_come_back_but_those_without_bytes(database: Database) -> None:
    kept = [await _bury(database, number) for number in range(3)]
    lost = await _bury(database, 3, erase_body=True)

    assert await replay_all(database, by="ada", now=LATER) == {"replayed": 3, "erased": 1}

    assert {(await find(database, one)).state for one in kept} == {State.RECEIVED}
    assert (await find(database, lost)).state is State.DEAD


async def test_a_dropped_letter_is_gone_with_its_bytes(database: Database) -> None:
    delivery_id = await _bury(database)

    await drop(database, delivery_id, by="ada", now=LATER)

    stored = await find(database, delivery_id)
    assert (stored.state, stored.reason, stored.body) == (State.DROPPED, "dropped_by_hand", b"")
    assert await _audited(database) == [("ada", "delivery_dropped", {"delivery": delivery_id})]
    with pytest.raises(DeliveryError, match="is dropped, no dead letter"):
        await replay(database, delivery_id, by="ada", now=LATER)


async def test_what_is_on_its_way_is_neither_replayed_nor_dropped(database: Database) -> None:
    async with database.transaction() as conn:
        delivery_id = await deliveries.insert_delivery(conn, new_delivery())
    assert delivery_id is not None

    for act in (replay, drop):
        with pytest.raises(DeliveryError, match="no dead letter"):
            await act(database, delivery_id, by="ada", now=LATER)
        with pytest.raises(DeliveryError, match="There is no delivery 4711"):
            await act(database, 4711, by="ada", now=LATER)
    with pytest.raises(DeliveryError, match="There is no delivery 4711"):
        await show(database, 4711)
    assert (await find(database, delivery_id)).state is State.RECEIVED


async def test_the_commands_say_the_same_to_people_and_to_machines(
    database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await _bury(database, 1), await _bury(database, 2)
    monkeypatch.setenv("BREAKWATER_DATABASE_URL", dsn)

    def tell() -> None:
        assert [row["id"] for row in answer("deliveries", "list")] == [first, second]
        assert answer("deliveries", "list", "--state", "held") == []
        assert "waited longer" in breakwater("deliveries", "list").output
        assert "what to do: " in breakwater("deliveries", "show", first).output
        assert answer("deliveries", "drop", second) == {"id": second, "state": "dropped"}
        both = breakwater("deliveries", "replay", first, "--all")
        assert (both.exit_code, "Nothing was changed" in both.stderr) == (2, True)
        assert answer("deliveries", "replay", "--all") == {"replayed": 1, "erased": 0}
        again = breakwater("deliveries", "replay", first)
        assert (again.exit_code, "no dead letter" in again.stderr) == (2, True)
        assert breakwater("deliveries", "list").output == "None.\n"

    await asyncio.to_thread(tell)
    assert (await find(database, first)).state is State.RECEIVED
