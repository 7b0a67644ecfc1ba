"""A feed is mirrored once, whatever stops in between, and believed about nobody but whose it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import feed, mirror, peering
from db.feed import FeedKind
from db.peers import Following
from relay.exchange import reader as reader_module
from relay.exchange.batches import LONGEST_DELAY
from relay.exchange.quota import Quota
from relay.exchange.reader import LONGEST_PAUSE, FeedReader, ReaderTools, Turn, decide_pause
from relay.metrics import Metrics
from tests.e2e.world import wait_until
from tests.fediverse import FrozenClock
from tests.fediverse.clock import START
from tests.relay.exchange.neighbours import build_identity
from tests.relay.exchange.sides import LIFE, Sides, attest, digest_of, open_sides

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    from db.feed import FeedItem
    from db.mirror import MirroredAttestation
    from db.peers import Peer
    from db.pool import Connection, Database


class Taken:
    """What the reader handed on: looked at, and then done."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.done: list[bytes] = []

    async def __call__(
        self, peer: Peer, item: FeedItem, *, now: datetime
    ) -> Callable[[Connection], Awaitable[object]] | None:
        assert peer.we_follow is Following.ACCEPTED
        assert now >= START
        self.seen.append(item.object)

        async def do(conn: Connection) -> None:
            assert conn.is_in_transaction()
            self.done.append(item.object)

        return do


class Refreshed:
    """What fetches keys again; it finds new ones as often as it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.finds_new = False

    async def __call__(self, actor: str) -> bool:
        self.asked.append(actor)
        return self.finds_new


class Reading:
    """A reader with everything around it in sight."""

    def __init__(self, sides: Sides, *, quota: Quota | None = None) -> None:
        self.sides = sides
        self.taken = Taken()
        self.refreshed = Refreshed()
        self.metrics = Metrics()
        self.reader = FeedReader(
            ReaderTools(
                database=sides.database,
                client=sides.client,
                clock=sides.clock,
                refresh=self.refreshed,
                take=self.taken,
                allow_http=True,
                metrics=self.metrics,
            ),
            quota=quota,
        )

    async def turn(self) -> Turn:
        found = await self.reader.read_page(self.sides.us.actor, wait_s=0)
        assert found is not None
        return found

    async def mirrored(self, number: int) -> tuple[MirroredAttestation, ...]:
        async with self.sides.database.connection() as conn:
            return await mirror.find_mirrored(conn, digest_of(number), now=START)

    async def count(self) -> int:
        async with self.sides.database.connection() as conn:
            return await mirror.count_all(conn, limit=9_999)


@pytest.fixture
async def sides(database: Database) -> AsyncIterator[Sides]:
    async with open_sides(database, FrozenClock()) as opened:
        yield opened


@pytest.fixture
def reading(sides: Sides) -> Reading:
    return Reading(sides)


async def issue(sides: Sides, *numbers: int) -> None:
    """Publish attestations and let their batch end."""
    await sides.publish(*(attest(sides.us, number) for number in numbers))
    sides.clock.advance(LONGEST_DELAY)


async def test_what_a_peer_publishes_is_found_by_its_bytes(sides: Sides, reading: Reading) -> None:
    await issue(sides, 1, 2)

    assert await reading.turn() == Turn()

    (found,) = await reading.mirrored(1)
    assert found.object == attest(sides.us, 1)
    assert (found.issuer, found.received_at) == (sides.us.actor, sides.clock.now())
    peer = await sides.find_peer()
    assert (peer.feed_cursor, peer.feed_read_at) == (2, sides.clock.now())


async def test_what_feeds_bring_and_how_far_the_last_of_them_lags_is_shown(
    sides: Sides, reading: Reading
) -> None:
    await sides.publish(attest(sides.us, 1), attest(build_identity("http://omega.example/breakwater", 9), 2))
    sides.clock.advance(LONGEST_DELAY)
    await reading.turn()
    sides.clock.advance(timedelta(seconds=90))
    reading.reader._show_lag([await sides.find_peer()])
    text = reading.metrics.render()[0].decode()
    for line in (
        'breakwater_feed_items_total{outcome="kept"} 1.0',
        'breakwater_feed_items_total{outcome="left_out"} 1.0',
        "breakwater_feeds_followed 1.0",
        "breakwater_feed_lag_seconds 90.0",
    ):
        assert line in text, line


async def test_a_reader_that_starts_anew_goes_on_where_the_last_one_ended(
    sides: Sides, reading: Reading
) -> None:
    await issue(sides, 1)
    await reading.turn()
    await issue(sides, 2)
    asked: list[int | None] = []
    ask = type(sides.client).feed

    async def note(client: object, peer: Peer, cursor: int | None, wait_s: int) -> object:
        asked.append(cursor)
        return await ask(sides.client, peer, cursor, wait_s)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(sides.client), "feed", note)
        await Reading(sides).turn()

    assert asked == [1]
    assert await reading.count() == 2


async def test_a_page_that_is_not_stored_whole_is_read_again(
    sides: Sides, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    await issue(sides, 1)
    put = mirror.put_mirrored

    async def fail(conn: Connection, attestations: list[MirroredAttestation]) -> int:
        await put(conn, attestations)
        raise RuntimeError

    monkeypatch.setattr(mirror, "put_mirrored", fail)
    with pytest.raises(RuntimeError):
        await reading.turn()
    assert ((await sides.find_peer()).feed_cursor, await reading.count()) == (None, 0)

    monkeypatch.undo()
    await reading.turn()
    assert ((await sides.find_peer()).feed_cursor, await reading.count()) == (1, 1)


async def test_of_two_replicas_that_read_the_same_page_one_stores_it(sides: Sides, reading: Reading) -> None:
    await issue(sides, 1)
    await sides.publish(b'{"a": 1}', kind=FeedKind.REVOCATION)
    sides.clock.advance(LONGEST_DELAY)
    other = Reading(sides)

    await asyncio.gather(reading.turn(), other.turn())

    assert len(reading.taken.seen + other.taken.seen) >= 1
    assert reading.taken.done + other.taken.done == [b'{"a": 1}']
    assert (await sides.find_peer()).feed_cursor == 2


async def test_what_follows_from_a_revocation_is_done_with_the_move_of_the_cursor(
    sides: Sides, reading: Reading
) -> None:
    await sides.publish(b'{"a": 1}', kind=FeedKind.REVOCATION)
    await sides.publish(b'{"b": 1}', kind=FeedKind.NOTICE)
    await issue(sides, 1)

    await reading.turn()

    assert reading.taken.done == [b'{"a": 1}', b'{"b": 1}']
    assert await reading.count() == 1


async def test_where_a_revocation_cannot_be_taken_in_the_cursor_stays(sides: Sides, reading: Reading) -> None:
    await sides.publish(b'{"a": 1}', kind=FeedKind.REVOCATION)
    await issue(sides, 1)

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    reading.taken.__class__ = type("Failing", (Taken,), {"__call__": fail})
    with pytest.raises(RuntimeError):
        await reading.turn()

    assert ((await sides.find_peer()).feed_cursor, await reading.count()) == (None, 0)


async def test_what_another_relay_attests_is_not_taken_from_this_ones_feed(
    sides: Sides, reading: Reading
) -> None:
    """Not even where the other one is a peer as well, and its signature is good."""
    await sides.publish(attest(sides.them, 1), attest(build_identity("http://x.example/b", 7), 2))
    await issue(sides, 3)

    assert (await reading.turn()).left_out == 2

    assert [len(await reading.mirrored(number)) for number in (1, 2, 3)] == [0, 0, 1]
    assert (await sides.find_peer()).feed_cursor == 3


async def test_what_is_no_attestation_is_left_out_and_the_rest_is_kept(
    sides: Sides, reading: Reading
) -> None:
    forged = attest(sides.us, 2).replace(b'"size":3', b'"size":4')
    await sides.publish(b'{"type": "Note"}', forged)
    await issue(sides, 1)

    assert (await reading.turn()).left_out == 2
    assert [len(await reading.mirrored(number)) for number in (1, 2)] == [1, 0]


async def test_a_gap_is_gone_over_from_the_oldest_that_is_left(
    sides: Sides, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    await issue(sides, 1)
    await reading.turn()
    await issue(sides, 2)
    await issue(sides, 3)
    async with sides.database.connection() as conn:
        await feed.purge_feed(conn, before=START + LONGEST_DELAY * 2, limit=9)

    await reading.turn()

    assert "feed_gap" in caplog.text
    assert [len(await reading.mirrored(number)) for number in (1, 2, 3)] == [1, 0, 1]
    assert (await sides.find_peer()).feed_cursor == 3


async def test_a_peer_that_lost_its_past_is_read_from_its_beginning(sides: Sides, reading: Reading) -> None:
    await issue(sides, 1)
    async with sides.database.connection() as conn:
        await peering.set_cursor(conn, sides.us.actor, expected=None, to=99, now=START)

    assert (await reading.turn()).is_failure
    assert (await reading.turn()) == Turn()
    peer = await sides.find_peer()
    assert (peer.feed_cursor, await reading.count()) == (1, 1)
    # What it cannot show of before is not held against it.
    assert peer.lost_past_at == sides.clock.now()


async def test_a_full_page_says_that_there_is_more(sides: Sides, reading: Reading) -> None:
    await sides.publish(*[b'{"a": 1}'] * 501, kind=FeedKind.NOTICE)
    sides.clock.advance(LONGEST_DELAY)

    assert [(await reading.turn()).is_more for _ in range(3)] == [True, False, False]


async def test_who_is_not_followed_or_in_quarantine_is_not_read(sides: Sides, reading: Reading) -> None:
    async with sides.database.connection() as conn:
        await peering.set_we_follow(conn, sides.us.actor, to=Following.ASKED, follow_id="", now=START)

    assert await reading.reader.read_page(sides.us.actor, wait_s=0) is None
    assert await reading.reader.read_page("http://nobody.example/actor", wait_s=0) is None


async def test_a_peer_whose_signature_is_not_known_is_asked_for_its_new_keys(
    sides: Sides, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = build_identity(sides.us.base_url, 9)
    assert other.api_key is not None
    monkeypatch.setattr(
        "relay.exchange.reader.peers.find_peer", _with_key(sides.peer, other.api_key.public.to_multikey())
    )

    assert (await reading.turn()).is_failure
    reading.refreshed.finds_new = True
    # With new keys it is asked again at once.
    assert await reading.turn() == Turn(is_more=True)
    assert reading.refreshed.asked == [sides.us.actor] * 2


def _with_key(peer: Peer, multikey: str) -> Callable[..., Awaitable[Peer]]:
    async def find(*_: object) -> Peer:
        return replace(peer, key_id=f"{peer.actor}#{multikey}", multikey=multikey)

    return find


async def test_beyond_its_quota_nothing_of_a_peer_is_kept_and_what_it_takes_back_still_counts(
    sides: Sides,
) -> None:
    reading = Reading(sides, quota=Quota(sides.database, max_a_day=2))
    await sides.publish(b'{"a": 1}', kind=FeedKind.REVOCATION)
    await issue(sides, 1, 2, 3)

    turned = await reading.turn()

    assert turned.left_out == 1
    assert turned.pause > timedelta()
    assert await reading.count() == 2
    assert reading.taken.done == [b'{"a": 1}']
    assert (await sides.find_peer()).feed_cursor == 4


async def test_the_quota_of_a_day_outlives_a_restart_and_comes_back_with_the_next(sides: Sides) -> None:
    await issue(sides, 1, 2)
    await Reading(sides, quota=Quota(sides.database, max_a_day=2)).turn()

    again = Quota(sides.database, max_a_day=2)
    assert await again.find_room(sides.us.actor, now=sides.clock.now()) == 0
    assert await again.find_room("http://other.example/actor", now=sides.clock.now()) == 2
    assert await again.find_room(sides.us.actor, now=sides.clock.now() + timedelta(hours=25)) == 2


async def test_all_peers_together_fill_no_more_than_there_is_room_for(sides: Sides) -> None:
    await issue(sides, 1, 2, 3)
    reading = Reading(sides, quota=Quota(sides.database, max_mirrored=2))
    await reading.turn()
    assert await reading.count() == 2
    assert await Quota(sides.database, max_mirrored=3).find_room("x", now=START) == 1


async def test_while_it_runs_a_reader_takes_up_everything_and_stops_when_told(
    sides: Sides, reading: Reading
) -> None:
    await issue(sides, 1, 2)

    async def find() -> bool | None:
        return await reading.count() == 2 or None

    async with asyncio.TaskGroup() as group:
        running = group.create_task(reading.reader.run())
        await wait_until(find, "everything is mirrored")
        reading.reader.stop()
        await running


async def test_a_peer_that_is_away_is_caught_up_with_when_it_is_back(
    sides: Sides, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_FIRST_PAUSE", timedelta(milliseconds=1))
    failed = asyncio.Event()
    ask = type(sides.client).feed
    is_away = True

    async def answer(client: object, peer: Peer, cursor: int | None, wait_s: int) -> object:
        if is_away:
            failed.set()
            raise OSError
        return await ask(sides.client, peer, cursor, wait_s)

    monkeypatch.setattr(type(sides.client), "feed", answer)
    monkeypatch.setattr(reader_module, "LONGEST_PAUSE", timedelta(milliseconds=5))
    await issue(sides, *range(1, 5))

    async def find() -> bool | None:
        return await reading.count() == 4 or None

    async with asyncio.TaskGroup() as group:
        running = group.create_task(reading.reader.run())
        await failed.wait()
        is_away = False
        await wait_until(find, "everything is mirrored")
        reading.reader.stop()
        await running


def test_the_pause_grows_to_five_minutes_and_no_further() -> None:
    for fewer, more in ((1, 3), (3, 5), (5, 7)):
        assert max(decide_pause(fewer) for _ in range(200)) < min(decide_pause(more) for _ in range(200))
    for failures in (9, 50, 10_000):
        pauses = [decide_pause(failures) for _ in range(200)]
        assert LONGEST_PAUSE / 2 <= min(pauses) <= max(pauses) <= LONGEST_PAUSE


async def test_what_has_ended_is_no_longer_taken_in(sides: Sides, reading: Reading) -> None:
    await issue(sides, 1)
    sides.clock.advance(LIFE)

    assert (await reading.turn()).left_out == 1
    assert await reading.count() == 0
