"""A list that comes later is held against what was let go before it came."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from PIL import ImageOps

from db import cases, media_hashes
from db.cases import CaseState
from db.errands import ErrandKind, ErrandState
from db.hashlists import NewHashList, import_list
from db.rulings import Ruling, RulingKind, set_ruling
from relay.lifecycle import State
from scanner.report import PdqHash
from tests.e2e.acting import list_errands, settings_of, wait_for_errand
from tests.e2e.inside import open_inside
from tests.e2e.world import wait_until
from tests.fediverse import shapes
from tests.fediverse.servers import MastodonServer, Post
from tests.images import encode, marker

if TYPE_CHECKING:
    from db.cases import Case
    from relay.pipeline import Tools
    from tests.e2e.world import Scene, World
    from tests.fediverse import Actor, Origin
    from tests.fediverse.servers import ApiServer

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

PICTURE = marker(811, width=640, height=480)
DATA = encode(PICTURE, "PNG")


def tools_of(scene: Scene) -> Tools:
    tools: Tools = scene.relay.parts.workers._tools  # type: ignore[union-attr]
    return tools


async def pass_on(scene: Scene, server: ApiServer, actor: Actor, url: str) -> None:
    """Have a post with media forwarded, and known to the server behind."""
    activity = shapes.mastodon_create(actor, [url])
    note = activity["object"]
    assert isinstance(note, dict)
    server.knows_elsewhere(Post(uri=str(note["id"]), author=actor.id, number=77, author_number=5))
    await scene.deliver(actor, activity)
    assert (await scene.wait_for_state(activity)).state is State.FORWARDED


async def list_now(
    scene: Scene, values: dict[str, bytes], *, version: str = "1", turned: bool = False
) -> None:
    """Import a list, and wait until everything that was seen has been held against it."""
    before = tools_of(scene).scans.scanning.lists_digest
    new = NewHashList(
        name="later",
        version=version,
        category="spam",
        distance=31,
        min_quality=50,
        is_dihedral=turned,
        digest=hashlib.sha256(version.encode()).digest(),
    )
    async with scene.database.connection() as conn:
        await import_list(conn, new, values, now=tools_of(scene).clock.now())

    async def is_compared() -> bool | None:
        lists_digest = tools_of(scene).scans.scanning.lists_digest
        async with scene.database.connection() as conn:
            stale, _ = await media_hashes.count_stale(conn, lists_digest)
        return True if lists_digest != before and stale == 0 else None

    await wait_until(is_compared, "everything to be held against the new list")


async def cases_of(scene: Scene, data: bytes) -> list[Case]:
    async with scene.database.connection() as conn:
        found = await cases.list_cases(conn, limit=99)
    return [case for case in found if case.sha256 == hashlib.sha256(data).digest()]


async def pdq_of(scene: Scene, data: bytes) -> bytes:
    hashed = await tools_of(scene).scans.scanning.hash_picture(data)
    assert isinstance(hashed, PdqHash)
    return hashed.bits


async def test_what_a_later_list_holds_exactly_is_acted_upon_where_it_went(
    world: World, dsn: str, origin: Origin
) -> None:
    async with MastodonServer.open() as server, open_inside(world, dsn=dsn, **settings_of(server)) as scene:
        await pass_on(scene, server, origin.create_actor("alice"), origin.serve_media("/a.png", DATA))
        await list_now(scene, {"sha256": hashlib.sha256(DATA).digest()})
        done = await wait_for_errand(scene, ErrandKind.REPORT, ErrandState.DONE)

        (case,) = await cases_of(scene, DATA)
        assert (case.basis, case.category, done.case_id) == ("exact_hash", "spam", case.id)
        assert [one.post for one in server.reports] == [77]


async def test_a_file_that_is_gone_from_its_origin_is_known_by_the_hashes_that_were_kept(
    world: World, dsn: str, origin: Origin
) -> None:
    async with MastodonServer.open() as server, open_inside(world, dsn=dsn, **settings_of(server)) as scene:
        await pass_on(scene, server, origin.create_actor("alice"), origin.serve_media("/a.png", DATA))
        origin.serve_media("/a.png", encode(marker(5), "PNG"))
        await list_now(scene, {"sha256": hashlib.sha256(DATA).digest()})
        await wait_for_errand(scene, ErrandKind.REPORT, ErrandState.DONE)
        assert [case.basis for case in await cases_of(scene, DATA)] == ["exact_hash"]


async def test_a_near_match_of_a_later_list_opens_a_case_and_does_no_more(
    world: World, dsn: str, origin: Origin
) -> None:
    async with MastodonServer.open() as server, open_inside(world, dsn=dsn, **settings_of(server)) as scene:
        mirrored = encode(ImageOps.mirror(PICTURE), "PNG")
        await pass_on(scene, server, origin.create_actor("alice"), origin.serve_media("/a.png", mirrored))
        bits = await pdq_of(scene, DATA)
        await list_now(scene, {"pdq": bits})
        assert await cases_of(scene, mirrored) == []
        await list_now(scene, {"pdq": bits}, version="2", turned=True)
        assert [case.basis for case in await cases_of(scene, mirrored)] == ["near_hash"]
        assert await list_errands(scene) == ()


async def test_the_next_version_of_a_list_asks_about_nothing_twice(
    world: World, dsn: str, origin: Origin
) -> None:
    async with MastodonServer.open() as server, open_inside(world, dsn=dsn, **settings_of(server)) as scene:
        await pass_on(scene, server, origin.create_actor("alice"), origin.serve_media("/a.png", DATA))
        listed = hashlib.sha256(DATA).digest()
        await list_now(scene, {"sha256": listed})
        await list_now(scene, {"sha256": b"".join(sorted((listed, bytes(32))))}, version="2")
        assert len(await cases_of(scene, DATA)) == 1
        assert len(await list_errands(scene)) == 1


async def test_what_a_person_released_stays_released(world: World, dsn: str, origin: Origin) -> None:
    async with MastodonServer.open() as server, open_inside(world, dsn=dsn, **settings_of(server)) as scene:
        await pass_on(scene, server, origin.create_actor("alice"), origin.serve_media("/a.png", DATA))
        now = tools_of(scene).clock.now()
        sha256 = hashlib.sha256(DATA).digest()
        ruling = Ruling(sha256=sha256, ruling=RulingKind.ALLOW, ruled_by="mo", ruled_at=now)
        async with scene.database.connection() as conn:
            await set_ruling(conn, ruling)
        await list_now(scene, {"sha256": sha256})
        assert [case.state for case in await cases_of(scene, DATA) if case.state is CaseState.OPEN] == []
        assert await list_errands(scene) == ()
