"""The simulated world keeps its own promises; the relay's tests lean on them."""

from __future__ import annotations

import asyncio
import json

import pytest

from signatures.http import INBOX_FRESHNESS, Scheme, find_signature, verify_request
from signatures.message import RequestMessage
from tests.fediverse import Fediverse, FrozenClock, RecordingBackend, send, shapes
from tests.fediverse.backend import ScriptedAnswer


@pytest.mark.parametrize("scheme", list(Scheme))
async def test_a_delivery_arrives_byte_for_byte_and_verifies(scheme: Scheme) -> None:
    clock = FrozenClock()
    async with Fediverse(clock) as world, RecordingBackend.open() as backend:
        alice = (await world.open_origin()).create_actor("alice")
        activity = shapes.mastodon_create(alice, ["https://media.example/a.png"])
        answer = await world.deliver(alice, activity, f"{backend.url}/inbox?x=%2f", scheme=scheme)
        (request,) = await backend.wait_for(1)
    assert answer.status == 202
    assert (request.method, request.target) == ("POST", "/inbox?x=%2f")
    assert json.loads(request.body) == activity
    message = RequestMessage(
        method=request.method,
        scheme="http",
        authority=f"127.0.0.1:{backend.port}",
        target=request.target,
        headers=request.headers,
        body=request.body,
    )
    signature = find_signature(message)
    assert signature is not None
    verify_request(message, signature, key=alice.rsa.public, now=clock.now(), freshness=INBOX_FRESHNESS)


async def test_a_backend_answers_as_scripted_and_then_as_usual() -> None:
    async with Fediverse() as world, RecordingBackend.open() as backend:
        alice = (await world.open_origin()).create_actor("alice")
        backend.script(500, ScriptedAnswer(status=401, body=b"who?", headers=(("X-A", "b"),)))
        answers = [
            await world.deliver(alice, shapes.like(alice, "x"), f"{backend.url}/inbox") for _ in range(3)
        ]
        assert [answer.status for answer in answers] == [500, 401, 202]
        assert (answers[1].body, answers[1].header("x-a")) == (b"who?", "b")


async def test_a_paused_backend_has_the_request_and_answers_on_resume() -> None:
    async with Fediverse() as world, RecordingBackend.open() as backend, asyncio.TaskGroup() as group:
        alice = (await world.open_origin()).create_actor("alice")
        backend.pause()
        task = group.create_task(world.deliver(alice, shapes.like(alice, "x"), f"{backend.url}/inbox"))
        await backend.wait_for(1)
        assert not task.done()
        backend.resume()
        assert (await task).status == 202


async def test_a_chunked_body_is_read_whole() -> None:
    message = RequestMessage(
        method="POST",
        scheme="http",
        authority="instance.example",
        target="/inbox",
        headers=(("Transfer-Encoding", "chunked"),),
        body=b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    )
    async with RecordingBackend.open() as backend:
        await send(message, host="127.0.0.1", port=backend.port)
        assert backend.bodies == [b"hello world"]


async def test_every_shape_names_its_actor_and_has_an_id_of_its_own() -> None:
    async with Fediverse() as world:
        origin = await world.open_origin()
        alice, group = origin.create_actor("alice"), origin.create_actor("group")
        note = shapes.mastodon_note(alice, ["m"])
        activities = [
            shapes.create(alice, note),
            shapes.update(alice, note),
            shapes.delete(alice, str(note["id"])),
            shapes.announce(alice, note["id"]),
            shapes.undo(alice, shapes.like(alice, "x")),
            shapes.like(alice, "x"),
            shapes.follow(alice, "x"),
            shapes.lemmy_announce(group, alice, "m"),
            shapes.piefed_announce(group, alice, "m"),
            shapes.takahe_create(alice, "m"),
            shapes.gotosocial_create(alice, "m"),
            shapes.misskey_create(alice, "m"),
            shapes.peertube_create(alice, thumbnail="t", storyboard="s", video="v", playlist="p"),
            shapes.actor_update(alice, icon="i", image="h"),
        ]
    assert {activity["actor"] for activity in activities} == {alice.id, group.id}
    assert len({activity["id"] for activity in activities}) == len(activities)
