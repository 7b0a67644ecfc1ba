"""Deliveries without media: the backend's own answer comes back."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.lifecycle import State
from tests.fediverse import shapes
from tests.fediverse.backend import ScriptedAnswer
from tests.fediverse.behaviours import refuse
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.world import Scene
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

_OBJECT = "https://instance.example/users/someone"


@pytest.mark.parametrize("status", [200, 202, 204, 400, 403, 422, 500])
async def test_likes_and_follows_get_the_backends_status_headers_and_body(
    status: int, scene: Scene, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    body = b"" if status == 204 else f"the backend says {status}".encode()
    headers = (
        ("Content-Type", "text/weird; charset=utf-8"),
        ("X-Backend", "one"),
        ("X-Backend", "two"),
        ("Set-Cookie", "a=b"),
    )
    for activity in (shapes.like(actor, _OBJECT), shapes.follow(actor, _OBJECT)):
        scene.backend.script(ScriptedAnswer(status=status, body=body, headers=headers))

        answer = await scene.deliver(actor, activity)

        assert (answer.status, answer.body) == (status, body)
        assert [pair for pair in answer.headers if pair[0] in {"X-Backend", "Set-Cookie"}] == list(
            headers[1:]
        )
        assert body == b"" or answer.header("Content-Type") == "text/weird; charset=utf-8"
        assert scene.has_reached_backend(activity)


async def test_a_compressed_answer_comes_back_as_it_was(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    packed = gzip.compress(b"taken", mtime=0)
    headers = (("Content-Encoding", "gzip"), ("Content-Type", "text/plain"))
    scene.backend.script(ScriptedAnswer(status=200, body=packed, headers=headers))

    answer = await scene.deliver(actor, shapes.like(actor, _OBJECT))

    assert (answer.header("Content-Encoding"), answer.body) == ("gzip", packed)


async def test_a_redirect_of_the_backend_is_the_senders_to_follow(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    elsewhere = origin.serve_media("/elsewhere", b"")
    scene.backend.script(ScriptedAnswer(status=307, headers=(("Location", elsewhere),)))

    answer = await scene.deliver(actor, shapes.like(actor, _OBJECT))

    assert (answer.status, answer.header("Location")) == (307, elsewhere)
    assert origin.count("/elsewhere") == 0


async def test_a_vanished_actors_delete_is_the_backends_to_answer(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    deleted = shapes.delete(actor, actor.id, tombstone=False)
    message = scene.sign(actor, deleted)
    actor.vanish()
    scene.backend.script(ScriptedAnswer(status=202, body=b"never knew them"))

    answer = await scene.send(message)

    assert (answer.status, answer.body) == (202, b"never knew them")
    assert scene.has_reached_backend(deleted)


async def test_anything_else_by_a_vanished_actor_is_refused(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("alice")
    picture = origin.serve_media("/p.png", encode(marker(61), "PNG"))
    actor.vanish()
    for activity in (shapes.like(actor, _OBJECT), shapes.mastodon_create(actor, [picture])):
        assert (await scene.deliver(actor, activity)).status == 401
        assert not scene.has_reached_backend(activity)


async def test_a_sender_whose_origin_is_down_is_believed_only_when_its_key_is_there(
    scene: Scene, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    document = actor.serve_document()
    origin.on("/users/alice", refuse(503))
    activity = shapes.like(actor, _OBJECT)

    assert (await scene.deliver(actor, activity)).status == 202
    stored = await scene.wait_for_state(activity, State.RECEIVED)

    assert stored.sender_actor is None
    assert not scene.has_reached_backend(activity)
    origin.on("/users/alice", document)


async def test_a_body_that_waits_for_permission_is_taken_and_the_backend_is_not_kept_waiting(
    scene: Scene, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    activity = shapes.like(actor, _OBJECT)
    message = scene.sign(actor, activity)
    message = replace(message, headers=(*message.headers, ("Expect", "100-continue")))

    await scene.send(message)

    assert (await scene.wait_for_backend(activity)).header("Expect") is None
