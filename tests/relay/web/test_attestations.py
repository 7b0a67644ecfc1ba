"""Attestations are for known peers, and asking tells nobody what was withheld."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import attestations, peers
from signatures.message import RequestMessage
from tests.fediverse import send
from tests.fediverse.clock import START
from tests.relay.exchange.issuer import Issuer
from tests.relay.line import Line, open_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fediverse import Actor, WireResponse

STORED = attestations.StoredAttestation(
    id="01K0ATTESTED",
    sha256=bytes(32),
    profile="https://relay.example/profiles/image-1",
    state_digest=bytes(32),
    published=START,
    end_time=START + timedelta(hours=24),
    is_withheld_share=False,
    audience="public",
    object=b'{"type": "MediaScanAttestation",  "kept": "as signed"}',
)
# Each would be given out if the one thing that differs did not matter.
HIDDEN = {
    "01K0WITHHELD": {"is_withheld_share": True},
    "01K0RESTRICTED": {"audience": "restricted"},
    "01K0ENDED": {"end_time": START},
}


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[Line]:
    async with open_line(dsn) as opened:
        async with opened.database.connection() as conn:
            await attestations.put_state(conn, state_digest=bytes(32), document={}, now=START)
            await attestations.insert_attestation(conn, STORED)
            for name, change in HIDDEN.items():
                await attestations.insert_attestation(conn, replace(STORED, id=name, **change))
        yield opened


async def _add(line: Line, name: str, tier: peers.Tier) -> Actor:
    actor = line.origin.create_actor(name)
    peer = peers.Peer(actor=actor.id, domain="peer.example", tier=tier, added_at=START, updated_at=START)
    async with line.database.connection() as conn:
        await peers.put_peer(conn, peer)
    return actor


async def _ask(line: Line, actor: Actor | None, name: str) -> WireResponse:
    authority = line.relay.door_url.partition("//")[2]
    message = RequestMessage(
        method="GET",
        scheme="http",
        authority=authority,
        target=f"/breakwater/attestations/{name}",
        headers=(("Accept", "application/activity+json"),),
        body=b"",
    )
    if actor is not None:
        message = actor.sign(message, now=line.clock.now())
    return await send(message, host="127.0.0.1", port=int(authority.rpartition(":")[2]))


@pytest.mark.parametrize("tier", [peers.Tier.PROBATION, peers.Tier.TRUSTED, peers.Tier.ALLIED])
async def test_a_peer_gets_the_signed_bytes_as_they_were_stored(tier: peers.Tier, line: Line) -> None:
    answer = await _ask(line, await _add(line, "peer", tier), STORED.id)

    assert (answer.status, answer.body) == (200, STORED.object)
    assert answer.header("Content-Type") == "application/activity+json"


async def test_what_is_not_given_out_is_answered_like_what_does_not_exist(line: Line) -> None:
    peer = await _add(line, "peer", peers.Tier.TRUSTED)
    answers = [await _ask(line, peer, name) for name in ("01K0NOWHERE", *HIDDEN)]

    assert {answer.status for answer in answers} == {404}
    assert len({answer.body for answer in answers}) == 1
    assert len({tuple(pair for pair in one.headers if pair[0] != "Date") for one in answers}) == 1


async def test_what_was_taken_back_with_its_key_is_not_given_out_before_it_ends(line: Line) -> None:
    issuer = Issuer()
    kept = replace(STORED, id="01K0SIGNED", sha256=bytes([1]) * 32, object=issuer.attest(b"some bytes"))
    async with line.database.connection() as conn:
        await attestations.insert_attestation(conn, kept)
    peer = await _add(line, "peer", peers.Tier.TRUSTED)
    assert (await _ask(line, peer, kept.id)).status == 200
    await issuer.take_back(line.database, scope="key", subject=issuer.key_id)
    gone, nowhere = await _ask(line, peer, kept.id), await _ask(line, peer, "01K0NOWHERE")
    assert (gone.status, gone.body) == (nowhere.status, nowhere.body)


async def test_nobody_else_learns_even_whether_there_is_one(line: Line) -> None:
    outcast = await _add(line, "outcast", peers.Tier.QUARANTINED)
    stranger = line.origin.create_actor("stranger")
    for actor, status in ((None, 401), (stranger, 403), (outcast, 403)):
        answers = [await _ask(line, actor, name) for name in (STORED.id, "01K0NOWHERE")]

        assert [answer.status for answer in answers] == [status] * 2
        assert answers[0].body == answers[1].body


async def test_an_old_signature_opens_nothing(line: Line) -> None:
    """Requests between peers are fresh; a delivery's wide window is for queues, which these have none of."""
    peer = await _add(line, "peer", peers.Tier.TRUSTED)
    authority = line.relay.door_url.partition("//")[2]
    message = RequestMessage(
        method="GET",
        scheme="http",
        authority=authority,
        target=f"/breakwater/attestations/{STORED.id}",
        headers=(),
        body=b"",
    )
    old = peer.sign(message, now=line.clock.now() - timedelta(minutes=30))

    assert (await send(old, host="127.0.0.1", port=int(authority.rpartition(":")[2]))).status == 401


async def test_without_the_database_nothing_is_said(line: Line) -> None:
    peer = await _add(line, "peer", peers.Tier.TRUSTED)
    async with line.database.connection() as conn:
        await conn.execute("DROP TABLE peers CASCADE")

    answer = await _ask(line, peer, STORED.id)

    assert answer.status == 503
    assert int(answer.header("Retry-After") or 0) > 0
