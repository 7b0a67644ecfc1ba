"""A running relay fetches a list, withholds what it lists, and lets go again what its maker takes back."""

from __future__ import annotations

import hashlib
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
from tests.lists_servers import Entry, NcmecServer
from tests.lists_servers.ncmec import LOGIN

if TYPE_CHECKING:
    from pathlib import Path

    from db.list_sources import ListSource
    from tests.e2e.world import Scene, World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

DUE_NOW = "UPDATE list_sources SET due_at = now() - interval '1 hour'"


async def add(scene: Scene, ncmec: NcmecServer, credentials: Path) -> None:
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
            kind="ncmec",
            url=ncmec.root,
            credentials=f"file:{credentials}",
            options={},
            every=timedelta(hours=1),
            accepted_at=now,
        )
        await list_sources.add_source(conn, source)


async def wait_for_entries(scene: Scene, entries: int) -> None:
    """Wait until the relay has fetched the list and its scanner has so many entries of it."""

    async def find() -> ListSource | None:
        async with scene.database.connection() as conn:
            found = await list_sources.find_source(conn, "theirs")
        return found if found is not None and found.entries == entries and found.worker is None else None

    await wait_until(find, "the fetched list")
    scanning = scene.relay.parts.list_watch.scanning

    async def find_loaded() -> object | None:
        for one in _walk(scanning.published_state.document):
            if isinstance(one, dict) and one.get("name") == "theirs" and one.get("entries") == entries:
                return one
        return None

    await wait_until(find_loaded, "the list in the scanner")


def _walk(value: object) -> list[object]:
    """List every value inside a document."""
    if isinstance(value, dict):
        return [value, *(inner for one in value.values() for inner in _walk(one))]
    if isinstance(value, list | tuple):
        return [inner for one in value for inner in _walk(one)]
    return [value]


async def test_what_a_maker_lists_is_withheld_and_let_go_when_it_is_taken_back(
    world: World, dsn: str
) -> None:
    origin = world.take_origin()
    actor = origin.create_actor("alice")
    pictures = [encode(marker(seed), "PNG") for seed in (41, 42)]
    urls = [origin.serve_media(f"/{place}.png", data) for place, data in enumerate(pictures)]
    now = datetime.now(UTC)  # noqa: TID251 (the relay runs by the machine's clock)
    with scratch_directory() as directory:
        credentials = directory / "login"
        credentials.write_text(LOGIN, encoding="utf-8")
        async with NcmecServer.open() as ncmec:
            digests = [hashlib.md5(data, usedforsecurity=False).hexdigest() for data in pictures]
            earlier = now - timedelta(days=1)
            ncmec.put(*(Entry(id=one, at=earlier, hashes={"md5": one}) for one in digests))
            ports = f"{','.join(map(str, world.ports))},{ncmec.port}"
            async with open_inside(world, dsn=dsn, fetch_ports=ports) as scene:
                await add(scene, ncmec, credentials)
                await wait_for_entries(scene, 2)

                first = shapes.mastodon_create(actor, [urls[0]])
                await scene.deliver(actor, first)
                assert (await scene.wait_for_state(first)).state is State.HELD

                # The other one is taken back before anybody posted it.
                ncmec.put(Entry(id=digests[1], at=now - timedelta(hours=1), is_deleted=True))
                async with scene.database.transaction() as conn:
                    await conn.execute(DUE_NOW)
                    await notify(conn, list_sources.CHANNEL)
                await wait_for_entries(scene, 1)
                second = shapes.mastodon_create(actor, [urls[1]])
                await scene.deliver(actor, second)
                assert (await scene.wait_for_state(second)).state is State.FORWARDED
                metrics = await scene.relay.metrics()
                assert 'breakwater_list_syncs_total{kind="ncmec",outcome="done"} 2.0' in metrics
                assert 'breakwater_list_age_seconds{kind="ncmec"}' in metrics
                for digest in digests:
                    assert digest not in metrics
