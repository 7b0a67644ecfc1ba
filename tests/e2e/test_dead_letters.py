"""What was given up can be brought back, and goes through everything again; nothing gets out on the way."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, cast

import pytest

from db.cases import CaseState
from relay.cli.cases import rule
from relay.cli.deliveries import DeliveryError, replay, show
from relay.lifecycle import GIVE_UP_AFTER, State
from scanner.canary import draw_canary
from tests.e2e.inside import InsideRelay, open_inside
from tests.e2e.world import wait_until
from tests.fediverse import shapes

if TYPE_CHECKING:
    from db.delivery_rows import StoredDelivery
    from tests.e2e.world import Scene, World
    from tests.fediverse import Actor, Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def _inside(scene: Scene) -> InsideRelay:
    return cast("InsideRelay", scene.relay)


async def _give_up(scene: Scene, actor: Actor, activity: shapes.Document) -> StoredDelivery:
    """Deliver what is held, and let three days go by without a ruling."""
    assert (await scene.deliver(actor, activity)).status == 202
    assert (await scene.wait_for_state(activity)).state is State.HELD
    _inside(scene).advance(GIVE_UP_AFTER)
    await _inside(scene).parts.workers._end_holds()
    return await scene.wait_for_state(activity, State.DEAD)


async def _wait_for_hold(scene: Scene, activity: shapes.Document, *, after: StoredDelivery) -> StoredDelivery:
    async def find() -> StoredDelivery | None:
        stored = await scene.wait_for_state(activity, State.HELD)
        return stored if stored.updated_at > after.updated_at else None

    return await wait_until(find, "another hold")


async def test_a_replayed_letter_is_examined_again_and_asks_for_its_ruling_again(
    world: World, dsn: str, origin: Origin
) -> None:
    async with open_inside(world, dsn=dsn) as scene:
        actor = origin.create_actor("alice")
        picture = origin.serve_media("/p.png", draw_canary())
        activity = shapes.mastodon_create(actor, [picture])
        dead = await _give_up(scene, actor, activity)
        assert dead.reason == "never_ruled"
        assert [case.state for case in await scene.cases_of(dead)] == [CaseState.EXPIRED]
        assert (await show(scene.database, dead.id))["replayable"]

        now = _inside(scene).clock.now()
        await replay(scene.database, dead.id, by="ada", now=now)
        held = await _wait_for_hold(scene, activity, after=dead)

        (case,) = await scene.cases_of(held)
        assert case.state is CaseState.OPEN
        assert not scene.has_reached_backend(activity)
        # Its three days begin anew.
        await _inside(scene).parts.workers._end_holds()
        assert (await scene.wait_for_state(activity)).state is State.HELD
        acting = _inside(scene).parts.workers._tools.acting
        await rule(
            scene.database,
            case.id,
            to=CaseState.UPHELD,
            ruled_by="ada",
            note="",
            now=_inside(scene).clock.now(),
            acting=acting,
        )
        assert (await scene.wait_for_state(activity)).state is State.DROPPED
        assert not scene.has_reached_backend(activity)


async def test_a_letter_in_which_withheld_bytes_lay_cannot_come_back_and_says_so(
    world: World, dsn: str, origin: Origin
) -> None:
    async with open_inside(world, dsn=dsn) as scene:
        actor = origin.create_actor("alice")
        inline = "data:image/png;base64," + base64.b64encode(draw_canary()).decode()
        dead = await _give_up(scene, actor, shapes.mastodon_create(actor, [inline]))

        assert dead.body == b""
        with pytest.raises(DeliveryError, match="bytes were erased"):
            await replay(scene.database, dead.id, by="ada", now=_inside(scene).clock.now())
        assert "cannot be replayed" in (await show(scene.database, dead.id))["what to do"]


async def test_a_letter_whose_author_deleted_the_post_does_not_come_back(
    world: World, dsn: str, origin: Origin
) -> None:
    async with open_inside(world, dsn=dsn) as scene:
        actor = origin.create_actor("alice")
        note = shapes.mastodon_note(actor, [origin.serve_media("/p.png", draw_canary())])
        activity = shapes.create(actor, note)
        dead = await _give_up(scene, actor, activity)
        deleted = shapes.delete(actor, str(note["id"]))
        message = actor.sign_and_build(deleted, scene.relay.inbox, now=_inside(scene).clock.now())

        assert (await scene.send(message)).status == 202
        assert (await scene.wait_for_state(deleted)).state is State.FORWARDED

        assert (await scene.wait_for_state(activity)).state is State.DROPPED
        with pytest.raises(DeliveryError, match="no dead letter"):
            await replay(scene.database, dead.id, by="ada", now=_inside(scene).clock.now())
        assert not scene.has_reached_backend(activity)
