"""A held post that is released after the backend's window still gets there, or is visibly given up."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest

from db import delivery_lists
from db.cases import CaseState
from relay.cli.cases import rule
from relay.cli.deliveries import list_in_state, replay_all, show
from relay.lifecycle import RETRY_DELAYS, State
from scanner.canary import draw_canary
from tests.e2e.inside import InsideRelay, open_inside
from tests.e2e.strict_backend import TOKEN, StrictBackend
from tests.e2e.world import wait_until
from tests.fediverse import RecordingBackend, shapes
from tests.images import encode, marker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.delivery_rows import StoredDelivery
    from tests.e2e.world import Scene, World
    from tests.fediverse import Actor, Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

# Past twice the window that the relay reckons with, so that nobody would take the old signature.
LONG_AFTER = timedelta(hours=2)
WINDOWS = {"mastodon": timedelta(minutes=65), "gotosocial": timedelta(hours=1), "lemmy": timedelta(hours=1)}
INNER_SIGNATURE = {
    "type": "RsaSignature2017",
    "creator": "https://a.example/users/alice#main-key",
    "created": "2026-11-22T12:00:00Z",
    "signatureValue": "AA==",
}


@contextlib.asynccontextmanager
async def _open(
    world: World, dsn: str, software: str, *, backend: RecordingBackend | None = None, **settings: str
) -> AsyncIterator[tuple[Scene, StrictBackend]]:
    """Run a relay before a backend that looks at what it gets."""
    async with open_inside(
        world,
        dsn=dsn,
        backend=backend,
        backend_software=software,
        backend_signature_window_s="3000",
        **settings,
    ) as scene:
        strict = StrictBackend(
            window=WINDOWS[software],
            now=_inside(scene).clock.now,
            reads_inner_signatures=software == "mastodon",
        )
        strict.judge_for(scene.backend)
        yield scene, strict


def _inside(scene: Scene) -> InsideRelay:
    return cast("InsideRelay", scene.relay)


async def _hold(
    scene: Scene, origin: Origin, actor: Actor, **more: object
) -> tuple[shapes.Document, shapes.Document]:
    """Deliver a post with the canary and wait until it is held."""
    note = shapes.mastodon_note(actor, [origin.serve_media("/p.png", draw_canary())])
    activity = {**shapes.create(actor, note), **more}
    assert (await scene.deliver(actor, activity)).status == 202
    assert (await scene.wait_for_state(activity)).state is State.HELD
    return note, activity


async def _rule(scene: Scene, stored: StoredDelivery) -> None:
    """Release the one case of a delivery."""
    (case,) = await scene.cases_of(stored)
    await rule(
        scene.database,
        case.id,
        to=CaseState.RELEASED,
        ruled_by="ada",
        note="",
        acting=_inside(scene).parts.workers._tools.acting,
        now=_inside(scene).clock.now(),
    )


async def _release(scene: Scene, activity: shapes.Document) -> StoredDelivery:
    """Rule that the media may go, and wait for where the delivery comes to rest."""
    stored = await scene.wait_for_state(activity)
    await _rule(scene, stored)
    return await scene.wait_for_state(activity, State.FORWARDED, State.DEAD)


async def _wait_for_retry(scene: Scene, activity: shapes.Document) -> StoredDelivery:
    async def find() -> StoredDelivery | None:
        stored = await scene.wait_for_state(activity, *State)
        return stored if stored.state is State.DECIDED and stored.retries else None

    return await wait_until(find, "a retry")


async def test_released_within_the_window_it_arrives_byte_for_byte(
    world: World, dsn: str, origin: Origin
) -> None:
    async with _open(world, dsn, "mastodon") as (scene, strict):
        actor = origin.create_actor("alice")
        note, activity = await _hold(scene, origin, actor)
        _inside(scene).advance(timedelta(minutes=45))

        stored = await _release(scene, activity)

        assert (stored.state, stored.reason) == (State.FORWARDED, "backend_answered_202")
        assert strict.posts == {note["id"]: ["delivered"]}


async def test_long_after_the_relay_brings_what_its_author_signed_inside(
    world: World, dsn: str, origin: Origin
) -> None:
    async with _open(world, dsn, "mastodon") as (scene, strict):
        actor = origin.create_actor("alice")
        note, activity = await _hold(scene, origin, actor, signature=INNER_SIGNATURE)
        _inside(scene).advance(LONG_AFTER)

        stored = await _release(scene, activity)

        assert (stored.state, stored.reason) == (State.FORWARDED, "relay_signed")
        assert strict.posts == {note["id"]: ["brought"]}
        (request,) = scene.backend.requests
        assert request.body == json.dumps(activity).encode()


@pytest.mark.parametrize("software", ["mastodon", "gotosocial", "lemmy"])
async def test_long_after_the_backend_fetches_what_nobody_else_can_bring(
    software: str, world: World, dsn: str, origin: Origin
) -> None:
    async with _open(world, dsn, software, backend_token=TOKEN) as (scene, strict):
        actor = origin.create_actor("alice")
        note, activity = await _hold(scene, origin, actor)
        _inside(scene).advance(LONG_AFTER)

        stored = await _release(scene, activity)

        assert (stored.state, stored.reason) == (State.FORWARDED, "resolved")
        assert strict.posts == {note["id"]: ["fetched"]}


async def test_what_follows_a_fetched_post_keeps_its_place_behind_it(
    world: World, dsn: str, origin: Origin
) -> None:
    async with _open(world, dsn, "mastodon", backend_token=TOKEN) as (scene, strict):
        actor = origin.create_actor("alice")
        note, activity = await _hold(scene, origin, actor)
        old = shapes.update(actor, {**note, "attachment": [], "content": "<p>first</p>"})
        assert (await scene.deliver(actor, old)).status == 202
        _inside(scene).advance(LONG_AFTER)
        # Signed now, not two hours ago; and the author still has the note in mind.
        fresh = shapes.update(actor, {**note, "attachment": [], "content": "<p>second</p>"})
        message = actor.sign_and_build(fresh, scene.relay.inbox, now=_inside(scene).clock.now())
        assert (await scene.send(message)).status == 202

        await _release(scene, activity)
        assert (await scene.wait_for_state(old, State.FORWARDED)).reason == "resolved"
        assert (await scene.wait_for_state(fresh, State.FORWARDED)).reason == "backend_answered_202"

        assert strict.posts == {note["id"]: ["fetched", "fetched", "delivered"]}


async def test_a_post_that_its_author_deleted_is_neither_brought_nor_fetched(
    world: World, dsn: str, origin: Origin
) -> None:
    async with _open(world, dsn, "mastodon", backend_token=TOKEN) as (scene, strict):
        actor = origin.create_actor("alice")
        note, activity = await _hold(scene, origin, actor)
        _inside(scene).advance(LONG_AFTER)
        deleted = shapes.delete(actor, str(note["id"]))
        message = actor.sign_and_build(deleted, scene.relay.inbox, now=_inside(scene).clock.now())

        assert (await scene.send(message)).status == 202
        assert (await scene.wait_for_state(deleted, State.FORWARDED)).reason == "backend_answered_202"

        assert (await scene.wait_for_state(activity)).state is State.DROPPED
        assert strict.posts == {note["id"]: ["delivered"]}


async def test_an_origin_that_is_down_is_asked_again(world: World, dsn: str, origin: Origin) -> None:
    async with _open(world, dsn, "lemmy", backend_token=TOKEN) as (scene, strict):
        actor = origin.create_actor("alice")
        note, activity = await _hold(scene, origin, actor)
        _inside(scene).advance(LONG_AFTER)
        strict.origin_is_up = False
        stored = await scene.wait_for_state(activity)
        await _rule(scene, stored)

        assert (await _wait_for_retry(scene, activity)).reason == "resolve_not_found"
        strict.origin_is_up = True
        _inside(scene).advance(RETRY_DELAYS[0])

        assert (await scene.wait_for_state(activity, State.FORWARDED)).reason == "resolved"
        assert strict.posts == {note["id"]: ["fetched"]}


async def test_without_a_way_it_is_a_dead_letter_and_a_token_brings_it_back(
    world: World, dsn: str, origin: Origin
) -> None:
    """The relay is configured anew and started again, as an admin would do it."""
    actor = origin.create_actor("alice")
    async with RecordingBackend.open() as backend:
        async with _open(world, dsn, "gotosocial", backend=backend) as (scene, strict):
            note, activity = await _hold(scene, origin, actor)
            _inside(scene).advance(LONG_AFTER)
            stored = await _release(scene, activity)

            assert (stored.state, stored.reason) == (State.DEAD, "too_old")
            assert not strict.posts
            assert 'outcome="dead"} 1.0' in await scene.relay.metrics()
            told = await show(scene.database, stored.id)
            assert told["replayable"]
            assert "backend.token" in told["what to do"]
            assert [row["id"] for row in await list_in_state(scene.database, State.DEAD)] == [stored.id]

        async with _open(world, dsn, "gotosocial", backend=backend, backend_token=TOKEN) as (scene, strict):
            _inside(scene).advance(LONG_AFTER)
            now = _inside(scene).clock.now()
            assert await replay_all(scene.database, by="ada", now=now) == {"replayed": 1, "erased": 0}

            stored = await scene.wait_for_state(activity, State.FORWARDED)

            assert stored.reason == "resolved"
            assert strict.posts == {note["id"]: ["fetched"]}


async def test_what_waited_for_a_backend_that_was_down_goes_another_way_too(
    world: World, dsn: str, origin: Origin
) -> None:
    async with _open(world, dsn, "mastodon", backend_token=TOKEN) as (scene, strict):
        actor = origin.create_actor("alice")
        picture = origin.serve_media("/p.png", encode(marker(61, width=96, height=96), "PNG"))
        activity = shapes.mastodon_create(actor, [picture])
        scene.backend.script(503)

        assert (await scene.deliver(actor, activity)).status == 202
        await _wait_for_retry(scene, activity)
        _inside(scene).advance(LONG_AFTER)

        assert (await scene.wait_for_state(activity, State.FORWARDED)).reason == "resolved"
        assert list(strict.posts.values()) == [["fetched"]]


async def test_a_deletion_that_finds_no_way_is_a_dead_letter(world: World, dsn: str, origin: Origin) -> None:
    async with _open(world, dsn, "mastodon", backend_token=TOKEN) as (scene, strict):
        actor = origin.create_actor("alice")
        deleted = shapes.delete(actor, actor.new_id())
        scene.backend.script(0, 503)

        assert (await scene.deliver(actor, deleted)).status == 202
        await _wait_for_retry(scene, deleted)
        _inside(scene).advance(LONG_AFTER)
        stored = await scene.wait_for_state(deleted, State.DEAD, State.FORWARDED)

        assert (stored.state, stored.reason) == (State.DEAD, "too_old")
        assert not strict.posts
        async with scene.database.connection() as conn:
            assert await delivery_lists.has_dead(conn, stored.chain_key)
