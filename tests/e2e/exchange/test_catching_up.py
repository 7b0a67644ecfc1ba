"""A relay that was away goes on where it was, and is told where it cannot."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import feed
from relay.lifecycle import State
from tests.e2e.exchange.instance import befriend, end_batches, open_instances
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.exchange.conftest import MakeDatabases
    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


def draw(number: int) -> bytes:
    return encode(marker(number), "PNG")


async def test_a_relay_that_was_away_for_an_hour_catches_up_without_a_gap(
    world: World, make_databases: MakeDatabases
) -> None:
    settings = {"exchange_uses_headers": "false", "exchange_asks_origin": "false"}
    async with open_instances(world, await make_databases(2), **settings) as (a, b):
        await befriend(b, a)
        await b.trust(a)
        pictures = [draw(960 + number) for number in range(6)]
        urls = [await a.attest(f"{n}.png", one) for n, one in enumerate(pictures[:2])]
        await end_batches(a, b)
        await b.read_feed(a)
        cursor = (await b.find_peer(a)).feed_cursor

        await b.stop()
        for number, picture in enumerate(pictures[2:], start=2):
            urls.append(await a.attest(f"{number}.png", picture))
            a.advance(timedelta(minutes=15))
        await end_batches(a)
        b.clock.advance(timedelta(hours=1, minutes=1))
        await b.start_again()
        assert (await b.find_peer(a)).feed_cursor == cursor
        await b.read_feed(a)

        for picture, url in zip(pictures, urls, strict=True):
            assert len(await b.list_mirrored(picture)) == 1
            assert (await b.receive(a, url)).state is State.FORWARDED
        assert b.model.count(*pictures) == 0


async def test_a_relay_that_was_away_for_too_long_begins_with_the_oldest_that_is_left(
    world: World, make_databases: MakeDatabases, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_instances(world, await make_databases(2)) as (a, b):
        await befriend(b, a)
        pictures = [draw(970 + number) for number in range(3)]
        for number, picture in enumerate(pictures):
            await a.attest(f"{number}.png", picture)
            await end_batches(a, b)
            if number == 0:
                await b.read_feed(a)
        behind = (await b.find_peer(a)).feed_cursor
        assert behind is not None
        async with a.scene.database.connection() as conn:
            # All but the newest, as housekeeping does when their time has come.
            count = (await feed.find_span(conn, visible_at=None)).visible
            await feed.purge_feed(conn, before=a.clock.now(), limit=count - 1)

        await b.read_feed(a)

        assert [len(await b.list_mirrored(one)) for one in pictures] == [1, 0, 1]
        assert "feed_gap" in caplog.text
