"""While a list is older than its admin lets it be, what no list matches waits; it goes on by itself."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from db import hashlists, list_sources
from db.pool import notify
from relay.lifecycle import State
from scanner.hashtable import HashTable
from tests.e2e.inside import open_inside
from tests.e2e.process import scratch_directory
from tests.e2e.world import wait_until
from tests.fediverse import shapes
from tests.images import encode, marker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.world import Scene, World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

LISTED, OTHER, SEEN = (encode(marker(seed), "PNG") for seed in (91, 92, 93))
DAYS = timedelta(days=3)


async def add(scene: Scene, file: Path) -> None:
    """Add a list that is fetched from a file, and that may become three days old."""
    now = datetime.now(UTC)  # noqa: TID251 (the relay runs by the machine's clock)
    new = hashlists.NewHashList(
        name="theirs",
        version="0",
        category="spam",
        distance=31,
        min_quality=50,
        is_dihedral=False,
        digest=HashTable.from_entries(()).digest(),
    )
    async with scene.database.transaction() as conn:
        list_id = await hashlists.import_list(conn, new, {}, now=now)
        source = list_sources.NewListSource(
            list_id=list_id,
            kind="text",
            url=file.as_uri(),
            credentials="",
            options={},
            every=timedelta(days=1),
            accepted_at=now,
            hold_after=DAYS,
        )
        await list_sources.add_source(conn, source)


async def let_it_age(scene: Scene) -> None:
    """Have the last fetch lie a week back, and wait until the relay knows."""
    async with scene.database.transaction() as conn:
        await conn.execute("UPDATE list_sources SET synced_at = now() - interval '7 days'")
        await notify(conn, list_sources.CHANNEL)
    await wait_until(lambda: holds(scene, expected=True), "the relay to hold")


async def sync(scene: Scene) -> None:
    async with scene.database.transaction() as conn:
        await conn.execute("UPDATE list_sources SET due_at = now() - interval '1 hour'")
        await notify(conn, list_sources.CHANNEL)


async def holds(scene: Scene, *, expected: bool) -> bool | None:
    scanning = scene.relay.parts.list_watch.scanning
    names = {one["name"] for one in scanning.published_state.document["detectors"]}
    return True if ("list-age" in names) is expected else None


async def test_what_no_list_matches_waits_until_the_list_was_fetched(
    world: World, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="relay.tools.hash_lists")
    origin = world.take_origin()
    actor = origin.create_actor("alice")
    urls = [origin.serve_media(f"/{place}.png", data) for place, data in enumerate((LISTED, OTHER, SEEN))]
    with scratch_directory() as directory:
        file = directory / "list.txt"
        file.write_text(f"sha256:{hashlib.sha256(LISTED).hexdigest()}\n", encoding="utf-8")
        async with open_inside(world, dsn=dsn) as scene:
            await add(scene, file)

            async def is_fetched() -> bool | None:
                async with scene.database.connection() as conn:
                    found = await list_sources.find_source(conn, "theirs")
                return True if found is not None and found.entries == 1 and found.synced_at else None

            await wait_until(is_fetched, "the list")
            seen, listed, other, again = (
                shapes.mastodon_create(actor, [urls[place]]) for place in (2, 0, 1, 2)
            )
            await scene.deliver(actor, seen)
            assert (await scene.wait_for_state(seen)).state is State.FORWARDED
            lists_digest = scene.relay.parts.list_watch.scanning.lists_digest
            await let_it_age(scene)

            # What a list matches is known however old the list is.
            await scene.deliver(actor, listed)
            assert (await scene.wait_for_state(listed)).state is State.HELD
            # Neither what nobody saw before, nor what passed when the list was new, is let go.
            await scene.deliver(actor, other)
            await scene.deliver(actor, again)

            async def is_waiting() -> bool | None:
                async with scene.database.connection() as conn:
                    rows = await conn.fetch("SELECT reason FROM deliveries WHERE retries > 0")
                return True if [row["reason"] for row in rows] == ["not_examined"] * 2 else None

            await wait_until(is_waiting, "the first look at both")
            assert not scene.has_reached_backend(other)
            assert not scene.has_reached_backend(again)
            # Hashes that were kept have nothing new to be compared with.
            assert scene.relay.parts.list_watch.scanning.lists_digest == lists_digest
            assert "breakwater_lists_overdue 1.0" in await scene.relay.metrics()
            await sync(scene)
            await wait_until(lambda: holds(scene, expected=False), "the relay to go on")
            async with scene.database.transaction() as conn:
                await conn.execute("UPDATE deliveries SET due_at = now() WHERE state = 'received'")
            for one in (other, again):
                assert (await scene.wait_for_state(one)).state is State.FORWARDED
    messages = [one.getMessage() for one in caplog.records if "overdue" in one.getMessage()]
    assert messages[0].startswith("lists_overdue lists=1")
    assert messages[1].startswith("lists_not_overdue_any_more")
    assert not any("theirs" in one for one in messages)
