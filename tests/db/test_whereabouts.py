"""Where on the backend media may lie."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from db import cases, media, whereabouts
from db.cases import CaseState
from db.deliveries import DeliveryState
from db.media import DeliveryMedia
from db.whereabouts import Sighting
from tests.db.builders import NOW, new_delivery, sha256
from tests.db.queue import claim, finish, insert

if TYPE_CHECKING:
    from db.pool import Database

SECOND = timedelta(seconds=1)
PLACE = Sighting(
    sha256=sha256("a"),
    object_id="https://home.example/users/ada/statuses/1",
    actor_id="https://home.example/users/ada",
    alias="",
    seen_at=NOW,
)


async def carry(database: Database, delivery_id: int, *digests: bytes) -> None:
    rows = [
        DeliveryMedia(
            delivery_id=delivery_id,
            ordinal=ordinal,
            url="https://a.example/1.png",
            location="attachment",
            sha256=digest,
            verdict="match",
            decision="block",
            category="spam",
            failure=None,
        )
        for ordinal, digest in enumerate(digests)
    ]
    async with database.connection() as conn:
        await media.put_delivery_media(conn, delivery_id, rows)


async def test_the_deliveries_that_carried_bytes_are_listed_newest_first(database: Database) -> None:
    first, second, third = [await insert(database, new_delivery(number)) for number in range(3)]
    await carry(database, first, sha256("a"), sha256("a"))
    await carry(database, second, sha256("b"))
    await carry(database, third, sha256("a"))
    async with database.connection() as conn:
        found = await whereabouts.list_carriers(conn, sha256("a"), limit=9)
        assert [one.id for one in found] == [third, first]
        assert len(await whereabouts.list_carriers(conn, sha256("a"), limit=1)) == 1
        assert await whereabouts.list_carriers(conn, sha256("c"), limit=9) == ()
    assert found[1].state is DeliveryState.RECEIVED
    assert found[1].object_id == "https://a.example/notes/0"
    assert found[1].sender_actor == "https://a.example/users/ada"


async def test_an_object_was_forwarded_once_any_delivery_of_it_was(database: Database) -> None:
    note = "https://a.example/notes/1"

    async def ask(object_id: str) -> bool:
        async with database.connection() as conn:
            return await whereabouts.was_forwarded(conn, object_id)

    await insert(database, new_delivery(1, chain_key=note))
    assert not await ask(note)
    claimed = await claim(database)
    assert claimed is not None
    await finish(database, claimed.id)
    assert await ask(note)
    assert not await ask(note + "0")
    assert not await ask("")


async def test_a_place_is_remembered_once_and_forgotten_in_time(database: Database) -> None:
    file = replace(PLACE, object_id="", actor_id="", alias="x.png", seen_at=NOW - SECOND)
    other = replace(PLACE, sha256=sha256("b"))
    async with database.connection() as conn:
        for sighting in (PLACE, file, other, replace(PLACE, seen_at=NOW + SECOND)):
            await whereabouts.put_sighting(conn, sighting)
        found = await whereabouts.list_sightings(conn, sha256("a"), limit=9)
        assert found == (replace(PLACE, seen_at=NOW + SECOND), file)
        assert await whereabouts.list_sightings(conn, sha256("a"), limit=1) == found[:1]
        assert await whereabouts.purge_sightings(conn, before=NOW, limit=9) == 1
        assert await whereabouts.list_sightings(conn, sha256("a"), limit=9) == found[:1]


async def test_a_case_is_found_by_its_bytes(database: Database) -> None:
    async with database.connection() as conn:

        async def open_case(delivery_id: int | None) -> int:
            case_id = await cases.open_case(
                conn,
                category="spam",
                delivery_id=delivery_id,
                sha256=sha256("a"),
                basis="near_hash",
                now=NOW,
            )
            assert case_id is not None
            return case_id

        first, second, third = [await open_case(one) for one in (None, 1, 2)]
        for delivery_id, case_id in ((None, first), (1, second)):
            case = await cases.find_case_on(conn, delivery_id=delivery_id, sha256=sha256("a"))
            assert case is not None
            assert case.id == case_id
        assert await cases.find_case_on(conn, delivery_id=3, sha256=sha256("a")) is None
        assert await cases.find_case_on(conn, delivery_id=None, sha256=sha256("b")) is None
        assert await cases.find_upheld(conn, sha256("a")) is None
        for case_id, to in ((third, CaseState.RELEASED), (second, CaseState.UPHELD)):
            await cases.rule_case(conn, case_id, to=to, ruled_by="mo", now=NOW)
        upheld = await cases.find_upheld(conn, sha256("a"))
        assert upheld is not None
        assert upheld.id == second
