"""Behind nginx, signatures over path, query and host still verify."""

from __future__ import annotations

import contextlib

import pytest

from tests.deploy.nginx import SITES, SPELLINGS, open_nginx
from tests.e2e.inside import open_inside
from tests.e2e.world import World
from tests.fediverse import send, shapes
from tests.images import encode, marker

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def test_signed_deliveries_pass_through_nginx_and_the_relay(nginx_program: str, dsn: str) -> None:
    """The relay itself: signatures that cover path and host still verify behind nginx."""
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(World.open())
        scene = await stack.enter_async_context(open_inside(world, dsn=dsn))
        nginx = await stack.enter_async_context(
            open_nginx(
                nginx_program,
                relay_port=scene.relay.port,
                backend_url=scene.backend.url,
                site=SITES["one_location"],
            )
        )
        origin = scene.take_origin()
        actor = origin.create_actor("alice")
        picture = origin.serve_media("/picture.png", encode(marker(31), "PNG"))
        for activity in (
            shapes.like(actor, "https://social.example/notes/1"),
            shapes.mastodon_create(actor, [picture]),
        ):
            message = world.fediverse.sign_and_build(
                actor, activity, f"http://127.0.0.1:{nginx.port}/users/bob/inbox?x=%2F"
            )
            assert (await send(message, host="127.0.0.1", port=nginx.port)).status == 202
            received = await scene.wait_for_backend(activity)
            assert (received.target, received.body) == ("/users/bob/inbox?x=%2F", message.body)
        before = len(scene.backend.requests)
        for spelling in SPELLINGS:
            message = world.fediverse.sign_and_build(
                actor,
                shapes.like(actor, "https://social.example/notes/2"),
                f"http://127.0.0.1:{nginx.port}{spelling}",
            )
            assert (await send(message, host="127.0.0.1", port=nginx.port)).status in {400, 404}
        assert len(scene.backend.requests) == before
