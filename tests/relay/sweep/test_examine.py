"""Every stored file is examined by the line; a dry run leaves nothing but verdicts, and only adapters act."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from db import cases, errands, rulings, verdicts, whereabouts
from db.errands import ErrandKind
from relay.backends.abilities import Ability
from relay.stages.act import Acting
from relay.sweep.counting import Deed, Kind, Result
from relay.sweep.examine import Manner, examine_entry
from relay.sweep.source import PassedOver, StoredFile, Trouble
from scanner.canary import draw_canary
from scanner.labels import Category
from tests.fediverse.clock import START
from tests.relay.sweep.conftest import MAX_MEDIA_BYTES
from tests.relay.sweep.parts import BROKEN, PAGE, ListedSource, fresh_canary, picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.pool import Database
    from relay.sweep.examine import SweepTools

DRY, ACTING = Manner(is_dry_run=True), Manner(is_dry_run=False)
REMOVES = Acting(
    actions={Category.SPAM: ErrandKind.REMOVE}, abilities=frozenset({Ability.PURGE_MEDIA}), own_host=""
)


async def examine(
    data: bytes, tools: SweepTools, manner: Manner = ACTING, *, name: str = "one", alias: str = ""
) -> Result:
    file = StoredFile(name=name, cursor=name.encode(), key=name, alias=alias)
    return await examine_entry(file, source=ListedSource({name: data}), tools=tools, manner=manner)


def removing(tools: SweepTools) -> SweepTools:
    return replace(tools, acting=REMOVES)


async def list_cases(database: Database) -> Sequence[cases.Case]:
    async with database.connection() as conn:
        return await cases.list_cases(conn, limit=10)


async def list_errands(database: Database) -> Sequence[errands.Errand]:
    async with database.connection() as conn:
        return await errands.list_errands(conn, limit=10)


async def has_verdict(data: bytes, tools: SweepTools) -> bool:
    async with tools.database.connection() as conn:
        state = tools.scans.scanning.state_digest
        return await verdicts.find_verdict(conn, hashlib.sha256(data).digest(), state) is not None


async def test_media_without_a_match_is_scanned_once(tools: SweepTools) -> None:
    first = await examine(picture(), tools)
    assert (first.kind, first.is_known, first.size) == (Kind.NO_MATCH, False, len(picture()))
    again = await examine(picture(), tools, name="a copy")
    assert (again.kind, again.is_known) == (Kind.NO_MATCH, True)
    assert await list_cases(tools.database) == ()


async def test_what_is_no_media_is_passed_over_without_reading_it_all(tools: SweepTools) -> None:
    assert (await examine(PAGE, tools)).kind is Kind.NOT_MEDIA
    assert (await examine(b"%PDF-1.7", tools)).kind is Kind.NOT_MEDIA
    assert (await examine(b"", tools)).kind is Kind.NOT_MEDIA
    assert not await has_verdict(PAGE, tools)


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (BROKEN, "one", "truncated"),
        (PAGE, "page.jpg", "not_media"),
        (b"", "empty.PNG", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing", "not_media"),
        (picture() + bytes(MAX_MEDIA_BYTES), "one", "too_large"),
    ],
)
@pytest.mark.parametrize("manner", [DRY, ACTING])
async def test_what_cannot_be_examined_is_unscannable_and_nothing_else(
    data: bytes, name: str, reason: str, manner: Manner, tools: SweepTools
) -> None:
    result = await examine(data, removing(tools), manner, name=name, alias="alias.png")
    assert (result.kind, result.detail) == (Kind.UNSCANNABLE, reason)
    assert (result.deed, result.case_id) == (Deed.NOTHING, None)
    assert await list_cases(tools.database) == ()
    assert await list_errands(tools.database) == ()


async def test_a_case_for_the_unscannable_is_opened_on_demand_and_leads_to_no_errand(
    tools: SweepTools,
) -> None:
    manner = Manner(is_dry_run=False, asks_about_unscannable=True)
    result = await examine(BROKEN, removing(tools), manner, alias="alias.png")
    (case,) = await list_cases(tools.database)
    assert (case.id, case.category, case.door) == (result.case_id, "unexamined", "sweep")
    assert result.deed is Deed.CASE
    assert await list_errands(tools.database) == ()
    assert (await examine(BROKEN, tools, replace(manner, is_dry_run=True))).case_id is None


async def test_a_dry_run_keeps_the_verdict_and_nothing_else(tools: SweepTools) -> None:
    result = await examine(draw_canary(), removing(tools), DRY, alias="canary.png")
    assert (result.kind, result.detail, result.is_found) == (Kind.MATCH, "spam", True)
    assert (result.case_id, result.deed) == (None, Deed.NOTHING)
    assert await has_verdict(draw_canary(), tools)
    assert await list_cases(tools.database) == ()
    assert await list_errands(tools.database) == ()
    assert tools.spool.size_bytes() == 0


async def test_an_exact_match_is_handed_to_the_adapter_where_policy_says_so(tools: SweepTools) -> None:
    for _ in range(2):
        result = await examine(draw_canary(), removing(tools), alias="canary.png")
        assert (result.kind, result.deed, result.is_found) == (Kind.MATCH, Deed.ERRAND, True)
    (case,) = await list_cases(tools.database)
    (errand,) = await list_errands(tools.database)
    assert case.id == errand.case_id == result.case_id
    assert (errand.kind, errand.payload["alias"]) == (ErrandKind.PURGE_MEDIA, "canary.png")
    assert (case.door, case.delivery_id, case.category) == ("sweep", None, "spam")
    assert tools.spool.find(hashlib.sha256(draw_canary()).digest()) == draw_canary()


async def test_without_an_adapter_a_person_is_told_to_remove_it(tools: SweepTools) -> None:
    unable = replace(tools, acting=replace(REMOVES, abilities=frozenset()))
    for given, alias in ((unable, "canary.png"), (removing(tools), "")):
        result = await examine(draw_canary(), given, alias=alias)
        assert (result.deed, result.case_id is not None) == (Deed.BY_HAND, True)
    assert await list_errands(tools.database) == ()


async def test_a_match_that_policy_does_not_want_removed_is_a_case_alone(tools: SweepTools) -> None:
    for actions in ({}, {Category.SPAM: ErrandKind.REPORT}):
        given = replace(tools, acting=replace(REMOVES, actions=actions))
        result = await examine(draw_canary(), given, alias="canary.png")
        assert (result.kind, result.deed) == (Kind.MATCH, Deed.CASE)
    assert await list_errands(tools.database) == ()


async def test_a_near_match_is_for_a_person_and_remembered_with_its_place(tools: SweepTools) -> None:
    result = await examine(fresh_canary(), removing(tools), alias="near.png")
    assert (result.kind, result.detail, result.deed) == (Kind.MATCH, "spam", Deed.CASE)
    assert await list_errands(tools.database) == ()
    async with tools.database.connection() as conn:
        seen = await whereabouts.list_sightings(conn, hashlib.sha256(fresh_canary()).digest(), limit=5)
    assert [one.alias for one in seen] == ["near.png"]


async def test_what_a_person_decided_about_these_bytes_holds(tools: SweepTools) -> None:
    near = await examine(fresh_canary(), removing(tools), alias="near.png")
    assert near.case_id is not None
    for kind, state in (
        (rulings.RulingKind.BLOCK, cases.CaseState.UPHELD),
        (rulings.RulingKind.ALLOW, cases.CaseState.RELEASED),
    ):
        async with tools.database.transaction() as conn:
            await cases.rule_case(conn, near.case_id, to=state, ruled_by="mia", now=START)
            sha256 = hashlib.sha256(fresh_canary()).digest()
            await rulings.set_ruling(
                conn, rulings.Ruling(sha256=sha256, ruling=kind, ruled_by="mia", ruled_at=START)
            )
        result = await examine(fresh_canary(), removing(tools), alias="near.png")
        if kind is rulings.RulingKind.BLOCK:
            assert (result.kind, result.is_found, result.deed) == (Kind.UPHELD, True, Deed.ERRAND)
            assert result.case_id == near.case_id
        else:
            assert (result.kind, result.is_found, result.deed) == (Kind.RELEASED, False, Deed.NOTHING)
    assert [one.kind for one in await list_errands(tools.database)] == [ErrandKind.PURGE_MEDIA]


async def test_what_was_not_read_is_said_to_be(tools: SweepTools) -> None:
    source = ListedSource({})
    for entry, kind, detail in (
        (PassedOver(name="x", cursor=b"x"), Kind.LEFT_OUT, ""),
        (PassedOver(name="x", cursor=b"x", is_gone=True), Kind.VANISHED, ""),
        (PassedOver(name="x", cursor=b"x", trouble=Trouble.IO_ERROR), Kind.ERROR, "io_error"),
    ):
        result = await examine_entry(entry, source=source, tools=tools, manner=ACTING)
        assert (result.kind, result.detail) == (kind, detail)


async def test_room_in_memory_is_given_back(tools: SweepTools) -> None:
    for data in (picture(), PAGE, picture() + bytes(MAX_MEDIA_BYTES)):
        await examine(data, tools)
        assert tools.memory.used_bytes == 0
