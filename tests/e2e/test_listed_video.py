"""A video that a list has by its frames is withheld, however it is encoded and whenever the list came."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from db.hashlists import NewHashList, import_list
from relay.lifecycle import State
from scanner.hashlist import HashKind, ListFormat, parse_hash_list
from tests.e2e.acting import settings_of
from tests.e2e.inside import open_inside
from tests.e2e.test_later_lists import cases_of, pass_on, tools_of
from tests.e2e.world import wait_until
from tests.fediverse import shapes
from tests.fediverse.servers import MastodonServer
from tests.listed_videos import hash_video
from tests.scanner.clips import Scene as Shown
from tests.scanner.clips import clip

if TYPE_CHECKING:
    from tests.e2e.world import Scene, World
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

SCENES = [Shown(seed=seed, frames=15) for seed in range(301, 306)]
OTHERS = [Shown(seed=seed, frames=15) for seed in range(311, 316)]


async def list_video(scene: Scene) -> None:
    """Import a list that has the video, and wait until the scanner has it."""
    before = tools_of(scene).scans.scanning.lists_digest
    text = json.dumps([{"type": "vpdq", "value": hash_video(clip(SCENES)), "id": "clip-1"}])
    parsed = parse_hash_list(text.encode(), ListFormat.JSON)
    new = NewHashList(
        name="videos",
        version="1",
        category="spam",
        distance=31,
        min_quality=50,
        is_dihedral=False,
        digest=parsed.listed.digest(),
    )
    values = {"vpdq": parsed.listed.get_rows(HashKind.VPDQ).tobytes()}
    async with scene.database.connection() as conn:
        await import_list(conn, new, values, now=tools_of(scene).clock.now(), videos=parsed.videos)

    async def is_loaded() -> bool | None:
        return True if tools_of(scene).scans.scanning.lists_digest != before else None

    await wait_until(is_loaded, "the listed video in the scanner")


async def test_a_listed_video_is_withheld_in_another_encoding(world: World, dsn: str) -> None:
    origin = world.take_origin()
    actor = origin.create_actor("filmmaker")
    copy = origin.serve_media("/copy.webm", clip(SCENES, "vp9.webm", rate=12), "video/webm")
    other = origin.serve_media("/other.webm", clip(OTHERS, "vp9.webm", rate=12), "video/webm")
    async with open_inside(world, dsn=dsn) as scene:
        await list_video(scene)
        held, passed = (shapes.mastodon_create(actor, [url]) for url in (copy, other))
        await scene.deliver(actor, held)
        stored = await scene.wait_for_state(held)
        assert stored.state is State.HELD
        assert [case.basis for case in await scene.cases_of(stored)] == ["near_hash"]
        await scene.deliver(actor, passed)
        assert (await scene.wait_for_state(passed)).state is State.FORWARDED


async def test_a_video_that_was_let_go_is_found_when_a_list_comes_to_have_it(
    world: World, dsn: str, origin: Origin
) -> None:
    data = clip(SCENES, "vp9.webm", rate=12)
    async with MastodonServer.open() as server, open_inside(world, dsn=dsn, **settings_of(server)) as scene:
        url = origin.serve_media("/later.webm", data, "video/webm")
        await pass_on(scene, server, origin.create_actor("filmmaker"), url)
        await list_video(scene)

        async def find_case() -> object | None:
            return await cases_of(scene, data) or None

        await wait_until(find_case, "the case about the video")
        assert [case.basis for case in await cases_of(scene, data)] == ["near_hash"]
