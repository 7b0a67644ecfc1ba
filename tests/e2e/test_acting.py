"""What the backend has of known or upheld media is acted upon there, once it has it and never for less."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db.cases import CaseState
from db.errands import NOT_NEEDED, ErrandKind, ErrandState
from db.pool import open_database
from relay.lifecycle import State
from scanner.canary import draw_canary
from tests.e2e.acting import list_errands, near_canary, rule_inside, settings_of, wait_for_errand
from tests.e2e.inside import open_inside
from tests.e2e.process import open_relay_process
from tests.e2e.world import Scene
from tests.fediverse import RecordingBackend, shapes
from tests.fediverse.servers import LemmyServer, MastodonServer, Post
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.world import World
    from tests.fediverse import Actor, Origin
    from tests.fediverse.servers import ApiServer

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

# The text goes on while its media are withheld at a door of ours.
GUARDED = {"backend_enforces_media": "true"}


def post(server: ApiServer, actor: Actor, url: str, *, number: int = 77) -> shapes.Document:
    """An activity whose post the server gets from its origin when it is asked for it."""
    activity = shapes.mastodon_create(actor, [url])
    note = activity["object"]
    assert isinstance(note, dict)
    server.knows_elsewhere(Post(uri=str(note["id"]), author=actor.id, number=number, author_number=5))
    return activity


async def test_a_forwarded_post_with_known_media_is_reported_once(
    world: World, dsn: str, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    url = origin.serve_media("/known.png", draw_canary())
    async with MastodonServer.open() as server:
        activity = post(server, actor, url)
        async with open_inside(world, dsn=dsn, **settings_of(server), **GUARDED) as scene:
            await scene.deliver(actor, activity)
            stored = await scene.wait_for_state(activity)
            done = await wait_for_errand(scene, ErrandKind.REPORT, ErrandState.DONE)
            (case,) = await scene.cases_of(stored)
            # The same delivery again, as senders do.
            assert (await scene.deliver(actor, activity)).status == 202

            assert stored.state is State.FORWARDED
            assert done.case_id == case.id
            assert len(await list_errands(scene)) == 1
            assert [(one.post, one.text) for one in server.reports] == [
                (77, f"Breakwater withheld media of this post. See case {case.id}.")
            ]


async def test_where_the_admin_wants_it_a_known_post_is_removed(
    world: World, dsn: str, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    url = origin.serve_media("/known.png", draw_canary())
    async with LemmyServer.open() as server:
        activity = post(server, actor, url)
        async with open_inside(world, dsn=dsn, **settings_of(server, act="remove"), **GUARDED) as scene:
            await scene.deliver(actor, activity)
            done = await wait_for_errand(scene, ErrandKind.REMOVE, ErrandState.DONE, ErrandState.FAILED)
            assert done.state is ErrandState.DONE, done.reason
            assert [one.post for one in server.removed] == [77]
            assert server.reports == []


async def test_what_is_held_and_then_dropped_is_never_acted_upon(
    world: World, dsn: str, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    url = origin.serve_media("/known.png", draw_canary())
    async with MastodonServer.open() as server:
        activity = post(server, actor, url)
        async with open_inside(world, dsn=dsn, **settings_of(server)) as scene:
            await scene.deliver(actor, activity)
            stored = await scene.wait_for_state(activity)
            assert stored.state is State.HELD
            (case,) = await scene.cases_of(stored)
            said = await rule_inside(scene, case.id, CaseState.UPHELD)
            assert said == "its delivery is dropped"
            scene.relay.advance(timedelta(minutes=10))
            done = await wait_for_errand(scene, ErrandKind.REPORT, ErrandState.DONE)
            assert done.reason == NOT_NEEDED
            assert server.asked == []


async def test_a_post_that_was_forwarded_is_reported_when_its_edit_brings_known_media(
    world: World, dsn: str, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    url = origin.serve_media("/known.png", draw_canary())
    async with MastodonServer.open() as server:
        first = shapes.mastodon_create(actor, [origin.serve_media("/p.png", encode(marker(401), "PNG"))])
        note = first["object"]
        assert isinstance(note, dict)
        edited = shapes.mastodon_note(actor, [url])
        edited["id"] = note["id"]
        update = {**shapes.create(actor, edited), "type": "Update", "id": f"{note['id']}#updates/1"}
        server.has(Post(uri=str(note["id"]), author=actor.id, number=77, author_number=5))
        async with open_inside(world, dsn=dsn, **settings_of(server)) as scene:
            await scene.deliver(actor, first)
            assert (await scene.wait_for_state(first)).state is State.FORWARDED
            await scene.deliver(actor, update)
            assert (await scene.wait_for_state(update)).state is State.HELD
            await wait_for_errand(scene, ErrandKind.REPORT, ErrandState.DONE)
            assert [one.post for one in server.reports] == [77]


async def test_a_near_match_is_acted_upon_only_on_a_persons_word(
    world: World, dsn: str, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    url = origin.serve_media("/near.png", near_canary())
    async with MastodonServer.open() as server:
        activity = post(server, actor, url)
        async with open_inside(world, dsn=dsn, **settings_of(server), **GUARDED) as scene:
            await scene.deliver(actor, activity)
            stored = await scene.wait_for_state(activity)
            assert stored.state is State.FORWARDED
            assert await list_errands(scene) == ()

            (case,) = await scene.cases_of(stored)
            assert case.basis == "near_hash"
            said = await rule_inside(scene, case.id, CaseState.UPHELD)
            assert "to be done on your server: 1" in said
            await wait_for_errand(scene, ErrandKind.REPORT, ErrandState.DONE)
            assert [one.post for one in server.reports] == [77]


async def test_nobody_gets_anothers_post_reported_by_showing_known_media_with_it(
    world: World, dsn: str, origin: Origin
) -> None:
    victim = world.take_origin().create_actor("bob")
    attacker = origin.create_actor("mallory")
    url = origin.serve_media("/known.png", draw_canary())
    async with LemmyServer.open() as server:
        theirs = shapes.mastodon_note(victim, [])
        server.knows_elsewhere(Post(uri=str(theirs["id"]), author=victim.id, number=1, author_number=2))
        activity = shapes.mastodon_create(attacker, [url])
        note = activity["object"]
        assert isinstance(note, dict)
        note["id"] = theirs["id"]
        async with open_inside(world, dsn=dsn, **settings_of(server, act="remove"), **GUARDED) as scene:
            await scene.deliver(attacker, activity)
            stored = await scene.wait_for_state(activity)
            assert len(await scene.cases_of(stored)) == 1
            assert await list_errands(scene) == ()


@pytest.mark.timeout(180)
async def test_without_a_token_the_person_is_told_where_to_act_by_hand(world: World) -> None:
    origin = world.take_origin()
    actor = origin.create_actor("alice")
    activity = shapes.mastodon_create(actor, [origin.serve_media("/known.png", draw_canary())])
    settings = {**GUARDED, "policy_spam_act": "report"}
    async with (
        RecordingBackend.open() as backend,
        open_relay_process(backend_url=backend.url, ports=world.ports, **settings) as relay,
        open_database(relay.dsn, min_size=1, max_size=2) as database,
    ):
        scene = Scene(world=world, backend=backend, relay=relay, database=database)
        await scene.deliver(actor, activity)
        stored = await scene.wait_for_state(activity)
        (case,) = await scene.cases_of(stored)
        place = ("--data-dir", str(relay.data_dir))
        status, listed = await relay.run_command("errands", "list", *place)
        assert (status, listed.strip()) == (0, "None.")
        status, said = await relay.run_command("cases", "uphold", str(case.id), "--by", "mo", *place)
        assert status == 0, said
        words = " ".join(said.split())
        assert "no backend.token lets the relay act" in words
        assert f"breakwater cases posts {case.id}" in words
        status, named = await relay.run_command("cases", "posts", str(case.id), "--json", *place)
        note = activity["object"]
        assert isinstance(note, dict)
        assert status == 0, named
        assert json.loads(named)[0]["post"] == note["id"]
