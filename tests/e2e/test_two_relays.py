"""Two relays on one database share the work and do none of it twice."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from db.pool import open_database
from relay.lifecycle import State
from tests.e2e.process import open_relay_process
from tests.e2e.world import Scene, expire_leases, wait_for_bodies
from tests.fediverse import RecordingBackend, shapes
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

_POSTS = 20


async def test_two_relays_forward_each_delivery_once_and_one_goes_on_for_the_other(
    world: World, dsn: str
) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        backend = await enter(RecordingBackend.open())
        database = await enter(open_database(dsn, min_size=1, max_size=2))
        settings = {"database_url": dsn, "scanner_workers": "1"}
        relays = [
            await enter(open_relay_process(backend_url=backend.url, ports=world.ports, **settings))
            for _ in range(2)
        ]
        scenes = [Scene(world=world, backend=backend, relay=relay, database=database) for relay in relays]
        origin = world.take_origin()
        actor = origin.create_actor("alice")
        shared = origin.serve_media("/shared.png", encode(marker(111), "PNG"))
        activities = [shapes.mastodon_create(actor, [shared]) for _ in range(_POSTS)]
        messages = [scenes[0].sign(actor, activity) for activity in activities]

        # Every signed post comes in at both doors at once.
        async with asyncio.TaskGroup() as group:
            sends = [group.create_task(scene.send(message)) for message in messages for scene in scenes]
        bodies = [json.dumps(activity).encode() for activity in activities]
        await wait_for_bodies(backend, *bodies)
        for activity in activities:
            assert (await scenes[0].wait_for_state(activity)).state is State.FORWARDED

        assert {one.result().status for one in sends} == {202}
        assert sorted(backend.bodies) == sorted(bodies)

        # What the one takes down with it the other finishes.
        backend.pause()
        last = shapes.mastodon_create(actor, [shared])
        await scenes[0].deliver(actor, last)
        stored = await scenes[0].wait_for_state(last, State.FORWARDING)
        holder = next(relay for relay in relays if f":{relay.pid}:" in (stored.worker or ""))
        await holder.kill9()
        backend.requests.clear()
        backend.resume()
        await expire_leases(database)
        await wait_for_bodies(backend, json.dumps(last).encode())
        assert (await scenes[0].wait_for_state(last)).state is State.FORWARDED
