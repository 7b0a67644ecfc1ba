"""The same delivery again and again is one delivery."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay.lifecycle import State
from tests.fediverse import shapes
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.world import Scene
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

_COPIES = 1000
_AT_ONCE = 50


async def test_the_same_signed_post_a_thousand_times_is_delivered_once(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    url = origin.serve_media("/picture.png", encode(marker(31), "PNG"))
    activity = shapes.mastodon_create(actor, [url])
    message = scene.sign(actor, activity)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def send_copy() -> int:
        async with gate:
            return (await scene.send(message)).status

    async with asyncio.TaskGroup() as group:
        copies = [group.create_task(send_copy()) for _ in range(_COPIES)]
    await scene.wait_for_backend(message.body)

    assert {copy.result() for copy in copies} == {202}
    assert (await scene.wait_for_state(activity)).state is State.FORWARDED
    # A copy that would be forwarded twice would have been claimed before this later one.
    later = shapes.mastodon_create(actor, [url])
    await scene.deliver(actor, later)
    await scene.wait_for_backend(later)
    assert scene.backend.bodies.count(message.body) == 1
    assert origin.count("/users/alice") == 1


async def test_the_same_activity_to_two_inboxes_is_two_deliveries(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    url = origin.serve_media("/picture.png", encode(marker(32), "PNG"))
    activity = shapes.mastodon_create(actor, [url])

    for target in ("/users/one/inbox", "/users/two/inbox"):
        message = scene.sign(actor, activity, target=target)
        assert (await scene.send(message)).status == 202
    async with asyncio.timeout(30), scene.backend._arrived:
        await scene.backend._arrived.wait_for(lambda: scene.backend.bodies.count(message.body) == 2)

    targets = {one.target for one in scene.backend.requests if one.body == message.body}
    assert targets == {"/users/one/inbox", "/users/two/inbox"}
