"""What is published is seen in its order, by ordinary peers in batches, and never before it is stored."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import feed
from db.feed import FeedKind
from relay.exchange.batches import LONGEST_DELAY
from relay.exchange.publisher import publish_objects
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Database

PEER = "https://peer.example/actor"


async def publish(database: Database, *objects: bytes, now: datetime, peer: str | None = None) -> int:
    async with database.transaction() as conn:
        return await publish_objects(conn, FeedKind.ATTESTATION, objects, now=now, peer=peer)


async def see(database: Database, *, at: datetime | None, peer: str = PEER) -> list[bytes]:
    async with database.connection() as conn:
        items = await feed.read(conn, cursor=0, peer=peer, visible_at=at, limit=99)
    return [item.object for item in items]


async def find_end(database: Database) -> datetime:
    async with database.connection() as conn:
        found = await feed.find_next_visible(conn, cursor=0, peer=PEER, now=START - timedelta(days=1))
    assert found is not None
    return found


async def test_ordinary_peers_see_nothing_before_the_batch_ends_and_allied_ones_everything(
    database: Database,
) -> None:
    assert await publish(database, b"a", b"b", now=START) == 1

    assert await see(database, at=None) == [b"a", b"b"]
    assert await see(database, at=START + timedelta(seconds=29)) == []
    assert await see(database, at=START + LONGEST_DELAY) == [b"a", b"b"]


async def test_what_is_published_until_a_batch_ends_is_seen_with_it(database: Database) -> None:
    await publish(database, b"a", now=START)
    end = await find_end(database)
    await publish(database, b"b", now=end - timedelta(microseconds=1))

    assert await see(database, at=end - timedelta(microseconds=1)) == []
    assert await see(database, at=end) == [b"a", b"b"]


async def test_what_is_published_at_the_end_of_a_batch_waits_for_another(database: Database) -> None:
    await publish(database, b"a", now=START)
    end = await find_end(database)
    await publish(database, b"b", now=end)

    assert await see(database, at=end) == [b"a"]
    assert await see(database, at=end + LONGEST_DELAY) == [b"a", b"b"]


async def test_a_replica_whose_clock_is_behind_never_lets_a_later_row_be_seen_earlier(
    database: Database,
) -> None:
    await publish(database, b"a", now=START)
    end = await find_end(database)
    await publish(database, b"b", now=START - timedelta(minutes=5))

    assert await see(database, at=end - timedelta(microseconds=1)) == []
    assert await see(database, at=end) == [b"a", b"b"]


async def test_what_is_for_one_peer_no_other_sees(database: Database) -> None:
    await publish(database, b"for all", now=START)
    await publish(database, b"for one", now=START, peer=PEER)

    assert await see(database, at=None) == [b"for all", b"for one"]
    assert await see(database, at=None, peer="https://other.example/actor") == [b"for all"]


async def test_what_could_not_be_stored_was_never_published(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as conn:
            await publish_objects(conn, FeedKind.ATTESTATION, [b"lost"], now=START)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert await publish(database, b"kept", now=START) == 1
    assert await see(database, at=None) == [b"kept"]
