"""What follows a held post waits behind it; its author's Delete ends it, and nobody else's does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.lifecycle import State
from scanner.canary import draw_canary
from tests.fediverse import shapes

if TYPE_CHECKING:
    from tests.e2e.world import Scene
    from tests.fediverse import Actor, Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def _hold(scene: Scene, origin: Origin, actor: Actor) -> tuple[shapes.Document, shapes.Document]:
    """Deliver a post with the canary, wait until it is held, and return the note and the activity."""
    note = shapes.mastodon_note(actor, [origin.serve_media(f"/{actor.name}.png", draw_canary())])
    activity = shapes.create(actor, note)
    assert (await scene.deliver(actor, activity)).status == 202
    assert (await scene.wait_for_state(activity)).state is State.HELD
    return note, activity


async def test_an_update_waits_behind_the_held_create_and_the_delete_drops_both_and_goes_through(
    scene: Scene, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    note, created = await _hold(scene, origin, actor)
    updated = shapes.update(actor, {**note, "attachment": [], "content": "<p>without</p>"})

    assert (await scene.deliver(actor, updated)).status == 202
    assert (await scene.wait_for_state(updated, State.RECEIVED)).state is State.RECEIVED
    other = shapes.like(actor, str(note["id"]))
    await scene.deliver(actor, other)
    await scene.wait_for_backend(other)
    assert not scene.has_reached_backend(updated)

    deleted = shapes.delete(actor, str(note["id"]))
    assert (await scene.deliver(actor, deleted)).status == 202
    await scene.wait_for_backend(deleted)

    for activity in (created, updated):
        assert (await scene.wait_for_state(activity)).state is State.DROPPED
        assert not scene.has_reached_backend(activity)
    assert (await scene.wait_for_state(deleted)).state is State.FORWARDED


async def test_a_delete_by_another_origin_drops_nothing(scene: Scene, origin: Origin) -> None:
    actor, stranger = origin.create_actor("alice"), scene.take_origin().create_actor("mallory")
    note, created = await _hold(scene, origin, actor)

    deleted = shapes.delete(stranger, str(note["id"]))
    assert (await scene.deliver(stranger, deleted)).status == 202

    await scene.wait_for_state(deleted, State.RECEIVED)
    assert (await scene.wait_for_state(created)).state is State.HELD
    assert not scene.has_reached_backend(deleted)


async def test_a_delete_whose_signature_is_bad_drops_nothing(scene: Scene, origin: Origin) -> None:
    actor, stranger = origin.create_actor("alice"), scene.take_origin().create_actor("mallory")
    note, created = await _hold(scene, origin, actor)
    deleted = shapes.delete(actor, str(note["id"]))
    forged = stranger.sign(
        actor.build_delivery(deleted, scene.relay.inbox),
        now=scene.world.fediverse.clock.now(),
        key_id=actor.key_id,
    )

    assert (await scene.send(forged)).status == 401
    assert (await scene.wait_for_state(created)).state is State.HELD
