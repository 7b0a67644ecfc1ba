"""An origin that serves something else each time: what is decided is bound to bytes, never to a URL."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from db import verdicts
from relay.lifecycle import State
from scanner.canary import draw_canary
from tests.fediverse import shapes
from tests.fediverse.behaviours import in_turn, serve
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.world import Scene
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def test_every_delivery_is_judged_on_the_bytes_that_were_fetched_for_it(
    scene: Scene, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    harmless = [encode(marker(seed), "PNG") for seed in (21, 22)]
    url = origin.on("/picture.png", in_turn(serve(harmless[0]), serve(draw_canary()), serve(harmless[1])))
    states = []

    for _ in range(3):
        activity = shapes.mastodon_create(actor, [url])
        assert (await scene.deliver(actor, activity)).status == 202
        states.append((await scene.wait_for_state(activity)).state)
        assert scene.has_reached_backend(activity) is (states[-1] is State.FORWARDED)

    assert states == [State.FORWARDED, State.HELD, State.FORWARDED]
    assert origin.count("/picture.png") == 3
    for data in harmless:
        await scene.wait_for_attestation(data)


async def test_a_url_named_twice_in_one_activity_is_fetched_once_and_judged_once(
    scene: Scene, origin: Origin
) -> None:
    """Else the look at the one and the look at the other could see different bytes."""
    actor = origin.create_actor("alice")
    url = origin.on("/picture.png", in_turn(serve(draw_canary()), serve(encode(marker(23), "PNG"))))
    note = shapes.mastodon_note(actor, [url, url], emoji=url, content=f'<p><img src="{url}"></p>')
    activity = shapes.create(actor, note)

    await scene.deliver(actor, activity)

    assert (await scene.wait_for_state(activity)).state is State.HELD
    assert origin.count("/picture.png") == 1


async def test_the_same_bytes_under_another_url_need_no_second_scan(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    data = encode(marker(24), "PNG")
    scanned = []
    for path in ("/one.png", "/two.png"):
        activity = shapes.mastodon_create(actor, [origin.serve_media(path, data)])
        await scene.deliver(actor, activity)
        await scene.wait_for_backend(activity)
        async with scene.database.connection() as conn:
            verdict = await verdicts.find_latest(conn, hashlib.sha256(data).digest())
        assert verdict is not None
        scanned.append(verdict.scanned_at)

    assert scanned[0] == scanned[1]
