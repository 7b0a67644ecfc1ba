"""The relay's own inbox takes four activities from their own senders, and as many as an admin can look at."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from db import audit, peer_outbox, peering, peers
from db.peers import Following, Peer, Tier
from relay.exchange.activities import MAX_ACTIVITY_BYTES
from relay.exchange.receiving import ACTIVITIES_AT_ONCE, MAX_WAITING_OF_GROUP, FollowTools
from relay.tools.fetching import open_guarded_client
from relay.tools.key_directory import KeyDirectory
from relay.tools.key_store import DatabaseKeyStore
from relay.web.actor_inbox import ActorInboxDoor
from tests.e2e.process import free_ports
from tests.fediverse import Fediverse, FrozenClock, send
from tests.fediverse import behaviours as do
from tests.relay.exchange.conftest import POLICY
from tests.relay.exchange.neighbours import Neighbour, build_identity
from tests.relay.line import open_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.pool import Database
    from relay.tools.identity import Identity
    from signatures.message import RequestMessage
    from tests.fediverse import WireResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A door of our own actor, and a world around it."""

    identity: Identity
    database: Database
    world: Fediverse
    clock: FrozenClock
    port: int

    @property
    def inbox(self) -> str:
        return f"{self.identity.actor}/inbox"

    async def open_neighbour(self, number: int = 1, *, host: str = "127.0.0.1") -> Neighbour:
        return Neighbour(await self.world.open_origin(host=host), number=number)

    async def deliver(self, sender: Neighbour, activity: object) -> int:
        return (await sender.deliver(activity, self.inbox, now=self.clock.now())).status

    async def follow(self, sender: Neighbour, *, number: int = 1) -> int:
        return await self.deliver(sender, sender.build("Follow", self.identity.actor, number=number))

    async def send(self, message: RequestMessage) -> WireResponse:
        return await send(message, host="127.0.0.1", port=self.port)

    async def find(self, sender: Neighbour) -> Peer | None:
        async with self.database.connection() as conn:
            return await peers.find_peer(conn, sender.actor)

    async def get(self, sender: Neighbour) -> Peer:
        found = await self.find(sender)
        assert found is not None
        return found

    async def letters(self) -> list[dict[str, Any]]:
        async with self.database.connection() as conn:
            return [json.loads(one.body) for one in await peer_outbox.list_letters(conn)]

    async def audited(self) -> list[tuple[str, str]]:
        async with self.database.connection() as conn:
            entries = await audit.list_entries(conn, limit=99)
        return [(one.actor, one.event) for one in reversed(entries)]

    async def move(self, sender: Neighbour, to: Tier) -> None:
        peer = await self.get(sender)
        async with self.database.connection() as conn:
            await peers.set_tier(conn, peer.actor, expected=peer.tier, to=to, now=self.clock.now())

    async def ask(self, sender: Neighbour, *, follow_id: str = "https://us.example/f/1") -> None:
        """Note that we asked to follow."""
        async with self.database.connection() as conn:
            await peering.set_we_follow(
                conn, sender.actor, to=Following.ASKED, follow_id=follow_id, now=self.clock.now()
            )


@contextlib.asynccontextmanager
async def open_scene(
    database: Database, *, follows_per_hour: int = 60, scheme: str = "http", host: str = ""
) -> AsyncIterator[Scene]:
    clock = FrozenClock()
    (port,) = free_ports(1)
    identity = build_identity(f"{scheme}://{host or f'127.0.0.1:{port}'}/breakwater", 99)
    async with Fediverse(clock) as world, open_guarded_client(POLICY, clock) as client:
        door = ActorInboxDoor(
            tools=FollowTools(
                identity=identity,
                database=database,
                client=client,
                clock=clock,
                follows_per_hour=follows_per_hour,
            ),
            keys=KeyDirectory(source=client, store=DatabaseKeyStore(database=database), clock=clock),
            trusted_proxies=(),
        )
        application = web.Application()
        application.add_routes([web.post("/breakwater/actor/inbox", door.handle)])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield Scene(identity=identity, database=database, world=world, clock=clock, port=port)
        finally:
            await runner.cleanup()


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Scene]:
    async with open_scene(database) as opened:
        yield opened


async def test_a_strangers_follow_waits_for_the_admin(scene: Scene) -> None:
    stranger = await scene.open_neighbour()
    assert await scene.follow(stranger) == 202
    peer = await scene.get(stranger)
    assert (peer.tier, peer.they_follow, peer.we_follow) == (Tier.UNKNOWN, Following.ASKED, Following.NO)
    assert peer.their_follow == f"{stranger.actor}/activities/1"
    assert peer.domain == stranger.domain
    assert await scene.letters() == []
    assert await scene.audited() == [(stranger.actor, "peer_asked")]


async def test_the_same_follow_twice_is_one(scene: Scene) -> None:
    stranger = await scene.open_neighbour()
    assert [await scene.follow(stranger) for _ in range(2)] == [202, 202]
    assert len(await scene.audited()) == 1


@pytest.mark.parametrize("tier", [Tier.PROBATION, Tier.TRUSTED, Tier.ALLIED])
async def test_whoever_is_approved_already_is_accepted_at_once(scene: Scene, tier: Tier) -> None:
    sender = await scene.open_neighbour()
    await scene.follow(sender)
    await scene.move(sender, tier)
    assert await scene.follow(sender, number=2) == 202
    assert (await scene.get(sender)).they_follow is Following.ACCEPTED
    [accept] = await scene.letters()
    assert (accept["type"], accept["actor"]) == ("Accept", scene.identity.actor)
    assert accept["object"]["id"] == f"{sender.actor}/activities/2"


async def test_whoever_is_in_quarantine_is_answered_and_ignored(scene: Scene) -> None:
    sender = await scene.open_neighbour()
    await scene.follow(sender)
    await scene.move(sender, Tier.QUARANTINED)
    before = await scene.get(sender)
    assert await scene.follow(sender, number=2) == 202
    assert await scene.get(sender) == before


async def test_an_accept_of_our_follow_lets_us_read(scene: Scene) -> None:
    sender = await scene.open_neighbour()
    await scene.follow(sender)
    await scene.ask(sender)
    for target in ({"id": "https://us.example/f/1", "type": "Follow"}, "https://us.example/f/1"):
        assert await scene.deliver(sender, sender.build("Accept", target)) == 202
        assert (await scene.get(sender)).we_follow is Following.ACCEPTED
    assert await scene.deliver(sender, sender.build("Reject", "https://us.example/f/1")) == 202
    assert (await scene.get(sender)).we_follow is Following.NO


@pytest.mark.parametrize("verb", ["Accept", "Reject"])
async def test_an_answer_to_another_follow_changes_nothing(scene: Scene, verb: str) -> None:
    sender = await scene.open_neighbour()
    await scene.follow(sender)
    await scene.ask(sender)
    assert await scene.deliver(sender, sender.build(verb, "https://us.example/f/2")) == 202
    assert (await scene.get(sender)).we_follow is Following.ASKED


async def test_nobody_accepts_what_was_never_asked(scene: Scene) -> None:
    sender = await scene.open_neighbour()
    await scene.follow(sender)
    peer = await scene.get(sender)
    assert peer.our_follow == ""
    assert await scene.deliver(sender, sender.build("Accept", f"{scene.identity.actor}")) == 202
    assert (await scene.get(sender)).we_follow is Following.NO


async def test_an_accept_for_another_relay_is_not_taken_from_a_third_one(scene: Scene) -> None:
    sender, third = await scene.open_neighbour(1), await scene.open_neighbour(2)
    for one in (sender, third):
        await scene.follow(one)
    await scene.ask(sender)
    assert await scene.deliver(third, third.build("Accept", "https://us.example/f/1")) == 202
    assert (await scene.get(sender)).we_follow is Following.ASKED
    assert (await scene.get(third)).we_follow is Following.NO


async def test_an_undo_ends_ones_own_follow(scene: Scene) -> None:
    sender = await scene.open_neighbour()
    await scene.follow(sender)
    follow = sender.build("Follow", scene.identity.actor)
    assert await scene.deliver(sender, sender.build("Undo", follow, number=2)) == 202
    peer = await scene.get(sender)
    assert (peer.they_follow, peer.their_follow) == (Following.NO, "")


async def test_an_undo_of_anothers_follow_changes_nothing(scene: Scene) -> None:
    sender, thief = await scene.open_neighbour(1), await scene.open_neighbour(2)
    for one in (sender, thief):
        await scene.follow(one)
    follow = sender.build("Follow", scene.identity.actor)
    assert await scene.deliver(thief, thief.build("Undo", follow, number=2)) == 202
    assert (await scene.get(sender)).they_follow is Following.ASKED
    assert (await scene.get(thief)).they_follow is Following.ASKED


@pytest.mark.parametrize("verb", ["Follow", "Undo", "Accept", "Reject"])
async def test_nobody_speaks_in_anothers_name(scene: Scene, verb: str) -> None:
    victim, thief = await scene.open_neighbour(1), await scene.open_neighbour(2)
    await scene.follow(victim)
    await scene.ask(victim)
    before = await scene.get(victim)
    target = {"Follow": scene.identity.actor, "Undo": before.their_follow}.get(verb, before.our_follow)
    forged = victim.build(verb, target, number=9)
    assert await scene.deliver(thief, forged) == 401
    # Under the victim's key id, too.
    thief.identity = replace(victim.identity, http_key=thief.identity.http_key)
    assert await scene.deliver(thief, forged) == 401
    assert await scene.get(victim) == before


async def test_an_unsigned_follow_is_refused(scene: Scene) -> None:
    stranger = await scene.open_neighbour()
    message = stranger.sign(
        stranger.build("Follow", scene.identity.actor), scene.inbox, now=scene.clock.now()
    )
    bare = replace(message, headers=(("Content-Type", "application/activity+json"),))
    assert (await scene.send(bare)).status == 401
    assert await scene.find(stranger) is None


async def test_a_follow_of_another_time_is_refused(scene: Scene) -> None:
    stranger = await scene.open_neighbour()
    activity = stranger.build("Follow", scene.identity.actor)
    for age in (timedelta(minutes=6), -timedelta(minutes=6)):
        message = stranger.sign(activity, scene.inbox, now=scene.clock.now() - age)
        assert (await scene.send(message)).status == 401


async def test_a_follow_that_was_signed_for_another_relay_is_refused(scene: Scene) -> None:
    stranger = await scene.open_neighbour()
    activity = stranger.build("Follow", scene.identity.actor)
    elsewhere = "http://thief.example/breakwater/actor/inbox"
    message = stranger.sign(activity, elsewhere, now=scene.clock.now())
    assert (await scene.send(message)).status == 401
    assert await scene.find(stranger) is None


async def test_behind_a_proxy_the_public_address_is_what_is_signed(database: Database) -> None:
    async with open_scene(database, scheme="https", host="us.example") as scene:
        stranger = await scene.open_neighbour()
        message = stranger.sign(
            stranger.build("Follow", scene.identity.actor), scene.inbox, now=scene.clock.now()
        )
        assert (await scene.send(message)).status == 202
        assert (await scene.get(stranger)).they_follow is Following.ASKED


async def test_a_follow_of_somebody_else_is_refused(scene: Scene) -> None:
    stranger = await scene.open_neighbour()
    assert await scene.deliver(stranger, stranger.build("Follow", "https://else.example/actor")) == 400
    assert await scene.find(stranger) is None


@pytest.mark.parametrize("verb", ["Accept", "Reject", "Undo"])
async def test_a_stranger_has_nothing_to_answer_or_undo(scene: Scene, verb: str) -> None:
    stranger = await scene.open_neighbour()
    assert await scene.deliver(stranger, stranger.build(verb, "https://us.example/f/1")) == 403
    assert await scene.find(stranger) is None


async def test_who_is_no_relay_may_not_follow(scene: Scene) -> None:
    stranger = await scene.open_neighbour()
    stranger.document["generator"] = {"type": "Application", "name": "Something else"}
    answer = await stranger.deliver(
        stranger.build("Follow", scene.identity.actor), scene.inbox, now=scene.clock.now()
    )
    assert answer.status == 403
    assert b"generator.implements" in answer.body
    assert await scene.find(stranger) is None


async def test_a_person_may_not_follow(scene: Scene) -> None:
    origin = await scene.world.open_origin()
    alice = origin.create_actor("alice")
    follow = {
        "id": alice.new_id("follows"),
        "type": "Follow",
        "actor": alice.id,
        "object": scene.identity.actor,
    }
    assert (await scene.world.deliver(alice, follow, scene.inbox)).status == 403


async def test_a_relay_that_cannot_be_looked_at_now_is_told_to_come_again(scene: Scene) -> None:
    stranger = await scene.open_neighbour()
    shown = do.serve_json(stranger.document)
    stranger.origin.on("/breakwater/actor", do.in_turn(shown, do.refuse(503)))
    assert await scene.follow(stranger) == 503
    assert await scene.find(stranger) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"Follow"',
        b"{",
        b"[" * 5_000,
        b'{"type": "Create", "id": "http://a.example/1", "actor": "http://a.example", "object": "x"}',
        b'{"type": ["Follow"], "id": "http://a.example/1", "actor": "http://a.example", "object": "x"}',
        b'{"type": "Follow", "id": "http://a.example/1", "actor": "http://a.example"}',
        b'{"type": "Follow", "id": "http://a.example/1", "object": "http://a.example"}',
        b'{"type": "Follow", "actor": "http://a.example", "object": "x"}',
        b'{"type": "Follow", "id": "http://b.example/1", "actor": "http://a.example/", "object": "x"}',
        b'{"type": "Follow", "type": "Undo", "id": "http://a.example/1", "actor": "http://a.example"}',
    ],
)
async def test_anything_else_is_malformed_and_costs_nobody_a_request(scene: Scene, body: bytes) -> None:
    stranger = await scene.open_neighbour()
    assert await scene.deliver(stranger, body) == 400
    assert stranger.origin.requests == []


async def test_a_body_over_the_limit_is_not_read_to_its_end(scene: Scene) -> None:
    stranger = await scene.open_neighbour()
    follow = stranger.build("Follow", scene.identity.actor, summary="x" * MAX_ACTIVITY_BYTES)
    assert await scene.deliver(stranger, follow) == 413


async def test_so_many_strangers_are_stored_in_an_hour_and_more_in_the_next(database: Database) -> None:
    async with open_scene(database, follows_per_hour=2) as scene:
        # Every address is a group of its own.
        strangers = [await scene.open_neighbour(number) for number in range(4)]
        assert [await scene.follow(one) for one in strangers] == [202, 202, 429, 429]
        assert strangers[3].origin.count("/breakwater/actor") == 1
        # Those that are known go on unhindered.
        assert await scene.follow(strangers[0], number=2) == 202
        scene.clock.advance(timedelta(hours=1, seconds=1))
        assert [await scene.follow(one, number=3) for one in strangers[2:]] == [202, 202]


async def test_many_actors_of_one_server_do_not_fill_the_list(scene: Scene) -> None:
    origin = await scene.world.open_origin()
    crowd = [Neighbour(origin, number=number, path=f"/{number}") for number in range(5)]
    answers = [await scene.follow(one) for one in crowd]
    assert answers == [202] * MAX_WAITING_OF_GROUP + [429] * (5 - MAX_WAITING_OF_GROUP)


async def test_one_relay_cannot_fill_the_audit_log(scene: Scene) -> None:
    sender = await scene.open_neighbour()
    answers = [await scene.follow(sender, number=number) for number in range(ACTIVITIES_AT_ONCE + 5)]
    assert answers == [202] * ACTIVITIES_AT_ONCE + [429] * 5
    assert len(await scene.audited()) == ACTIVITIES_AT_ONCE
    scene.clock.advance(timedelta(hours=1))
    assert await scene.follow(sender, number=77) == 202


async def test_without_the_database_nothing_is_accepted(scene: Scene) -> None:
    stranger = await scene.open_neighbour()
    async with scene.database.connection() as conn:
        await conn.execute("DROP TABLE peers CASCADE")
    assert await scene.follow(stranger) == 503


async def test_the_relay_itself_takes_follows_and_hands_none_to_the_server_behind_it(dsn: str) -> None:
    async with open_line(dsn) as line:
        stranger = Neighbour(line.origin)
        follow = stranger.build("Follow", line.relay.actor)
        answer = await stranger.deliver(follow, f"{line.relay.actor}/inbox", now=line.clock.now())
        async with line.database.connection() as conn:
            peer = await peers.find_peer(conn, stranger.actor)
        assert answer.status == 202
        assert peer is not None
        assert peer.they_follow is Following.ASKED
        assert line.backend.requests == []
