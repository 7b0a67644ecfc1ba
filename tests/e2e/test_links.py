"""A link to a web page is no media, however often it is posted; a link to a picture is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.lifecycle import State
from scanner.canary import draw_canary
from tests.fediverse import shapes

if TYPE_CHECKING:
    from tests.e2e.world import Scene
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

_PAGE = b"<!doctype html><title>News</title><p>Nothing to see here but words.</p>"


async def _states(scene: Scene, origin: Origin, url: str, times: int) -> list[State]:
    actor = origin.create_actor("alice")
    states = []
    for _ in range(times):
        page = shapes.mastodon_note(actor)
        page["attachment"] = [{"type": "Link", "href": url}]
        activity = shapes.create(actor, page)
        assert (await scene.deliver(actor, activity)).status == 202
        states.append((await scene.wait_for_state(activity)).state)
    return states


async def test_a_post_that_links_to_a_page_passes_each_time(scene: Scene, origin: Origin) -> None:
    url = origin.serve_media("/news/today", _PAGE, "text/html; charset=utf-8")

    assert await _states(scene, origin, url, 3) == [State.FORWARDED] * 3


async def test_a_post_that_links_to_the_canary_is_held_each_time(scene: Scene, origin: Origin) -> None:
    url = origin.serve_media("/news/today", draw_canary())

    assert await _states(scene, origin, url, 2) == [State.HELD] * 2


async def test_a_page_that_was_a_link_is_still_no_picture_as_an_attachment(
    scene: Scene, origin: Origin
) -> None:
    url = origin.serve_media("/news/today", _PAGE, "text/html")
    await _states(scene, origin, url, 1)
    actor = origin.create_actor("bob")
    activity = shapes.mastodon_create(actor, [url])

    await scene.deliver(actor, activity)

    assert (await scene.wait_for_state(activity)).state is State.HELD
