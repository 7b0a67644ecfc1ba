"""Followers-only and direct posts are private: examined only where the admin gave a legal basis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.config import InvalidSettingsError, load_settings
from relay.lifecycle import State
from scanner.canary import draw_canary
from tests.e2e.inside import open_inside
from tests.fediverse import shapes
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.world import Scene, World
    from tests.fediverse import Actor, Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def _restricted(actor: Actor, url: str) -> shapes.Document:
    note = shapes.mastodon_note(actor, [url], to=[f"{actor.id}/followers"])
    activity = shapes.create(actor, note)
    activity["to"], activity["cc"] = [f"{actor.id}/followers"], []
    return activity


async def test_a_followers_only_post_is_passed_unexamined_by_default(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    url = origin.serve_media("/p.png", draw_canary())
    activity = _restricted(actor, url)

    assert (await scene.deliver(actor, activity)).status == 202
    await scene.wait_for_backend(activity)

    assert origin.count("/p.png") == 0


async def test_with_a_legal_basis_it_is_examined_but_never_attested(
    world: World, dsn: str, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    harmless = encode(marker(81), "PNG")
    activities = [
        _restricted(actor, origin.serve_media(path, data))
        for path, data in (("/bad.png", draw_canary()), ("/good.png", harmless))
    ]
    settings = {"legal_scan_restricted": "true", "legal_scan_restricted_basis": "our terms, section 4"}
    async with open_inside(world, dsn=dsn, **settings) as scene:
        for activity, state in zip(activities, (State.HELD, State.FORWARDED), strict=True):
            assert (await scene.deliver(actor, activity)).status == 202
            assert (await scene.wait_for_state(activity)).state is state

        public = shapes.mastodon_create(actor, [origin.serve_media("/other.png", encode(marker(82), "PNG"))])
        await scene.deliver(actor, public)
        await scene.wait_for_attestation(encode(marker(82), "PNG"))
        assert await scene.find_attestation(harmless) is None


async def test_examining_private_posts_needs_a_basis() -> None:
    with pytest.raises(InvalidSettingsError, match="scan_restricted_basis"):
        load_settings(None, {"BREAKWATER_LEGAL_SCAN_RESTRICTED": "true"})
