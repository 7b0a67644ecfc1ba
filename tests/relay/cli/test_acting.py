"""A ruling leads to what is done on the backend, or says what has to be done by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from db import audit, cases, errands, whereabouts
from db.cases import CaseState
from db.errands import ErrandKind, ErrandState
from db.whereabouts import Sighting
from relay.backends.abilities import Ability
from relay.cli.cases import NoSuchCaseError, list_places, rule
from relay.cli.errands import NoSuchErrandError, list_rows, retry
from relay.stages.act import Acting
from scanner.labels import Category
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from db.pool import Database

SHA256 = bytes(range(32))
POST = "https://home.example/users/ada/statuses/1"
ADA = "https://home.example/users/ada"
REMOVES = Acting(
    actions={Category.SPAM: ErrandKind.REMOVE},
    abilities=frozenset({Ability.REPORT, Ability.REMOVE}),
    own_host="home.example",
)
NO_TOKEN = Acting(actions=REMOVES.actions, abilities=frozenset(), own_host="home.example")
NO_ACTION = Acting(actions={}, abilities=REMOVES.abilities, own_host="home.example")


@pytest.fixture
async def case_id(database: Database) -> int:
    """A case about a near match in an upload."""
    async with database.connection() as conn:
        opened = await cases.open_case(
            conn,
            category="spam",
            delivery_id=None,
            sha256=SHA256,
            basis="near_hash",
            now=START,
            door="uploads",
        )
        await whereabouts.put_sighting(
            conn, Sighting(sha256=SHA256, object_id=POST, actor_id=ADA, alias="", seen_at=START)
        )
    assert opened is not None
    return opened


async def uphold(database: Database, case_id: int, acting: Acting, to: CaseState = CaseState.UPHELD) -> str:
    return await rule(database, case_id, to=to, ruled_by="mo", note="", now=START, acting=acting)


async def entries(database: Database) -> list[tuple[str, str, dict[str, Any]]]:
    async with database.connection() as conn:
        found = await audit.list_entries(conn, limit=9)
    return [(one.actor, one.event, one.detail) for one in reversed(found)]


async def test_an_upheld_case_leads_to_an_errand_once(database: Database, case_id: int) -> None:
    assert "to be done on your server: 1" in await uphold(database, case_id, REMOVES)
    async with database.connection() as conn:
        (errand,) = await errands.list_errands(conn, limit=9)
    assert (errand.kind, errand.subject, errand.case_id) == (ErrandKind.REMOVE, POST, case_id)
    assert await entries(database) == [
        ("mo", "case_ruled", {"case": case_id, "to": "upheld"}),
        ("mo", "errand_added", {"errand": errand.id, "kind": "remove", "case": case_id}),
    ]
    with pytest.raises(NoSuchCaseError):
        await uphold(database, case_id, REMOVES)
    rows = await list_places(database, case_id, acting=REMOVES)
    assert rows == [{"post": POST, "account": ADA, "file": "", "errand": f"{errand.id} remove: waiting"}]


@pytest.mark.parametrize(
    ("acting", "why"),
    [(NO_TOKEN, "no backend.token"), (NO_ACTION, "policy.spam.act is none")],
    ids=["no token", "no action"],
)
async def test_where_nothing_is_done_the_person_is_told_what_to_do(
    acting: Acting, why: str, database: Database, case_id: int
) -> None:
    said = await uphold(database, case_id, acting)
    assert why in said
    assert f"breakwater cases posts {case_id}" in said
    assert POST not in said
    async with database.connection() as conn:
        assert await errands.list_errands(conn, limit=9) == ()
    (row,) = await list_places(database, case_id, acting=acting)
    assert (row["post"], row["errand"]) == (POST, None)


async def test_a_released_case_leads_to_nothing(database: Database, case_id: int) -> None:
    assert await uphold(database, case_id, REMOVES, CaseState.RELEASED) == "the ruling is recorded"
    async with database.connection() as conn:
        assert await errands.list_errands(conn, limit=9) == ()


async def test_the_places_of_no_case_are_not_listed(database: Database) -> None:
    with pytest.raises(NoSuchCaseError, match="no case 77"):
        await list_places(database, 77, acting=REMOVES)


async def test_errands_are_listed_without_what_they_are_about_and_retried_once_failed(
    database: Database, case_id: int
) -> None:
    await uphold(database, case_id, REMOVES)
    (row,) = await list_rows(database, (ErrandState.WAITING,))
    assert POST not in str(row)
    assert (row["kind"], row["case"], row["state"]) == ("remove", case_id, "waiting")
    with pytest.raises(NoSuchErrandError):
        await retry(database, row["id"])
    async with database.connection() as conn:
        await errands.claim(conn, worker="w", lease=START - START, now=START)
        await errands.finish(
            conn, row["id"], worker="w", to=ErrandState.FAILED, now=START, reason="forbidden: no"
        )
    assert await list_rows(database, (ErrandState.WAITING,)) == []
    (row,) = await list_rows(database, (ErrandState.FAILED,))
    assert (row["reason"], row["due_at"]) == ("forbidden: no", None)
    await retry(database, row["id"])
    (row,) = await list_rows(database, (ErrandState.WAITING,))
    assert row["state"] == "waiting"
