"""An errand is carried out while there is reason to; what becomes of it, the backend's answer decides."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, deliveries, errands
from db.cases import CaseState
from db.deliveries import DeliveryState
from db.errands import ErrandKind
from relay.backends.abilities import ApiFailure, Refusal
from relay.errands.acting import NO_TOKEN, act
from relay.errands.results import Carried, GivenUp, Later, Result
from tests.db.builders import LEASE, NOW, new_delivery, sha256
from tests.db.queue import claim, finish, insert, move
from tests.relay.errands.api import ScriptedApi

if TYPE_CHECKING:
    from db.errands import Errand
    from db.pool import Database

POST = "https://a.example/notes/1"
ADA = "https://a.example/users/ada"


@pytest.fixture
def api() -> ScriptedApi:
    return ScriptedApi()


async def add(
    database: Database,
    kind: ErrandKind = ErrandKind.REPORT,
    *,
    subject: str = POST,
    delivery: int | None = None,
    case_id: int | None = 3,
) -> Errand:
    payload = {"object": POST, "actor": ADA, "alias": "", "delivery": delivery}
    async with database.connection() as conn:
        await errands.add(conn, kind=kind, subject=subject, payload=payload, case_id=case_id, now=NOW)
        claimed = await errands.claim(conn, worker="w", lease=LEASE, now=NOW)
    assert claimed is not None
    return claimed


@pytest.mark.parametrize(
    ("kind", "subject", "expected"),
    [
        (ErrandKind.REPORT, POST, ("report", POST, ADA)),
        (ErrandKind.REMOVE, POST, ("remove", POST, ADA)),
        (ErrandKind.PURGE_MEDIA, "x.png", ("purge_media", "x.png")),
        (ErrandKind.RESOLVE, POST, ("resolve", POST)),
    ],
)
async def test_each_kind_asks_the_backend_for_its_own_thing(
    kind: ErrandKind, subject: str, expected: tuple[str, ...], database: Database, api: ScriptedApi
) -> None:
    errand = await add(database, kind, subject=subject)
    assert await act(errand, api=api, database=database) == Carried()
    (asked,) = api.asked
    assert asked[: len(expected)] == expected


async def test_what_moderators_read_names_the_case_and_nothing_else(
    database: Database, api: ScriptedApi
) -> None:
    await act(await add(database, case_id=41), api=api, database=database)
    assert api.asked[0][-1] == "Breakwater withheld media of this post. See case 41."


@pytest.mark.parametrize("kind", Refusal)
async def test_what_may_pass_is_tried_again_and_everything_else_is_given_up_visibly(
    kind: Refusal, database: Database, api: ScriptedApi
) -> None:
    wait = timedelta(seconds=17)
    failure = ApiFailure(kind=kind, detail="what happened", retry_after=wait)
    api.answers.append(failure)
    result: Result = await act(await add(database), api=api, database=database)
    reason = f"{kind.value}: what happened"
    passing = {Refusal.RATE_LIMITED, Refusal.UNAVAILABLE}
    assert result == (Later(reason=reason, after=wait) if kind in passing else GivenUp(reason=reason))


async def test_without_a_token_it_is_given_up_in_words(database: Database) -> None:
    assert await act(await add(database), api=None, database=database) == GivenUp(reason=NO_TOKEN)


async def test_what_a_person_released_meanwhile_is_left_alone(database: Database, api: ScriptedApi) -> None:
    async with database.connection() as conn:
        case_id = await cases.open_case(
            conn, category="spam", delivery_id=None, sha256=sha256("a"), basis="exact_hash", now=NOW
        )
        assert case_id is not None
        await cases.rule_case(conn, case_id, to=CaseState.RELEASED, ruled_by="mo", now=NOW)
    errand = await add(database, case_id=case_id)
    assert await act(errand, api=api, database=database) == Carried(reason=errands.NOT_NEEDED)
    assert api.asked == []


async def test_an_errand_waits_until_the_backend_has_the_delivery(
    database: Database, api: ScriptedApi
) -> None:
    delivery_id = await insert(database, new_delivery())
    errand = await add(database, delivery=delivery_id)
    for _ in range(2):
        assert isinstance(await act(errand, api=api, database=database), Later)
        assert api.asked == []
        await claim(database)
    await finish(database, delivery_id)
    assert await act(errand, api=api, database=database) == Carried()
    assert len(api.asked) == 1


@pytest.mark.parametrize("to", [DeliveryState.DROPPED, DeliveryState.DEAD])
async def test_what_the_backend_never_got_is_not_acted_upon(
    to: DeliveryState, database: Database, api: ScriptedApi
) -> None:
    delivery_id = await insert(database, new_delivery())
    errand = await add(database, delivery=delivery_id)
    await claim(database)
    assert await move(database, delivery_id, DeliveryState.EXAMINING, to, worker="w")
    assert await act(errand, api=api, database=database) == Carried(reason=errands.NOT_NEEDED)
    assert api.asked == []


async def test_a_delivery_that_is_forgotten_was_not_forwarded_lately(
    database: Database, api: ScriptedApi
) -> None:
    async with database.connection() as conn:
        assert await deliveries.find_delivery(conn, 999) is None
    errand = await add(database, delivery=999)
    assert await act(errand, api=api, database=database) == Carried(reason=errands.NOT_NEEDED)
    assert api.asked == []
