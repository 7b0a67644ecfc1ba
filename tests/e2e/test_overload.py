"""Floods, full queues and a database that is away: refused with the right word, never let past."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import httpx
import pytest

from db.embedded import open_postgres
from db.pool import open_database
from relay.lifecycle import State
from tests.e2e.inside import InsideRelay, open_inside
from tests.e2e.process import open_relay_process, scratch_directory
from tests.e2e.world import Scene, wait_until
from tests.fediverse import RecordingBackend, shapes
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.world import World
    from tests.fediverse import Actor, Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def _post(actor: Actor, seed: int = 91) -> shapes.Document:
    data = encode(marker(seed, width=64, height=64), "PNG")
    return shapes.mastodon_create(actor, [actor.origin.serve_media(f"/{seed}.png", data)])


async def test_a_domain_that_floods_is_told_to_slow_down_and_others_are_not(
    world: World, dsn: str, origin: Origin
) -> None:
    async with open_inside(
        world, dsn=dsn, limits_per_domain_burst="5", limits_per_domain_per_second="1"
    ) as scene:
        flooder, neighbour = origin.create_actor("flooder"), origin.create_actor("neighbour")
        other = world.take_origin().create_actor("other")
        answers = [await scene.deliver(flooder, _post(flooder)) for _ in range(12)]

        assert [answer.status for answer in answers[:5]] == [202] * 5
        assert answers[-1].status == 429
        assert int(answers[-1].header("Retry-After") or 0) > 0
        assert (await scene.deliver(neighbour, _post(neighbour))).status == 429
        assert (await scene.deliver(other, _post(other))).status == 202
        cast("InsideRelay", scene.relay).advance(timedelta(seconds=10))
        assert (await scene.deliver(neighbour, _post(neighbour))).status == 202


async def test_when_too_much_waits_senders_are_asked_to_come_back(
    world: World, dsn: str, origin: Origin
) -> None:
    async with open_inside(world, dsn=dsn, hold_max_pending="3") as scene:
        actor = origin.create_actor("alice")
        scene.backend.pause()
        waiting = [_post(actor) for _ in range(3)]
        for activity in waiting:
            assert (await scene.deliver(actor, activity)).status == 202

        refused = _post(actor)
        answer = await scene.deliver(actor, refused)

        assert answer.status == 503
        assert int(answer.header("Retry-After") or 0) > 0
        scene.backend.resume()
        for activity in waiting:
            await scene.wait_for_state(activity)
        assert (await scene.deliver(actor, refused)).status == 202
        await scene.wait_for_backend(refused)


async def test_without_its_database_the_relay_accepts_nothing_and_lets_nothing_past(
    world: World, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(scratch_directory())
        postgres = AsyncExitStack()
        dsn = await postgres.enter_async_context(open_postgres(directory / "other"))
        try:
            backend = await stack.enter_async_context(RecordingBackend.open())
            relay = await stack.enter_async_context(
                open_relay_process(backend_url=backend.url, ports=world.ports, database_url=dsn)
            )
            database = await stack.enter_async_context(open_database(dsn, min_size=0, max_size=2))
            scene = Scene(world=world, backend=backend, relay=relay, database=database)
            before = _post(actor, 92)
            assert (await scene.deliver(actor, before)).status == 202
            await scene.wait_for_backend(before)

            await postgres.aclose()
            lost = [_post(actor, 93), shapes.create(actor, shapes.mastodon_note(actor))]
            for activity in lost:
                answer = await scene.deliver(actor, activity)
                assert answer.status == 503
                assert int(answer.header("Retry-After") or 0) > 0
                assert not scene.has_reached_backend(activity)
            assert (await _ready(scene)).status_code == 503
            stranger = world.take_origin().create_actor("stranger")
            assert (await scene.deliver(stranger, shapes.like(stranger, actor.id))).status == 503

            assert await postgres.enter_async_context(open_postgres(directory / "other")) == dsn

            async def is_ready() -> bool | None:
                return (await _ready(scene)).is_success or None

            await wait_until(is_ready, "ready again")
            assert (await scene.deliver(actor, lost[0])).status == 202
            await scene.wait_for_backend(lost[0])
            assert (await scene.wait_for_state(lost[0])).state is State.FORWARDED
        finally:
            await stack.aclose()
            await postgres.aclose()


async def _ready(scene: Scene) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.get(f"{scene.relay.admin}/readyz", timeout=20)
