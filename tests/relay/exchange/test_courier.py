"""What is written to another relay arrives, or is tried for three days, in order."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import peer_outbox
from relay.exchange.courier import Courier
from relay.lifecycle import GIVE_UP_AFTER
from relay.tools.identity import IdentitySigner
from signatures.http import Scheme, find_signature, verify_request
from signatures.message import RequestMessage
from tests.fediverse import behaviours as do
from tests.fediverse.clock import START, FrozenClock
from tests.relay.exchange.neighbours import Neighbour, build_identity

if TYPE_CHECKING:
    from db.pool import Database
    from relay.tools.fetching import GuardedClient
    from tests.fediverse import Origin, WireRequest

US = build_identity("https://us.example/breakwater", 9)


@pytest.fixture
def courier(database: Database, client: GuardedClient, clock: FrozenClock) -> Courier:
    signer = IdentitySigner(identity=US, clock=clock)
    return Courier(database=database, client=client, signer=signer, clock=clock)


async def write(database: Database, neighbour: Neighbour, *, kind: str = "Follow", inbox: str = "") -> None:
    async with database.connection() as conn:
        await peer_outbox.add_letter(
            conn,
            actor=neighbour.actor,
            inbox=inbox or f"{neighbour.actor}/inbox",
            kind=kind,
            body=json.dumps({"type": kind}).encode(),
            now=START,
        )


async def waiting(database: Database) -> list[tuple[str, str | None, bool]]:
    async with database.connection() as conn:
        found = await peer_outbox.list_letters(conn)
    return [(one.kind, one.reason, one.due_at is not None) for one in found]


def at_inbox(origin: Origin) -> list[WireRequest]:
    return [request for request in origin.requests if request.path.endswith("/inbox")]


def verify(request: WireRequest, origin: Origin) -> Scheme:
    message = RequestMessage(
        method=request.method,
        scheme="http",
        authority=f"{origin.host}:{origin.port}",
        target=request.target,
        headers=request.headers,
        body=request.body,
    )
    signature = find_signature(message)
    assert signature is not None
    assert signature.key_id == US.http_key_id
    return verify_request(message, signature, key=US.http_key.public, now=START).scheme


async def test_a_letter_arrives_signed_and_is_forgotten(
    neighbour: Neighbour, courier: Courier, database: Database
) -> None:
    await write(database, neighbour)
    [sent] = await courier.send_due()
    assert (sent.reason, sent.again_at) == (None, None)
    [request] = at_inbox(neighbour.origin)
    assert verify(request, neighbour.origin) is Scheme.RFC9421
    assert request.header("Content-Type") == "application/activity+json"
    assert request.body == b'{"type": "Follow"}'
    assert await waiting(database) == []


async def test_who_refuses_the_one_scheme_is_asked_with_the_other(
    neighbour: Neighbour, courier: Courier, database: Database
) -> None:
    neighbour.origin.on("/breakwater/actor/inbox", do.in_turn(do.refuse(401), do.refuse(202)))
    await write(database, neighbour)
    await courier.send_due()
    requests = at_inbox(neighbour.origin)
    schemes = [verify(request, neighbour.origin) for request in requests]
    assert schemes == [Scheme.RFC9421, Scheme.CAVAGE]
    assert await waiting(database) == []


@pytest.mark.parametrize("status", [401, 429, 500, 503, 302])
async def test_what_may_be_better_later_is_tried_again(
    status: int, neighbour: Neighbour, courier: Courier, database: Database, clock: FrozenClock
) -> None:
    neighbour.origin.on("/breakwater/actor/inbox", do.refuse(status))
    await write(database, neighbour)
    [sent] = await courier.send_due()
    assert sent.again_at is not None
    assert sent.again_at > clock.now()
    assert await courier.send_due() == []
    neighbour.origin.on("/breakwater/actor/inbox", do.refuse(202))
    clock.advance(sent.again_at - clock.now())
    assert [one.reason for one in await courier.send_due()] == [None]
    assert await waiting(database) == []


@pytest.mark.parametrize("status", [400, 403, 404, 410])
async def test_what_is_refused_for_good_is_given_up_and_kept_to_be_seen(
    status: int, neighbour: Neighbour, courier: Courier, database: Database
) -> None:
    neighbour.origin.on("/breakwater/actor/inbox", do.refuse(status))
    await write(database, neighbour)
    [sent] = await courier.send_due()
    assert sent.again_at is None
    assert await waiting(database) == [("Follow", f"refused with status {status}", False)]


async def test_after_three_days_it_is_given_up(
    neighbour: Neighbour, courier: Courier, database: Database, clock: FrozenClock
) -> None:
    neighbour.origin.on("/breakwater/actor/inbox", do.refuse(503))
    await write(database, neighbour)
    tries = 0
    while [one for one in await waiting(database) if one[2]]:
        tries += len(await courier.send_due())
        clock.advance(timedelta(hours=1))
        assert clock.now() < START + GIVE_UP_AFTER + timedelta(hours=7)
    assert tries > 5


async def test_an_inbox_that_is_no_address_is_given_up(
    neighbour: Neighbour, courier: Courier, database: Database
) -> None:
    await write(database, neighbour, inbox="inbox")
    await courier.send_due()
    assert await waiting(database) == [("Follow", "its inbox is no address", False)]


async def test_an_undo_waits_for_its_follow(
    neighbour: Neighbour, courier: Courier, database: Database, clock: FrozenClock
) -> None:
    refusing, taking = do.refuse(503), do.refuse(202)
    neighbour.origin.on("/breakwater/actor/inbox", do.in_turn(refusing, taking))
    await write(database, neighbour)
    await write(database, neighbour, kind="Undo")
    await courier.send_due()
    clock.advance(timedelta(minutes=1))
    await courier.send_due()
    assert [one["type"] for one in neighbour.letters] == ["Follow", "Follow", "Undo"]


async def test_the_running_relay_sends_what_a_command_has_written(
    neighbour: Neighbour, courier: Courier, database: Database
) -> None:
    arrived = asyncio.Event()

    async def take(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        arrived.set()
        return await do.refuse(202)(request, number, writer)

    neighbour.origin.on("/breakwater/actor/inbox", take)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(courier.run())
        await write(database, neighbour)
        await arrived.wait()
        courier.stop()
