"""Peers are answered, signed, and learn nothing about what is not given out; nobody else is answered."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from db import attestations, commitments, feed, given, given_out, peering
from db.feed import FeedKind
from db.peers import Following, Tier
from relay.exchange.batches import LONGEST_DELAY
from relay.exchange.client import FeedPage, PeerFailure, PeerFailureReason
from relay.exchange.prefixes import cut_prefix
from relay.exchange.signing import create_peer_signer, verify_answer
from relay.tools.limits import FairShare
from signatures.digests import digest_multibase
from signatures.jcs import canonicalize
from signatures.message import RequestMessage, ResponseMessage, without_headers
from tests.e2e.world import wait_until
from tests.fediverse import FrozenClock
from tests.fediverse.clock import START
from tests.relay.exchange.neighbours import build_identity
from tests.relay.exchange.sides import Sides, attest, digest_of, keep, open_sides

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.pool import Database
    from tests.fediverse import WireResponse

GIVEN, WITHHELD, RESTRICTED, ENDED, NEVER_SEEN = range(1, 6)


@pytest.fixture
async def sides(database: Database) -> AsyncIterator[Sides]:
    async with open_sides(database, FrozenClock()) as opened:
        await opened.store(
            keep(opened.us, GIVEN),
            keep(opened.us, WITHHELD, is_withheld_share=True),
            keep(opened.us, RESTRICTED, audience="restricted"),
            replace(keep(opened.us, ENDED), end_time=START),
        )
        yield opened


def build(sides: Sides, path: str = "/lookup", *, body: bytes = b"", method: str = "POST") -> RequestMessage:
    parts = urlsplit(sides.us.api_url)
    return RequestMessage(
        method=method,
        scheme="http",
        authority=parts.netloc,
        target=f"{parts.path}{path}",
        headers=(("Content-Type", "application/json"),) if body else (),
        body=body,
    )


async def ask(
    sides: Sides, path: str = "/lookup", *, body: object = None, method: str = "POST"
) -> WireResponse:
    """Ask as the peer that was accepted; what is wrong with the body is sent as it is."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    message = build(sides, path, body=data, method=method)
    return await sides.send(create_peer_signer(sides.them, sides.clock).sign(message))


def require_signed(sides: Sides, answer: WireResponse) -> None:
    message = ResponseMessage(status=answer.status, headers=answer.headers, body=answer.body)
    verify_answer(message, peer=sides.peer, now=sides.clock.now())


async def test_a_peer_gets_the_very_bytes_that_were_signed(sides: Sides) -> None:
    found = await sides.client.lookup(sides.peer, [digest_of(GIVEN), digest_of(NEVER_SEEN)])

    assert found == (attest(sides.us, GIVEN),)


async def test_withheld_restricted_ended_and_unknown_bytes_are_answered_alike(sides: Sides) -> None:
    answers = [
        await ask(sides, body={"digests": [digest_multibase(digest_of(number))]})
        for number in (WITHHELD, RESTRICTED, ENDED, NEVER_SEEN)
    ]

    assert {answer.status for answer in answers} == {200}
    assert {answer.body for answer in answers} == {b'{"bits":0,"attestations":[]}'}
    assert len({without_headers(answer.headers, "date") for answer in answers}) == 1


async def test_the_database_does_the_same_work_for_what_is_withheld_as_for_what_never_was(
    sides: Sides,
) -> None:
    """The index that look-ups go by does not hold what is not given out: there is no row to leave out."""
    async with sides.database.connection() as conn:
        await conn.execute("SET enable_seqscan = off")
        query = given._FIND_GIVEN
        plans = [
            "\n".join(
                row[0]
                for row in await conn.fetch(
                    f"EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF, SUMMARY OFF) {query}",
                    [digest_of(number)],
                    START,
                )
            ).replace(digest_of(number).hex(), "")
            for number in (WITHHELD, RESTRICTED, NEVER_SEEN)
        ]

    assert plans[0] == plans[1] == plans[2]
    assert "attestations_given" in plans[0]
    assert "Rows Removed" not in plans[0]


async def test_a_bucket_brings_everything_that_begins_alike_and_is_given_out(sides: Sides) -> None:
    await sides.store(*(keep(sides.us, number) for number in range(100, 120)))
    wanted = cut_prefix(digest_of(110), bits=2)

    found = await sides.client.buckets(sides.peer, [wanted])

    assert isinstance(found, tuple)
    # There are only four buckets of two bits, so that all of them are asked for.
    assert sorted(found) == sorted(attest(sides.us, number) for number in (GIVEN, *range(100, 120)))
    answer = await ask(sides, body={"bits": 2, "prefixes": [str(wanted)]})
    assert answer.body.count(b"MediaScanAttestation") == sum(
        cut_prefix(digest_of(number), bits=2) == wanted for number in (GIVEN, *range(100, 120))
    )


async def test_only_the_newest_of_a_profile_is_given(sides: Sides) -> None:
    newer = replace(
        keep(sides.us, GIVEN), id="newer", published=START + timedelta(seconds=1), object=b'{"newer": 1}'
    )
    await sides.store(newer)

    assert await sides.client.lookup(sides.peer, [digest_of(GIVEN)]) == (b'{"newer": 1}',)


async def test_prefixes_that_would_bring_everything_are_refused_with_the_bits_that_are_not(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.exchange.lookups.decide_bits", lambda _: 12)

    answer = await ask(sides, body={"bits": 10, "prefixes": ["000"]})

    assert answer.status == 400
    assert json.loads(answer.body)["error"] == "TooBroad"
    assert json.loads(answer.body)["bits"] == 12
    failure = await sides.client.buckets(sides.peer, [cut_prefix(bytes(32), bits=10)])
    assert failure == PeerFailure(reason=PeerFailureReason.TOO_BROAD, bits=12)
    # Who was told before the number doubled is still answered.
    assert (await ask(sides, body={"bits": 11, "prefixes": ["000"]})).status == 200


async def test_an_answer_that_would_not_fit_is_refused_and_never_cut_short(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.exchange.lookups._MAX_OBJECTS", 3)
    await sides.store(keep(sides.us, 100), keep(sides.us, 101))

    assert (await ask(sides, body={"bits": 0, "prefixes": [""]})).status == 400
    monkeypatch.setattr("relay.exchange.lookups._MAX_OBJECTS", 4)
    assert (await ask(sides, body={"bits": 0, "prefixes": [""]})).status == 200
    monkeypatch.setattr("relay.exchange.lookups.MAX_LOOKUP_BYTES", 2_000)
    assert (await ask(sides, body={"bits": 0, "prefixes": [""]})).status == 400


MALFORMED = {
    "no JSON": b"{",
    "no question": {},
    "both questions": {"digests": [digest_multibase(bytes(32))], "bits": 0, "prefixes": [""]},
    "no digest": {"digests": []},
    "too many digests": {"digests": [digest_multibase(bytes(32))] * 129},
    "not a list": {"digests": digest_multibase(bytes(32))},
    "another multibase": {"digests": ["f" + bytes(32).hex()]},
    "a number": {"digests": [1]},
    "prefixes without bits": {"prefixes": ["0"]},
    "bits that are true": {"bits": True, "prefixes": ["0"]},
    "more bits than there may be": {"bits": 65, "prefixes": ["0" * 17]},
    "a prefix of another length": {"bits": 8, "prefixes": ["0"]},
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_question_is_refused_and_the_refusal_is_signed(name: str, sides: Sides) -> None:
    answer = await ask(sides, body=MALFORMED[name])

    assert answer.status == 400
    require_signed(sides, answer)


async def test_a_body_over_the_limit_is_refused_and_the_refusal_is_signed(sides: Sides) -> None:
    answer = await ask(sides, body=b" " * 20_000)

    assert answer.status == 413
    require_signed(sides, answer)


async def test_whoever_is_no_accepted_follower_is_refused_alike(sides: Sides) -> None:
    body = json.dumps({"digests": [digest_multibase(digest_of(GIVEN))]}).encode()
    stranger = create_peer_signer(build_identity("http://stranger.example/breakwater", 3), sides.clock)
    refused = [await sides.send(stranger.sign(build(sides, body=body)))]
    async with sides.database.connection() as conn:
        await peering.set_they_follow(conn, sides.them.actor, to=Following.ASKED, follow_id="", now=START)
    refused.append(await ask(sides, body=body))
    async with sides.database.connection() as conn:
        await peering.set_they_follow(conn, sides.them.actor, to=Following.ACCEPTED, follow_id="", now=START)
    await sides.promote(Tier.QUARANTINED)
    refused.append(await ask(sides, body=body))

    assert {answer.status for answer in refused} == {403}
    assert len({answer.body for answer in refused}) == 1
    for answer in refused:
        require_signed(sides, answer)


async def test_an_unsigned_question_is_told_what_a_signature_has_to_cover(sides: Sides) -> None:
    answer = await sides.send(build(sides, body=b"{}"))

    assert answer.status == 401
    assert b"@target-uri" in answer.body
    assert "ed25519" in (answer.header("Accept-Signature") or "")
    require_signed(sides, answer)


async def test_a_question_counts_once(sides: Sides) -> None:
    signed = create_peer_signer(sides.them, sides.clock).sign(
        build(sides, body=json.dumps({"digests": [digest_multibase(digest_of(GIVEN))]}).encode())
    )

    assert [(await sides.send(signed)).status for _ in range(2)] == [200, 401]


async def test_who_asks_too_often_has_to_wait_and_others_do_not(database: Database) -> None:
    async with open_sides(database, FrozenClock(), lookups=FairShare(per_second=1, burst=2)) as sides:
        body = {"digests": [digest_multibase(digest_of(GIVEN))]}
        answers = [await ask(sides, body=body) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[-1].header("Retry-After")
        require_signed(sides, answers[-1])
        sides.clock.advance(timedelta(seconds=1))
        assert (await ask(sides, body=body)).status == 200


async def test_without_the_database_nobody_is_answered(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("asyncpg.pool.Pool.acquire", fail)
    answer = await ask(sides, body={"digests": [digest_multibase(digest_of(GIVEN))]})

    assert answer.status == 503
    require_signed(sides, answer)


async def test_a_state_is_shown_as_the_bytes_that_its_digest_is_of(sides: Sides) -> None:
    document: dict[str, Any] = {"salt": "u1", "lists": [{"name": "a", "version": 3}]}
    digest = hashlib.sha256(canonicalize(document)).digest()
    async with sides.database.connection() as conn:
        await attestations.put_state(conn, state_digest=digest, document=document, now=START)

    assert await sides.client.state(sides.peer, digest) == document
    unknown = await sides.client.state(sides.peer, bytes(32))
    assert isinstance(unknown, PeerFailure)
    assert unknown.reason is PeerFailureReason.NOT_THERE
    assert (await ask(sides, "/states/abc", method="GET")).status == 400


async def test_a_commitment_is_opened_as_the_bytes_that_its_digest_is_of(sides: Sides) -> None:
    opening = canonicalize({"salt2": "u1", "scores": {"model/drawn": 412}})
    digest = hashlib.sha256(opening).digest()
    async with sides.database.connection() as conn:
        await commitments.put_commitment(conn, digest=digest, opening=opening, ends_at=START)

    assert await sides.client.opening(sides.peer, digest) == opening
    unknown = await sides.client.opening(sides.peer, bytes(32))
    assert isinstance(unknown, PeerFailure)
    assert unknown.reason is PeerFailureReason.NOT_THERE
    assert (await ask(sides, "/commitments/abc", method="GET")).status == 400


async def test_scores_are_opened_to_nobody_but_accepted_followers_and_not_too_often(
    database: Database,
) -> None:
    async with open_sides(database, FrozenClock(), lookups=FairShare(per_second=1, burst=1)) as sides:
        path = f"/commitments/{digest_multibase(bytes(32))}"
        answers = [await ask(sides, path, method="GET") for _ in range(2)]
        assert [answer.status for answer in answers] == [404, 429]
        stranger = create_peer_signer(build_identity("http://stranger.example/breakwater", 3), sides.clock)
        refused = await sides.send(stranger.sign(build(sides, path, method="GET")))
        assert refused.status == 403
        require_signed(sides, refused)


async def turn(sides: Sides, cursor: int | None, wait_s: int = 0) -> FeedPage:
    page = await sides.client.feed(sides.peer, cursor, wait_s)
    assert isinstance(page, FeedPage), page
    return page


async def test_the_feed_is_turned_page_by_page_in_its_order(sides: Sides) -> None:
    objects = [b'{"number": %d}' % number for number in range(1_001)]
    await sides.publish(*objects)
    sides.clock.advance(LONGEST_DELAY)

    pages = [await turn(sides, 0)]
    while pages[-1].items:
        pages.append(await turn(sides, pages[-1].cursor))

    assert [len(page.items) for page in pages] == [500, 500, 1, 0]
    assert [item.object for page in pages for item in page.items] == objects
    assert [item.seq for page in pages for item in page.items] == list(range(1, 1_002))


async def test_until_its_batch_ends_nothing_tells_an_ordinary_peer_of_a_row(sides: Sides) -> None:
    await sides.publish(b'{"number": 1}')
    sides.clock.advance(LONGEST_DELAY)
    await sides.publish(b'{"number": 2}')

    now, page = await turn(sides, None), await turn(sides, 0)
    assert (now.cursor, now.items) == (1, ())
    assert (page.cursor, len(page.items)) == (1, 1)
    assert (await turn(sides, 1)).cursor == 1
    assert (await ask(sides, "/feed?cursor=2", method="GET")).status == 400

    await sides.promote(Tier.ALLIED)
    assert (await turn(sides, None)).cursor == 2
    assert [item.object for item in (await turn(sides, 1)).items] == [b'{"number": 2}']


async def test_a_cursor_beyond_what_was_given_is_refused_as_one_of_the_future(sides: Sides) -> None:
    await sides.publish(b"{}")
    sides.clock.advance(LONGEST_DELAY)

    answer = await ask(sides, "/feed?cursor=2", method="GET")

    assert (answer.status, json.loads(answer.body)["error"]) == (400, "FutureCursor")
    require_signed(sides, answer)
    failure = await sides.client.feed(sides.peer, 2, 0)
    assert failure == PeerFailure(reason=PeerFailureReason.FUTURE_CURSOR)


async def test_a_cursor_older_than_what_is_retained_is_told_so_and_goes_on_from_the_oldest(
    sides: Sides,
) -> None:
    for number in range(3):
        await sides.publish(b'{"number": %d}' % number)
        sides.clock.advance(LONGEST_DELAY)
    async with sides.database.connection() as conn:
        before = START + LONGEST_DELAY * 2
        assert await feed.purge_feed(conn, before=before, limit=99) == 2

    page = await turn(sides, 1)
    assert (page.oldest, page.cursor, [item.seq for item in page.items]) == (3, 3, [3])
    # Who has everything up to the oldest, or wants all that is retained, has no gap.
    assert [(await turn(sides, cursor)).oldest for cursor in (0, 2, 3)] == [None, None, None]


@pytest.mark.parametrize("query", ["cursor=-1", "cursor=x", "cursor=01", "cursor=1&wait=1.5", "cursor="])
async def test_what_is_no_place_in_the_feed_is_refused(query: str, sides: Sides) -> None:
    assert (await ask(sides, f"/feed?{query}", method="GET")).status == 400


async def _find_waiting(sides: Sides) -> bool | None:
    return sides.api.polls.total() > 0 or None


async def test_an_allied_peer_that_waits_is_answered_when_something_is_published(sides: Sides) -> None:
    await sides.promote(Tier.ALLIED)
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(sides.bell.run())
        waiting = group.create_task(turn(sides, 0, 30))
        await wait_until(lambda: _find_waiting(sides), "somebody waits")
        await sides.publish(b'{"number": 1}')
        page = await waiting
        sides.bell.stop()
        await listening

    assert [item.object for item in page.items] == [b'{"number": 1}']


async def test_who_waits_goes_home_when_the_relay_stops(sides: Sides) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(turn(sides, 0, 30))
        await wait_until(lambda: _find_waiting(sides), "somebody waits")
        sides.bell.stop()

    assert waiting.result().items == ()
    assert not sides.api.polls


async def test_a_peer_has_only_so_many_places_to_wait_in(sides: Sides) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(turn(sides, 0, 30))

        async def find_all() -> bool | None:
            return sides.api.polls.total() == 4 or None

        await wait_until(find_all, "all places are taken")
        assert (await ask(sides, "/feed?cursor=0&wait=30", method="GET")).status == 429
        sides.bell.stop()


async def test_revocations_and_notices_stand_in_the_feed_under_their_kinds(sides: Sides) -> None:
    await sides.publish(b'{"a": 1}', kind=FeedKind.REVOCATION)
    await sides.publish(b'{"b": 1}', kind=FeedKind.NOTICE)
    sides.clock.advance(LONGEST_DELAY)

    page = await turn(sides, 0)
    assert [(item.kind, item.object) for item in page.items] == [
        (FeedKind.REVOCATION, b'{"a": 1}'),
        (FeedKind.NOTICE, b'{"b": 1}'),
    ]


async def test_how_far_a_peer_has_read_is_known_and_a_cursor_that_never_was_is_not_believed(
    sides: Sides,
) -> None:
    await sides.publish(*(attest(sides.us, number) for number in (1, 2, 3)))
    sides.clock.advance(LONGEST_DELAY)
    for cursor in (1, 3, 99, 2):
        await ask(sides, f"/feed?cursor={cursor}", method="GET")

    async with sides.database.connection() as conn:
        (reader,) = await given_out.list_readers(conn)
    assert (reader.actor, reader.served_from, reader.served_to) == (sides.them.actor, 1, 3)
