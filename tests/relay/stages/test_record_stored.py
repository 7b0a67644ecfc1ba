"""What is found in stored media is recorded with its place and what follows from it, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db import audit, cases, errands, whereabouts
from db.errands import ErrandKind, NewErrand
from relay.model import Door, MediaDecision, MediaOutcome, Place
from relay.stages import record
from relay.stages.record import record_stored
from scanner.report import Verdict
from tests.fediverse.clock import START
from tests.relay.stages.parts import evidence, finding, outcome, report

if TYPE_CHECKING:
    from db.pool import Connection, Database

MATCH = report(Verdict.MATCH, findings=(finding(),))
SHA256 = MATCH.fingerprints.sha256
BLOCKED = outcome(evidence(MATCH), MediaDecision.BLOCK, category="spam", needs_case=True)
PLACE = Place(object_id="https://home.example/1", actor_id="https://home.example/ada", may_be_removed=True)
ERRAND = NewErrand(kind=ErrandKind.REPORT, subject=PLACE.object_id, payload={"object": PLACE.object_id})


async def put(
    database: Database, of: MediaOutcome = BLOCKED, *, place: Place = PLACE, new: tuple[NewErrand, ...] = ()
) -> int | None:
    return await record_stored(of, place, door=Door.UPLOADS, database=database, now=START, errands=new)


async def count(conn: Connection) -> tuple[int, int, int, int]:
    return (
        len(await cases.list_cases(conn, limit=9)),
        len(await whereabouts.list_sightings(conn, SHA256, limit=9)),
        len(await errands.list_errands(conn, limit=9)),
        len(await audit.list_entries(conn, limit=9)),
    )


async def test_a_case_its_place_and_what_follows_are_recorded_together(database: Database) -> None:
    case_id = await put(database, new=(ERRAND,))
    async with database.connection() as conn:
        (case,) = await cases.list_cases(conn, limit=9)
        (errand,) = await errands.list_errands(conn, limit=9)
        (sighting,) = await whereabouts.list_sightings(conn, SHA256, limit=9)
        entries = await audit.list_entries(conn, limit=9)
    assert (case.id, case.door, errand.case_id) == (case_id, "uploads", case_id)
    assert sighting.object_id == PLACE.object_id
    assert [one.event for one in entries] == ["errand_added", "case_opened"]
    assert {one.actor for one in entries} == {"relay"}


async def test_the_same_bytes_elsewhere_have_one_case_and_an_errand_each(database: Database) -> None:
    case_id = await put(database, new=(ERRAND,))
    other = Place(object_id="https://home.example/2", may_be_removed=True)
    again = NewErrand(kind=ErrandKind.REPORT, subject=other.object_id, payload={})
    assert await put(database, place=other, new=(again,)) is None
    async with database.connection() as conn:
        assert await count(conn) == (1, 2, 2, 3)
        assert {one.case_id for one in await errands.list_errands(conn, limit=9)} == {case_id}


async def test_to_look_once_more_records_nothing_new(database: Database) -> None:
    for _ in range(2):
        await put(database, new=(ERRAND,))
    async with database.connection() as conn:
        assert await count(conn) == (1, 1, 1, 2)


async def test_a_place_of_which_nothing_is_known_is_not_remembered(database: Database) -> None:
    assert await put(database, place=Place()) is not None
    async with database.connection() as conn:
        assert await count(conn) == (1, 0, 0, 1)


async def test_what_cannot_be_recorded_wholly_is_not_recorded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> int:
        raise RuntimeError

    monkeypatch.setattr(record, "enter_errands", fail)
    with pytest.raises(RuntimeError):
        await put(database, new=(ERRAND,))
    async with database.connection() as conn:
        assert await count(conn) == (0, 0, 0, 0)


@pytest.mark.parametrize("decision", MediaDecision)
async def test_what_nobody_has_to_see_to_leaves_nothing_behind(
    decision: MediaDecision, database: Database
) -> None:
    assert await put(database, outcome(evidence(MATCH), decision)) is None
    async with database.connection() as conn:
        assert await count(conn) == (0, 0, 0, 0)
