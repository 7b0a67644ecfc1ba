"""The line's own decisions: who is answered how, what is looked at, and what not knowing leads to."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import delivery_lists
from relay.errors import MalformedActivityError
from relay.model import (
    Activity,
    Audience,
    DeliveryDecision,
    EvidenceBasis,
    FetchFailure,
    Location,
    MediaDecision,
    MediaReference,
)
from relay.pipeline import (
    Accepted,
    Overloaded,
    PassedThrough,
    Refused,
    examine,
    needs_examination,
    receive,
)
from scanner.canary import draw_canary
from tests.fediverse import shapes
from tests.fediverse.behaviours import refuse
from tests.images import encode, marker
from tests.relay.line import Line, open_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.delivery_rows import StoredDelivery
    from tests.fediverse import Actor

PNG = encode(marker(1, width=96, height=96), "PNG")

# Longer than an origin that did not answer is left alone.
_MINUTES_LATER = timedelta(hours=1)
PICTURE = MediaReference(url="https://a.example/p.png", location=Location.ATTACHMENT)


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[Line]:
    async with open_line(dsn) as opened:
        yield opened


@pytest.fixture
def alice(line: Line) -> Actor:
    return line.origin.create_actor("alice")


async def _stored(line: Line, activity: dict[str, object]) -> StoredDelivery | None:
    async with line.database.connection() as conn:
        return await delivery_lists.find_by_activity(conn, str(activity["id"]))


async def _take(line: Line, actor: Actor, activity: dict[str, object]) -> StoredDelivery:
    """Take in a delivery that is stored, and return it."""
    assert isinstance(await line.receive(actor, activity), Accepted)
    stored = await _stored(line, activity)
    assert stored is not None
    return stored


@pytest.mark.parametrize("examines_restricted", [False, True])
@pytest.mark.parametrize("audience", list(Audience))
@pytest.mark.parametrize(
    ("references", "dereference"), [((), ()), ((PICTURE,), ()), ((), ("https://a.example/1",))]
)
def test_what_points_at_media_is_examined_where_everybody_may_see_it_or_the_admin_says_so(
    *,
    examines_restricted: bool,
    audience: Audience,
    references: tuple[MediaReference, ...],
    dereference: tuple[str, ...],
) -> None:
    activity = Activity(
        id="",
        type="Create",
        actor="",
        object_id="",
        chain_key="",
        audience=audience,
        references=references,
        dereference=dereference,
    )

    points_somewhere = bool(references or dereference)
    is_covered = audience is Audience.PUBLIC or examines_restricted
    assert needs_examination(activity, examines_restricted=examines_restricted) is (
        points_somewhere and is_covered
    )


async def test_a_post_with_a_picture_is_stored_before_it_is_answered(line: Line, alice: Actor) -> None:
    stored = await _take(line, alice, shapes.mastodon_create(alice, [line.origin.serve_media("/p.png", PNG)]))

    assert stored.sender_actor == alice.id
    assert line.origin.count("/p.png") == 0
    assert not line.backend.requests


async def test_a_like_is_not_stored_at_all(line: Line, alice: Actor) -> None:
    like = shapes.like(alice, "https://instance.example/notes/1")

    reply = await line.receive(alice, like)

    assert isinstance(reply, PassedThrough)
    assert reply.answer.status == 202
    assert await _stored(line, like) is None


async def test_an_update_without_media_waits_behind_a_create_that_has_some(line: Line, alice: Actor) -> None:
    note = shapes.mastodon_note(alice, [line.origin.serve_media("/p.png", PNG)])
    await _take(line, alice, shapes.create(alice, note))

    await _take(line, alice, shapes.update(alice, {**note, "attachment": []}))
    reply = await line.receive(alice, shapes.update(alice, shapes.mastodon_note(alice)))

    assert isinstance(reply, PassedThrough)
    assert len(line.backend.requests) == 1


async def test_while_the_backend_is_silent_a_like_is_kept_for_it(line: Line, alice: Actor) -> None:
    line.backend.script(0)
    like = shapes.like(alice, "https://instance.example/notes/1")

    stored = await _take(line, alice, like)

    assert (await examine(stored, tools=line.tools)).delivery is DeliveryDecision.FORWARD


async def test_no_signature_no_delivery(line: Line, alice: Actor) -> None:
    unsigned = alice.build_delivery(shapes.like(alice, "https://i.example/1"), f"{line.relay.door_url}/inbox")

    reply = await receive(unsigned, remote_address="192.0.2.7", tools=line.tools)

    assert reply == Refused(reason="no_signature")


async def test_a_body_that_is_no_activity_is_malformed_before_anybody_asks_who_sent_it(
    line: Line, alice: Actor
) -> None:
    with pytest.raises(MalformedActivityError):
        await line.receive(alice, b"{}")
    assert line.origin.count("/users/alice") == 0


async def test_a_full_queue_and_a_flood_are_told_apart(dsn: str) -> None:
    async with open_line(dsn, hold_max_pending="1", limits_per_domain_burst="2") as line:
        alice = line.origin.create_actor("alice")
        picture = line.origin.serve_media("/p.png", PNG)
        replies = [await line.receive(alice, shapes.mastodon_create(alice, [picture])) for _ in range(3)]

    assert replies == [Accepted(), Overloaded(is_flood=False), Overloaded(is_flood=True)]


async def test_nothing_goes_on_before_the_sender_is_known(line: Line, alice: Actor) -> None:
    document = alice.serve_document()
    line.origin.on("/users/alice", refuse(503))
    stored = await _take(line, alice, shapes.mastodon_create(alice, [line.origin.serve_media("/p.png", PNG)]))
    assert stored.sender_actor is None

    decision = await examine(stored, tools=line.tools)
    assert (decision.delivery, decision.reason) == (DeliveryDecision.RETRY, "sender_unknown")
    assert line.origin.count("/p.png") == 0

    line.origin.on("/users/alice", document)
    line.clock.advance(_MINUTES_LATER)
    assert (await examine(stored, tools=line.tools)).delivery is DeliveryDecision.FORWARD


async def test_a_sender_who_turns_out_to_be_another_is_dropped(line: Line, alice: Actor) -> None:
    document = alice.serve_document()
    line.origin.on("/users/alice", refuse(503))
    mallory = line.origin.create_actor("mallory")
    activity = shapes.mastodon_create(alice, [line.origin.serve_media("/p.png", PNG)])
    forged = mallory.sign(
        alice.build_delivery(activity, f"{line.relay.door_url}/inbox"),
        now=line.clock.now(),
        key_id=alice.key_id,
    )
    assert isinstance(await receive(forged, remote_address="192.0.2.7", tools=line.tools), Accepted)
    stored = await _stored(line, activity)
    assert stored is not None

    line.origin.on("/users/alice", document)
    line.clock.advance(_MINUTES_LATER)
    decision = await examine(stored, tools=line.tools)

    assert (decision.delivery, decision.outcomes) == (DeliveryDecision.DROP, ())
    assert line.origin.count("/p.png") == 0


async def test_each_reference_has_its_own_evidence_and_the_worst_decides(line: Line, alice: Actor) -> None:
    urls = [line.origin.serve_media("/good.png", PNG), line.origin.serve_media("/bad.png", draw_canary())]
    stored = await _take(line, alice, shapes.mastodon_create(alice, urls))

    decision = await examine(stored, tools=line.tools)

    assert decision.delivery is DeliveryDecision.HOLD
    assert {one.evidence.reference.url: one.decision for one in decision.outcomes} == {
        urls[0]: MediaDecision.RELEASE,
        urls[1]: MediaDecision.WITHHOLD,
    }


@pytest.mark.parametrize(
    ("status", "failure", "delivery"),
    [
        (404, FetchFailure.GONE, DeliveryDecision.HOLD),
        (410, FetchFailure.GONE, DeliveryDecision.HOLD),
        (403, FetchFailure.FORBIDDEN, DeliveryDecision.HOLD),
        (500, FetchFailure.SERVER_ERROR, DeliveryDecision.RETRY),
    ],
)
async def test_what_cannot_be_fetched_is_evidence_of_not_knowing(
    status: int, failure: FetchFailure, delivery: DeliveryDecision, line: Line, alice: Actor
) -> None:
    url = line.origin.on("/p.png", refuse(status))
    stored = await _take(line, alice, shapes.mastodon_create(alice, [url]))

    decision = await examine(stored, tools=line.tools)

    (outcome,) = decision.outcomes
    assert (outcome.evidence.basis, outcome.evidence.failure) == (EvidenceBasis.FETCH, failure)
    assert (outcome.decision, decision.delivery) == (MediaDecision.WITHHOLD, delivery)


async def test_an_activity_is_no_picture(line: Line, alice: Actor) -> None:
    url = line.origin.serve_media("/p.png", b'{"type":"Note"}', "application/activity+json")
    stored = await _take(line, alice, shapes.mastodon_create(alice, [url]))

    decision = await examine(stored, tools=line.tools)

    assert [one.evidence.failure for one in decision.outcomes] == [FetchFailure.ACTIVITY_AS_MEDIA]
    assert decision.delivery is DeliveryDecision.HOLD


async def test_a_private_post_that_is_queued_is_still_not_looked_at(line: Line, alice: Actor) -> None:
    url = line.origin.serve_media("/p.png", draw_canary())
    activity = shapes.create(alice, shapes.mastodon_note(alice, [url], to=[f"{alice.id}/followers"]))
    activity["to"], activity["cc"] = [f"{alice.id}/followers"], []
    line.backend.script(0)
    stored = await _take(line, alice, activity)

    decision = await examine(stored, tools=line.tools)

    assert (decision.delivery, decision.outcomes) == (DeliveryDecision.FORWARD, ())
    assert line.origin.count("/p.png") == 0


async def test_examining_twice_finds_the_same(line: Line, alice: Actor) -> None:
    """Every step may run twice: a worker that dies after it leaves it to the next."""
    urls = [line.origin.serve_media("/good.png", PNG), line.origin.serve_media("/bad.png", draw_canary())]
    stored = await _take(line, alice, shapes.mastodon_create(alice, urls))

    first, second = [await examine(stored, tools=line.tools) for _ in range(2)]

    assert [one.evidence.basis for one in second.outcomes] == [EvidenceBasis.OWN_VERDICT] * 2
    assert [(one.decision, one.category, one.needs_case) for one in first.outcomes] == [
        (one.decision, one.category, one.needs_case) for one in second.outcomes
    ]
    assert (first.delivery, first.reason) == (second.delivery, second.reason)
