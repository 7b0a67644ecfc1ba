"""What becomes of deliveries when the backend is away, slow or refuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, cast

import pytest

from db import delivery_lists
from relay.lifecycle import GIVE_UP_AFTER, RETRY_DELAYS, State
from tests.e2e.inside import InsideRelay, open_inside
from tests.e2e.process import free_ports
from tests.e2e.world import wait_for_bodies, wait_until
from tests.fediverse import RecordingBackend, shapes
from tests.fediverse.backend import ScriptedAnswer
from tests.fediverse.wire import MAX_LINE_BYTES, read_request
from tests.images import encode, marker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.delivery_rows import StoredDelivery
    from tests.e2e.world import Scene, World
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def _inside(scene: Scene) -> InsideRelay:
    return cast("InsideRelay", scene.relay)


def _picture(origin: Origin) -> str:
    return origin.serve_media("/p.png", encode(marker(51, width=128, height=128), "PNG"))


async def _wait_for_retry(scene: Scene, activity: object, retries: int) -> StoredDelivery:
    async def find() -> StoredDelivery | None:
        stored = await scene.wait_for_state(activity, *State)
        return stored if stored.state is State.DECIDED and stored.retries == retries else None

    return await wait_until(find, f"retry {retries}")


_TROUBLES = (500, 503, 429, 408, 302, 0)
_REFUSALS = (400, 403, 404, 410, 413, 422)


async def test_a_backend_in_trouble_is_asked_again_until_it_takes_the_delivery(
    world: World, dsn: str, origin: Origin
) -> None:
    async with open_inside(world, dsn=dsn) as scene:
        actor = origin.create_actor("alice")
        picture = _picture(origin)
        for status in _TROUBLES:
            activity = shapes.mastodon_create(actor, [picture])
            scene.backend.script(status, status)

            assert (await scene.deliver(actor, activity)).status == 202
            for retry, delay in enumerate(RETRY_DELAYS[:2], start=1):
                stored = await _wait_for_retry(scene, activity, retry)
                assert str(status or "broken") in (stored.reason or "")
                _inside(scene).advance(delay)
            stored = await scene.wait_for_state(activity)

            assert stored.state is State.FORWARDED
            assert scene.backend.bodies.count(json.dumps(activity).encode()) == 3


async def test_a_delivery_that_the_backend_calls_stale_becomes_a_dead_letter_with_its_bytes(
    world: World, dsn: str, origin: Origin
) -> None:
    async with open_inside(world, dsn=dsn) as scene:
        actor = origin.create_actor("alice")
        activity = shapes.mastodon_create(actor, [_picture(origin)])
        scene.backend.script(401)

        assert (await scene.deliver(actor, activity)).status == 202
        stored = await scene.wait_for_state(activity)

        assert (stored.state, stored.reason) == (State.DEAD, "backend_answered_401")
        assert stored.body == json.dumps(activity).encode()
        async with scene.database.connection() as conn:
            dead = await delivery_lists.list_deliveries(conn, State.DEAD, limit=10)
        assert [one.id for one in dead] == [stored.id]
        assert 'outcome="dead"} 1.0' in await scene.relay.metrics()


async def test_a_refusal_is_the_backends_own_decision_and_is_not_repeated(
    world: World, dsn: str, origin: Origin
) -> None:
    async with open_inside(world, dsn=dsn) as scene:
        actor = origin.create_actor("alice")
        picture = _picture(origin)
        for status in _REFUSALS:
            activity = shapes.mastodon_create(actor, [picture])
            scene.backend.script(status)

            assert (await scene.deliver(actor, activity)).status == 202
            stored = await scene.wait_for_state(activity)

            assert (stored.state, stored.reason) == (State.FORWARDED, f"backend_answered_{status}")
        assert len(scene.backend.requests) == len(_REFUSALS)


async def test_a_backend_that_says_nothing_in_time_is_asked_again(
    world: World, dsn: str, origin: Origin
) -> None:
    async with open_inside(world, dsn=dsn, backend_timeout_s="0.3") as scene:
        actor = origin.create_actor("alice")
        activity = shapes.mastodon_create(actor, [_picture(origin)])
        scene.backend.pause()

        assert (await scene.deliver(actor, activity)).status == 202
        stored = await _wait_for_retry(scene, activity, 1)
        assert stored.reason == "backend_timeout"
        scene.backend.resume()
        _inside(scene).advance(RETRY_DELAYS[0])

        assert (await scene.wait_for_state(activity)).state is State.FORWARDED


async def test_after_three_days_of_trying_a_delivery_is_given_up_visibly(
    world: World, dsn: str, origin: Origin
) -> None:
    """One that its author signed inside, so that it does not grow too old before."""
    async with open_inside(world, dsn=dsn, backend_software="mastodon") as scene:
        actor = origin.create_actor("alice")
        signature = {"type": "RsaSignature2017", "signatureValue": "AA=="}
        activity = {**shapes.mastodon_create(actor, [_picture(origin)]), "signature": signature}
        scene.backend.usual = ScriptedAnswer(status=500)

        assert (await scene.deliver(actor, activity)).status == 202
        await _wait_for_retry(scene, activity, 1)
        _inside(scene).advance(GIVE_UP_AFTER)
        stored = await scene.wait_for_state(activity)

        assert (stored.state, stored.reason) == (State.DEAD, "backend_answered_500")
        assert stored.body


async def test_while_the_backend_is_down_senders_get_202_and_the_order_is_kept(
    world: World, dsn: str, origin: Origin
) -> None:
    (port,) = free_ports(1)
    backend = RecordingBackend(port)
    async with open_inside(world, dsn=dsn, backend=backend) as scene:
        actor = origin.create_actor("alice")
        note = shapes.mastodon_note(actor, [_picture(origin)])
        plain = shapes.mastodon_note(actor)
        sent = [
            shapes.create(actor, note),
            *(shapes.update(actor, {**note, "content": f"<p>{number}</p>"}) for number in range(3)),
            shapes.create(actor, plain),
            shapes.update(actor, plain),
            shapes.delete(actor, str(plain["id"])),
        ]
        like = shapes.like(actor, "https://instance.example/notes/1")

        for activity in (*sent, like):
            assert (await scene.deliver(actor, activity)).status == 202
        await _wait_for_retry(scene, sent[0], 1)
        await _wait_for_retry(scene, like, 1)
        async with _serve(backend):
            _inside(scene).advance(RETRY_DELAYS[0])
            expected = [json.dumps(sent[number]).encode() for number in (0, 1, 2, 3, 6)]
            await wait_for_bodies(backend, *expected, json.dumps(like).encode())

        of_note = [body for body in backend.bodies if body in expected[:4]]
        assert of_note == expected[:4]
        # Its author took the other note back before the backend ever saw it.
        assert json.dumps(sent[5]).encode() not in backend.bodies


@contextlib.asynccontextmanager
async def _serve(backend: RecordingBackend) -> AsyncIterator[None]:
    """Open a backend on the port that it was given."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while (request := await read_request(reader)) is not None:
                if not await backend._answer(request, writer):
                    break
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", backend.port, limit=MAX_LINE_BYTES):
        yield
