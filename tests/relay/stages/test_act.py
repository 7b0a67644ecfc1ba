"""The backend is acted upon for known bytes and on a person's word, never on anything less."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, deliveries, whereabouts
from db.cases import CaseState
from db.delivery_rows import DeliveryState
from db.errands import ErrandKind
from db.whereabouts import Carrier, Sighting
from relay.backends.abilities import Ability
from relay.lifecycle import State
from relay.model import (
    Decision,
    DeliveryDecision,
    Evidence,
    EvidenceBasis,
    MediaDecision,
    MediaOutcome,
    Place,
)
from relay.stages.act import (
    Acting,
    decide_errands,
    find_grounds,
    find_place,
    plan_for_delivery,
    plan_for_outcome,
    plan_for_ruling,
)
from relay.stages.record import record_decision
from relay.stages.store import HoldPolicy, store
from relay.tools.limits import Backlog, FairShare
from scanner.labels import Category
from scanner.report import Basis, UnscannableReason, Verdict
from tests.fediverse.clock import START
from tests.relay.stages.parts import (
    ALICE,
    NOTE,
    WORKER,
    claim,
    decision,
    delivery,
    evidence,
    finding,
    outcome,
    reference,
    report,
)

if TYPE_CHECKING:
    from db.cases import Case
    from db.delivery_rows import StoredDelivery
    from db.errands import NewErrand
    from db.pool import Database

HOME = "home.example"
EVERYTHING = frozenset({Ability.REPORT, Ability.REMOVE, Ability.PURGE_MEDIA})
REMOVES = Acting(
    actions={Category.SPAM: ErrandKind.REMOVE, Category.TVEC: ErrandKind.REPORT},
    abilities=EVERYTHING,
    own_host=HOME,
)
REPORTS = replace(REMOVES, actions={Category.SPAM: ErrandKind.REPORT})
POST = Place(object_id=NOTE, actor_id=ALICE, may_be_removed=True)

EXACT = report(Verdict.MATCH, findings=(finding(),))
BLOCKED = outcome(evidence(EXACT), MediaDecision.BLOCK, category="spam", needs_case=True)
SHA256 = EXACT.fingerprints.sha256
CARRIER = Carrier(
    id=7,
    state=DeliveryState.FORWARDED,
    activity_id=f"{ALICE}/activities/1",
    activity_type="Create",
    object_id=NOTE,
    chain_key=NOTE,
    sender_actor=ALICE,
    is_selftest=False,
)


def kinds(errands: tuple[NewErrand, ...]) -> list[str]:
    return [one.kind.value for one in errands]


@pytest.mark.parametrize("basis", sorted(set(Basis) - {Basis.EXACT_HASH, Basis.HUMAN}))
def test_nothing_less_than_the_exact_bytes_is_a_ground(basis: Basis) -> None:
    of = report(Verdict.MATCH, findings=(finding(Category.CSAM_KNOWN, basis), finding(Category.TVEC, basis)))
    assert not find_grounds(outcome(evidence(of), MediaDecision.BLOCK))


def test_a_near_match_is_not_acted_upon_because_something_else_matched_exactly() -> None:
    of = report(
        Verdict.MATCH, findings=(finding(Category.CSAM_KNOWN, Basis.NEAR_HASH), finding(Category.TVEC))
    )
    assert find_grounds(outcome(evidence(of), MediaDecision.BLOCK)) == {Category.TVEC}


@pytest.mark.parametrize(
    "one",
    [
        outcome(evidence(report(Verdict.UNSCANNABLE, reason=UnscannableReason.CORRUPT)), MediaDecision.BLOCK),
        outcome(evidence(report()), MediaDecision.BLOCK),
        outcome(
            Evidence(reference=reference(), basis=EvidenceBasis.FETCH),
            MediaDecision.WITHHOLD,
            needs_case=True,
        ),
        outcome(evidence(EXACT), MediaDecision.RELEASE),
        outcome(evidence(report(Verdict.MATCH, findings=(finding(advisory=True),))), MediaDecision.WITHHOLD),
        outcome(
            Evidence(reference=reference(), basis=EvidenceBasis.PEER, sha256=SHA256, report=EXACT),
            MediaDecision.BLOCK,
        ),
    ],
    ids=["unscannable", "no match", "not fetched", "released by policy", "advisory", "a peer's word"],
)
def test_what_is_not_known_and_what_is_released_is_no_ground(one: MediaOutcome) -> None:
    assert not find_grounds(one)


def test_the_strictest_action_of_all_grounds_is_taken() -> None:
    assert kinds(decide_errands({Category.TVEC}, POST, REMOVES)) == ["report"]
    assert kinds(decide_errands({Category.TVEC, Category.SPAM}, POST, REMOVES)) == ["remove"]
    assert decide_errands({Category.NCII_KNOWN}, POST, REMOVES) == ()
    assert decide_errands((), POST, REMOVES) == ()


@pytest.mark.parametrize(
    ("place", "abilities", "expected"),
    [
        (POST, EVERYTHING, ["remove"]),
        (POST, {Ability.REPORT}, ["report"]),
        (POST, {Ability.RESOLVE}, []),
        (POST, set(), []),
        (replace(POST, may_be_removed=False), EVERYTHING, ["report"]),
        (Place(actor_id=ALICE, may_be_removed=True), EVERYTHING, ["report"]),
        (Place(alias="x.png"), EVERYTHING, ["purge_media"]),
        (Place(alias="x.png"), {Ability.REPORT, Ability.REMOVE}, []),
        (replace(POST, alias="x.png"), EVERYTHING, ["purge_media", "remove"]),
        (Place(), EVERYTHING, []),
    ],
    ids=[
        "a post",
        "a server that only takes reports",
        "a server that takes neither",
        "no token",
        "another's post",
        "an account",
        "a file",
        "a file on a server without file access",
        "a post whose file is known",
        "nowhere",
    ],
)
def test_a_removal_is_softened_to_what_may_and_can_be_done(
    place: Place, abilities: set[Ability], expected: list[str]
) -> None:
    acting = replace(REMOVES, abilities=frozenset(abilities))
    assert kinds(decide_errands({Category.SPAM}, place, acting)) == expected


@pytest.mark.parametrize("place", [POST, Place(alias="x.png"), replace(POST, alias="x.png")])
def test_who_wants_reports_gets_no_removal(place: Place) -> None:
    assert set(kinds(decide_errands({Category.SPAM}, place, REPORTS))) <= {"report"}


def test_an_errand_names_what_acting_needs_and_nothing_of_the_media() -> None:
    (errand,) = decide_errands({Category.SPAM}, replace(POST, delivery_id=7), REMOVES, case_id=3)
    assert errand.subject == NOTE
    assert errand.case_id == 3
    assert errand.payload == {"object": NOTE, "actor": ALICE, "alias": "", "delivery": 7}


COMMUNITY = "https://town.example/c/cats"
ELSEWHERE = "https://beta.example/notes/9"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Place(object_id=NOTE, actor_id=ALICE, may_be_removed=True, delivery_id=7)),
        (
            {"activity_type": "Update", "object_id": ALICE, "chain_key": ALICE},
            Place(actor_id=ALICE, delivery_id=7),
        ),
        (
            {"activity_type": "Announce", "object_id": ELSEWHERE, "chain_key": CARRIER.activity_id},
            Place(object_id=ELSEWHERE, delivery_id=7),
        ),
        (
            {
                "activity_type": "Announce",
                "sender_actor": COMMUNITY,
                "object_id": "https://beta.example/activities/1",
                "chain_key": ELSEWHERE,
            },
            Place(object_id=ELSEWHERE, delivery_id=7),
        ),
        (
            {"activity_type": "Announce", "object_id": NOTE, "chain_key": CARRIER.activity_id},
            Place(object_id=NOTE, may_be_removed=True, delivery_id=7),
        ),
        ({"sender_actor": "https://beta.example/users/eve"}, None),
        ({"sender_actor": None}, None),
        ({"is_selftest": True}, None),
        ({"activity_type": "EmojiReact"}, None),
        ({"activity_type": "Like"}, None),
        ({"activity_type": "Announce", "object_id": f"https://{HOME}/notes/1", "chain_key": "x"}, None),
        (
            {"activity_type": "Announce", "object_id": f"https://{HOME}:8443/notes/1", "chain_key": ""},
            None,
        ),
        ({"object_id": "", "chain_key": ""}, None),
        ({"object_id": "urn:x", "chain_key": "urn:x"}, None),
    ],
    ids=[
        "its author's own post",
        "an account",
        "a post announced by its id",
        "a post announced by a community",
        "its author's own announcement",
        "another's post",
        "an unknown sender",
        "the self-test",
        "a reaction",
        "a like",
        "one of our own posts",
        "one of our own posts at another port",
        "nothing",
        "what is no address",
    ],
)
def test_a_delivery_leads_to_what_its_sender_speaks_for(
    changes: dict[str, object], expected: Place | None
) -> None:
    assert find_place(replace(CARRIER, **changes), own_host=HOME) == expected  # type: ignore[arg-type]


async def put_in(database: Database, *, number: int = 1, kind: str = "Create") -> StoredDelivery:
    hold = HoldPolicy(
        budget=timedelta(minutes=5),
        window=timedelta(minutes=50),
        backlog=Backlog(limit=10),
        fair_share=FairShare(per_second=10, burst=10),
    )
    new = delivery(kind, number=number)
    assert await store(new, database=database, hold=hold, is_selftest=False) is None
    return await claim(database)


async def record(database: Database, stored: StoredDelivery, of: Decision) -> State | None:
    return await record_decision(stored, of, database=database, worker=WORKER, now=START)


async def forward(database: Database, stored: StoredDelivery, of: Decision) -> None:
    assert await record(database, stored, of) is State.FORWARDING
    async with database.connection() as conn:
        assert await deliveries.advance(
            conn,
            stored.id,
            expected=State.FORWARDING,
            to=State.FORWARDED,
            now=START,
            worker=WORKER,
        )


async def test_what_is_to_be_forwarded_or_held_has_an_errand_that_waits_for_the_delivery(
    database: Database,
) -> None:
    stored = await put_in(database)
    for to in (DeliveryDecision.FORWARD, DeliveryDecision.HOLD):
        planned = await plan_for_delivery(stored, decision(to, BLOCKED), acting=REMOVES, database=database)
        (errand,) = planned[SHA256]
        assert errand.kind is ErrandKind.REMOVE
        assert errand.payload["delivery"] == stored.id


@pytest.mark.parametrize("to", [DeliveryDecision.DROP, DeliveryDecision.RETRY])
async def test_what_never_reaches_the_backend_has_no_errand(to: DeliveryDecision, database: Database) -> None:
    stored = await put_in(database)
    assert not await plan_for_delivery(stored, decision(to, BLOCKED), acting=REMOVES, database=database)


async def test_an_earlier_copy_that_was_forwarded_is_acted_upon_at_once(database: Database) -> None:
    first = await put_in(database)
    await forward(database, first, decision(DeliveryDecision.FORWARD, outcome()))
    later = await put_in(database, number=2, kind="Update")
    planned = await plan_for_delivery(
        later, decision(DeliveryDecision.DROP, BLOCKED), acting=REMOVES, database=database
    )
    (errand,) = planned[SHA256]
    assert (errand.subject, errand.payload["delivery"]) == (NOTE, None)


@pytest.mark.parametrize(
    "acting",
    [replace(REMOVES, abilities=frozenset()), replace(REMOVES, actions={})],
    ids=["no token", "no action"],
)
async def test_without_a_token_or_an_action_nothing_follows(acting: Acting, database: Database) -> None:
    stored = await put_in(database)
    of = decision(DeliveryDecision.FORWARD, BLOCKED)
    assert not await plan_for_delivery(stored, of, acting=acting, database=database)
    assert not await plan_for_outcome(BLOCKED, POST, acting=acting, database=database)


async def upheld_case(
    database: Database, *, delivery_id: int | None = None, category: str = "spam", sha256: bytes = SHA256
) -> Case:
    async with database.connection() as conn:
        case_id = await cases.open_case(
            conn,
            category=category,
            delivery_id=delivery_id,
            sha256=sha256,
            basis="near_hash",
            now=START,
        )
        assert case_id is not None
        await cases.rule_case(conn, case_id, to=CaseState.UPHELD, ruled_by="mo", now=START)
        found = await cases.find_case(conn, case_id)
    assert found is not None
    return found


RULED = MediaOutcome(
    evidence=Evidence(reference=reference(), basis=EvidenceBasis.RULING, sha256=SHA256, is_allowed=False),
    decision=MediaDecision.BLOCK,
)


async def test_bytes_that_a_person_upheld_are_acted_upon_wherever_they_come_again(database: Database) -> None:
    assert await plan_for_outcome(RULED, POST, acting=REMOVES, database=database) == ()
    case = await upheld_case(database)
    (errand,) = await plan_for_outcome(RULED, POST, acting=REMOVES, database=database)
    assert (errand.kind, errand.case_id) == (ErrandKind.REMOVE, case.id)
    released = replace(RULED, decision=MediaDecision.RELEASE)
    assert await plan_for_outcome(released, POST, acting=REMOVES, database=database) == ()


async def test_an_upheld_case_leads_to_every_place_where_its_bytes_went(database: Database) -> None:
    near = report(Verdict.MATCH, findings=(finding(basis=Basis.NEAR_HASH),))
    withheld = outcome(evidence(near), MediaDecision.WITHHOLD, category="spam", needs_case=True)
    forwarded = await put_in(database)
    of = decision(DeliveryDecision.FORWARD, withheld)
    assert not await plan_for_delivery(forwarded, of, acting=REMOVES, database=database)
    await forward(database, forwarded, of)
    async with database.connection() as conn:
        await whereabouts.put_sighting(
            conn,
            Sighting(
                sha256=SHA256,
                object_id=f"https://{HOME}/notes/5",
                actor_id=f"https://{HOME}/users/ada",
                alias="",
                seen_at=START,
            ),
        )
        case = await _of_delivery(database, forwarded.id)
        planned = await plan_for_ruling(conn, case, acting=REMOVES)
    assert [(one.kind, one.subject, one.case_id) for one in planned] == [
        (ErrandKind.REMOVE, NOTE, case.id),
        (ErrandKind.REMOVE, f"https://{HOME}/notes/5", case.id),
    ]


async def _of_delivery(database: Database, delivery_id: int) -> Case:
    async with database.connection() as conn:
        found = await cases.find_case_on(conn, delivery_id=delivery_id, sha256=SHA256)
    if found is not None:
        return found
    return await upheld_case(database, delivery_id=delivery_id)


async def test_a_case_about_what_nobody_could_look_at_leads_nowhere(database: Database) -> None:
    stored = await put_in(database)
    await forward(database, stored, decision(DeliveryDecision.FORWARD, BLOCKED))
    unexamined = await upheld_case(database, delivery_id=99, category="unexamined")
    async with database.connection() as conn:
        assert await plan_for_ruling(conn, unexamined, acting=REMOVES) == ()
        unseen = replace(unexamined, sha256=None, category="spam")
        assert await plan_for_ruling(conn, unseen, acting=REMOVES) == ()


async def test_a_dropped_delivery_is_no_place_where_anything_lies(database: Database) -> None:
    stored = await put_in(database)
    assert await record(database, stored, decision(DeliveryDecision.DROP, BLOCKED)) is State.DROPPED
    case = await _of_delivery(database, stored.id)
    async with database.connection() as conn:
        assert await plan_for_ruling(conn, case, acting=REMOVES) == ()
