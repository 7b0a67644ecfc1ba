"""What a hostile sender tries against the line: hiding, stalling, and making it ask on his behalf."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, deliveries, delivery_lists
from relay import pipeline
from relay.lifecycle import State
from relay.model import DeliveryDecision, FetchFailure, Location, MediaDecision, MediaReference
from relay.pipeline import Accepted, PassedThrough, Refused, examine, receive
from relay.stages.dereference import follow
from relay.stages.extract import extract
from relay.stages.record import record_decision
from relay.tools.references import merge_references
from scanner.canary import draw_canary
from tests.fediverse import shapes
from tests.fediverse.behaviours import refuse, serve, serve_json, stall
from tests.fediverse.clock import START
from tests.images import encode, marker
from tests.relay.line import Line, open_line
from tests.relay.stages.parts import WORKER, claim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.delivery_rows import StoredDelivery
    from relay.tools.documents import Document
    from relay.tools.fetching import Signer
    from tests.fediverse import Actor

PNG = encode(marker(1, width=96, height=96), "PNG")
SOON = timedelta(milliseconds=100)


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[Line]:
    async with open_line(dsn) as opened:
        yield opened


@pytest.fixture
def alice(line: Line) -> Actor:
    return line.origin.create_actor("alice")


async def _take(line: Line, actor: Actor, activity: dict[str, object]) -> StoredDelivery:
    assert isinstance(await line.receive(actor, activity), Accepted)
    async with line.database.connection() as conn:
        stored = await delivery_lists.find_by_activity(conn, str(activity["id"]))
    assert stored is not None
    return stored


# Nothing is hidden by being named rather than shown.


@pytest.mark.parametrize("depth", [1, 2])
async def test_what_a_fetched_object_names_is_followed(depth: int, line: Line, alice: Actor) -> None:
    bad = line.origin.serve_media("/bad.png", draw_canary())
    url = line.origin.serve_object(shapes.mastodon_note(alice, [bad]))
    for _ in range(depth):
        wrapping = {**shapes.create(alice, {"id": url}), "id": alice.new_id("activities"), "object": url}
        url = line.origin.serve_object(wrapping)

    decision = await examine(await _take(line, alice, shapes.announce(alice, url)), tools=line.tools)

    assert decision.delivery is DeliveryDecision.HOLD
    assert [one.evidence.reference.url for one in decision.outcomes] == [bad]


async def test_an_announced_document_without_a_type_is_not_known_and_no_reason_to_give_up(
    line: Line, alice: Actor
) -> None:
    url = line.origin.on("/n/1", serve_json({"id": f"{line.origin.url}/n/1"}))

    decision = await examine(await _take(line, alice, shapes.announce(alice, url)), tools=line.tools)

    assert [one.evidence.failure for one in decision.outcomes] == [FetchFailure.MALFORMED]
    assert decision.delivery is DeliveryDecision.HOLD


class _Endless:
    """Serves objects that each name two more."""

    def __init__(self) -> None:
        self.asked = 0

    async def fetch_document(self, url: str, *, signer: Signer | None = None) -> Document | FetchFailure:
        from relay.tools.documents import Document  # noqa: PLC0415 (used by this fake alone)

        assert signer is not None
        self.asked += 1
        named = [f"{url}/{number}" for number in range(2)]
        return Document(url=url, value={"id": url, "type": "Announce", "object": named})


async def test_objects_without_end_are_followed_only_so_far_and_reported(line: Line) -> None:
    source = _Endless()
    activity = extract({"type": "Announce", "actor": "https://a.example/u", "object": "https://a.example/1"})

    named = await follow(
        activity, extract=extract, client=source, signer=line.tools.signer, deadline=float("inf")
    )

    assert named.is_truncated
    assert source.asked <= 20


def test_an_address_that_is_declared_media_anywhere_stays_declared() -> None:
    declared = MediaReference(url="https://a.example/p", location=Location.ATTACHMENT)
    linked = replace(declared, location=Location.ELSEWHERE, is_declared=False)

    assert merge_references([declared, linked]) == merge_references([linked, declared]) == (declared,)


# Nobody makes the line fetch without a key.


@pytest.mark.parametrize(
    "members",
    [
        {"attachment": [{"type": "Image", "url": "https://far.example/p.png"}]},
        {"type": ["Delete", "Create"]},
    ],
)
async def test_the_delete_of_somebody_who_is_gone_is_a_delete_and_nothing_else(
    members: dict[str, object], line: Line, alice: Actor
) -> None:
    line.origin.on("/users/alice", refuse(410))
    farewell = shapes.delete(alice, alice.id, tombstone=False)

    assert isinstance(await line.receive(alice, farewell), PassedThrough)
    assert await line.receive(alice, {**farewell, **members}) == Refused(reason="key_gone")


async def test_an_unsigned_body_is_not_even_read(line: Line, alice: Actor) -> None:
    unsigned = alice.build_delivery(b"[" * 1000, f"{line.relay.door_url}/inbox")

    reply = await receive(unsigned, remote_address="192.0.2.7", tools=line.tools)

    assert reply == Refused(reason="no_signature")


async def test_one_address_has_only_so_many_unknown_keys_looked_up_and_loses_nothing(dsn: str) -> None:
    async with open_line(dsn) as line:
        actors = [line.origin.create_actor(f"actor{number}") for number in range(205)]
        document = shapes.like(actors[0], "https://instance.example/1")
        replies = [
            await line.receive(actor, {**document, "id": actor.new_id("likes"), "actor": actor.id})
            for actor in actors
        ]

        assert [type(reply) for reply in replies] == [PassedThrough] * 200 + [Accepted] * 5
        assert isinstance(await line.receive(actors[0], document), PassedThrough)


# Nobody keeps the line waiting.


async def test_a_sender_is_answered_before_a_key_that_takes_too_long(
    line: Line, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_KEY_WITHIN", SOON)
    line.origin.on("/users/alice", stall())

    stored = await _take(line, alice, shapes.mastodon_create(alice, [line.origin.serve_media("/p.png", PNG)]))

    assert stored.sender_actor is None


async def test_what_is_not_seen_in_time_is_not_known_and_looked_at_again(
    line: Line, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [line.origin.on(f"/{number}.png", stall()) for number in range(20)]
    stored = await _take(line, alice, shapes.mastodon_create(alice, urls))
    await line.tools.keys.find_key(alice.key_id)
    monkeypatch.setattr(pipeline, "_EXAMINE_WITHIN", SOON)

    decision = await examine(stored, tools=line.tools)

    assert {one.evidence.failure for one in decision.outcomes} == {FetchFailure.TIMEOUT}
    assert (len(decision.outcomes), decision.delivery) == (20, DeliveryDecision.RETRY)
    assert line.tools.memory.used_bytes == 0


async def test_an_origin_that_stalls_is_asked_a_few_times_and_not_for_each_of_its_references(
    dsn: str,
) -> None:
    async with open_line(dsn, fetch_connect_timeout_s="0.05", fetch_first_byte_timeout_s="0.05") as line:
        alice = line.origin.create_actor("alice")
        urls = [line.origin.on(f"/{number}.png", stall()) for number in range(40)]
        stored = await _take(line, alice, shapes.mastodon_create(alice, urls))

        decision = await examine(stored, tools=line.tools)

        assert {one.evidence.failure for one in decision.outcomes} == {FetchFailure.TIMEOUT}
        assert sum(line.origin.count(f"/{number}.png") for number in range(40)) <= 8


# What is held can be let go by a person.


async def _hold(line: Line, stored: StoredDelivery) -> tuple[cases.Case, ...]:
    """Examine and record what was found, as a worker does; return the open cases."""
    claimed = await claim(line.database, now=line.clock.now())
    assert claimed.id == stored.id
    decision = await examine(claimed, tools=line.tools)
    reached = await record_decision(
        claimed, decision, database=line.database, worker=WORKER, now=line.clock.now()
    )
    assert reached is State.HELD
    async with line.database.connection() as conn:
        return tuple(
            case for case in await cases.list_cases_of(conn, stored.id) if case.state is cases.CaseState.OPEN
        )


async def _release(line: Line, stored: StoredDelivery, case: cases.Case) -> None:
    async with line.database.transaction() as conn:
        await cases.rule_case(conn, case.id, to=cases.CaseState.RELEASED, ruled_by="eve", now=START)
        await deliveries.advance(conn, stored.id, expected=State.HELD, to=State.RECEIVED, now=START)


async def test_media_that_nobody_can_fetch_goes_on_when_a_person_lets_it_go(line: Line, alice: Actor) -> None:
    stored = await _take(line, alice, shapes.mastodon_create(alice, [line.origin.on("/p.png", refuse(410))]))
    (case,) = await _hold(line, stored)
    await _release(line, stored, case)

    decision = await examine(stored, tools=line.tools)

    assert decision.delivery is DeliveryDecision.FORWARD


async def test_a_release_of_the_unseen_releases_nothing_that_is_seen_later(line: Line, alice: Actor) -> None:
    stored = await _take(line, alice, shapes.mastodon_create(alice, [line.origin.on("/p.png", refuse(410))]))
    (case,) = await _hold(line, stored)
    await _release(line, stored, case)
    line.origin.on("/p.png", serve(draw_canary()))

    decision = await examine(stored, tools=line.tools)

    assert [one.decision for one in decision.outcomes] == [MediaDecision.WITHHOLD]
    assert decision.delivery is DeliveryDecision.HOLD


async def test_what_is_held_for_having_too_many_references_is_a_case_and_can_be_let_go(
    line: Line, alice: Actor
) -> None:
    urls = [f"{line.origin.serve_media('/p.png', PNG)}?{number}" for number in range(1_001)]
    stored = await _take(line, alice, shapes.mastodon_create(alice, urls))
    (case,) = await _hold(line, stored)
    assert (case.category, case.basis, case.sha256) == ("unexamined", "too_many_references", None)
    await _release(line, stored, case)

    assert (await examine(stored, tools=line.tools)).delivery is DeliveryDecision.FORWARD
