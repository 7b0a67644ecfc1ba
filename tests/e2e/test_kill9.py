"""Answered 202 means forwarded in the end, whatever happens to the process in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from db.pool import open_database
from relay.lifecycle import State
from tests.e2e.world import expire_leases, open_scene, wait_for_bodies, wait_for_state
from tests.fediverse import shapes
from tests.fediverse.behaviours import serve, stall
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

_POSTS = 6


@pytest.mark.timeout(180)
async def test_after_kill_minus_9_everything_that_was_answered_202_is_forwarded_with_the_same_bytes(
    world: World,
) -> None:
    async with open_scene(world) as scene:
        origin = scene.take_origin()
        actor = origin.create_actor("alice")
        scene.backend.pause()
        answered: list[dict[str, object]] = []
        for number in range(_POSTS):
            url = origin.serve_media(
                f"/{number}.png", encode(marker(100 + number, width=128, height=128), "PNG")
            )
            activity = shapes.mastodon_create(actor, [url])
            assert (await scene.deliver(actor, activity)).status == 202
            answered.append(activity)
        # One more whose picture does not come: it is killed in the middle of its examination.
        slow = origin.on("/slow.png", stall())
        waiting = shapes.mastodon_create(actor, [slow])
        assert (await scene.deliver(actor, waiting)).status == 202
        await scene.wait_for_state(waiting, State.EXAMINING)
        # All the others stand at the backend, which has them but says nothing.
        await wait_for_bodies(scene.backend, *(json.dumps(activity).encode() for activity in answered))

        await scene.relay.kill9()
        origin.on("/slow.png", serve(encode(marker(99, width=128, height=128), "PNG")))
        scene.backend.requests.clear()
        scene.backend.resume()
        await scene.relay.start()

        async with open_database(scene.relay.dsn, min_size=1, max_size=2) as database:
            await expire_leases(database)
            bodies = [json.dumps(activity).encode() for activity in (*answered, waiting)]
            await wait_for_bodies(scene.backend, *bodies)
            for activity in (*answered, waiting):
                assert (await wait_for_state(database, activity)).state is State.FORWARDED
