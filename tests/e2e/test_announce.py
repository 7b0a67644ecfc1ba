"""An Announce shows another's post: what that post points at, at its own origin, decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.lifecycle import State
from scanner.canary import draw_canary
from tests.fediverse import shapes
from tests.fediverse.behaviours import redirect, refuse, require_signature, serve_json
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.world import Scene
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def _harmless(origin: Origin) -> str:
    return origin.serve_media("/harmless.png", encode(marker(71, width=128, height=128), "PNG"))


async def _outcome(scene: Scene, announced: object) -> State:
    """Announce something from a server of its own, and return where that comes to rest."""
    booster = scene.take_origin().create_actor("booster")
    activity = shapes.announce(booster, announced)
    assert (await scene.deliver(booster, activity)).status == 202
    state = (await scene.wait_for_state(activity, State.FORWARDED, State.HELD, State.DEAD)).state
    assert scene.has_reached_backend(activity) is (state is State.FORWARDED)
    return state


async def test_an_announced_id_is_fetched_at_its_origin_and_its_picture_decides(
    scene: Scene, origin: Origin
) -> None:
    author = origin.create_actor("author")
    good = shapes.mastodon_note(author, [_harmless(origin)])
    bad = shapes.mastodon_note(author, [origin.serve_media("/bad.png", draw_canary())])

    assert await _outcome(scene, origin.serve_object(good)) is State.FORWARDED
    assert await _outcome(scene, origin.serve_object(bad)) is State.HELD


async def test_an_origin_that_demands_signatures_gets_one(scene: Scene, origin: Origin) -> None:
    author = origin.create_actor("author")
    for number, header in enumerate(("Signature", "Signature-Input")):
        note = shapes.mastodon_note(author, [_harmless(origin)])
        url = origin.serve_object(note)
        path = f"/users/author/statuses/{number + 1}"
        origin.on(path, require_signature(header, serve_json(note)))

        assert await _outcome(scene, url) is State.FORWARDED
        assert any(request.header("Signature") for request in origin.requests if request.path == path)


async def test_a_foreign_copy_inside_an_announce_is_not_believed(scene: Scene, origin: Origin) -> None:
    author = origin.create_actor("author")
    truth = shapes.mastodon_note(author, [origin.serve_media("/bad.png", draw_canary())])
    origin.serve_object(truth)

    assert await _outcome(scene, {**truth, "attachment": []}) is State.HELD


async def test_an_object_that_cannot_be_had_is_not_released(scene: Scene, origin: Origin) -> None:
    author = origin.create_actor("author")
    gone = author.new_id()
    origin.on(f"/users/author/statuses/{gone.rpartition('/')[2]}", refuse(410))

    assert await _outcome(scene, gone) is State.HELD


async def test_an_object_that_names_another_origin_as_its_own_is_not_believed(
    scene: Scene, origin: Origin
) -> None:
    """Else an announcer's redirect could show the scanner one post and the backend another."""
    victim = scene.take_origin().create_actor("victim")
    note = shapes.mastodon_note(victim, [_harmless(origin)])
    url = origin.on("/users/author/statuses/9", serve_json(note))

    assert await _outcome(scene, url) is State.HELD


async def test_an_object_is_followed_to_where_its_origin_moved_it(scene: Scene, origin: Origin) -> None:
    author = origin.create_actor("author")
    note = shapes.mastodon_note(author, [origin.serve_media("/bad.png", draw_canary())])
    url = origin.on("/old", redirect(origin.serve_object(note)))

    assert await _outcome(scene, url) is State.HELD


@pytest.mark.parametrize("depth", [1, 2])
async def test_what_a_fetched_object_only_names_is_not_passed_unseen(
    depth: int, scene: Scene, origin: Origin
) -> None:
    """A server that fetches the announced activity goes on to the object that this one names."""
    author = origin.create_actor("author")
    note = shapes.mastodon_note(author, [origin.serve_media("/bad.png", draw_canary())])
    url = origin.serve_object(note)
    for _ in range(depth):
        wrapping = shapes.create(author, note)
        wrapping["id"], wrapping["object"] = author.new_id("activities"), url
        url = origin.serve_object(wrapping)

    assert await _outcome(scene, url) is State.HELD


async def test_a_community_announces_a_members_whole_post_and_its_picture_decides(
    scene: Scene, origin: Origin
) -> None:
    community, member = origin.create_actor("pictures"), origin.create_actor("member")
    for data, state in ((encode(marker(72), "PNG"), State.FORWARDED), (draw_canary(), State.HELD)):
        picture = origin.serve_media(f"/{state}.png", data)
        activity = shapes.lemmy_announce(community, member, picture)

        assert (await scene.deliver(community, activity)).status == 202
        assert (await scene.wait_for_state(activity)).state is state
