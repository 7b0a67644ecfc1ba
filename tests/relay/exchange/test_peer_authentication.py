"""Whoever asks is the peer that signed, or is refused; and nobody learns from a refusal who is a peer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import peering, peers
from db.peers import Following, Peer, Tier
from relay.exchange import peer_authentication
from relay.exchange.admission import REFETCH_INTERVAL, PeerRefresher, admit_stranger
from relay.exchange.peer_authentication import (
    PeerVerdict,
    Refusal,
    RefusalReason,
    SeenSignatures,
    authenticate_peer,
)
from relay.exchange.signing import PeerSigner, create_peer_signer
from signatures.http import Scheme, sign_request
from signatures.message import RequestMessage, without_headers
from tests.fediverse.clock import START, FrozenClock
from tests.relay.exchange.neighbours import Neighbour, build_identity

if TYPE_CHECKING:
    from db.pool import Database
    from relay.tools.fetching import GuardedClient

BASE = "https://us.example/breakwater"
PEER = build_identity("https://peer.example/breakwater", 1)
STRANGER = build_identity("https://stranger.example/breakwater", 2)
THIRD = build_identity("https://third.example/breakwater", 3)


def request(**changes: Any) -> RequestMessage:
    message = RequestMessage(
        method="POST",
        scheme="https",
        authority="us.example",
        target="/breakwater/api/v1/lookup",
        headers=(("Content-Type", "application/json"),),
        body=b'{"digests": []}',
    )
    return replace(message, **changes)


def signer(number: int = 1, *, clock: FrozenClock | None = None) -> PeerSigner:
    identity = {1: PEER, 2: STRANGER, 3: THIRD}[number]
    return create_peer_signer(identity, clock or FrozenClock())


async def add_peer(database: Database, number: int = 1, **changes: Any) -> Peer:
    mine = signer(number)
    they_follow = changes.pop("they_follow", Following.ACCEPTED)
    peer = Peer(
        actor=mine.key_id.partition("#")[0],
        domain="peer.example",
        tier=Tier.PROBATION,
        added_at=START,
        updated_at=START,
        key_id=mine.key_id,
        multikey=mine.key.public.to_multikey(),
    )
    async with database.connection() as conn:
        await peers.put_peer(conn, replace(peer, **changes))
        await peering.set_they_follow(conn, peer.actor, to=they_follow, follow_id="f", now=START)
        stored = await peers.find_peer(conn, peer.actor)
    assert stored is not None
    return stored


async def ask(database: Database, message: RequestMessage, **more: Any) -> PeerVerdict:
    given: dict[str, Any] = {"now": START, "base_url": BASE, "seen": SeenSignatures(), **more}
    return await authenticate_peer(message, database=database, **given)


async def reason_of(database: Database, message: RequestMessage, **more: Any) -> RefusalReason:
    verdict = await ask(database, message, **more)
    assert isinstance(verdict, Refusal)
    assert verdict.detail
    return verdict.reason


async def test_a_peer_is_known_by_its_signature(database: Database) -> None:
    peer = await add_peer(database)
    assert await ask(database, signer().sign(request())) == peer
    assert await ask(database, signer().sign(request(method="GET", body=b""))) == peer


@pytest.mark.parametrize(
    ("scheme", "authority"), [("http", "us.example"), ("https", "10.0.0.7:8790"), ("http", "")]
)
async def test_what_a_proxy_made_of_the_address_does_not_matter(
    scheme: str, authority: str, database: Database
) -> None:
    peer = await add_peer(database)
    signed = signer().sign(request())
    signed = replace(signed, scheme=scheme, authority=authority)
    assert await ask(database, signed) == peer


async def test_a_request_that_a_peer_made_to_another_relay_is_not_taken(database: Database) -> None:
    """Whoever receives a peer's requests could else make them again here, under any Host header."""
    await add_peer(database)
    signed = signer().sign(request(authority="thief.example"))
    forged = replace(signed, authority="us.example")
    assert await reason_of(database, signed) is RefusalReason.NOT_ADMITTED
    assert await reason_of(database, forged) is RefusalReason.NOT_ADMITTED


async def test_all_who_may_not_ask_are_refused_alike(database: Database) -> None:
    await add_peer(database, 1)
    stranger = await ask(database, signer(2).sign(request()))
    thief = await ask(database, replace(signer(2), key_id=signer(1).key_id).sign(request()))
    unknown_key = await ask(database, replace(signer(1), key_id=f"{PEER.actor}#other").sign(request()))
    await add_peer(database, 3, tier=Tier.QUARANTINED)
    outcast = await ask(database, signer(3).sign(request()))
    await add_peer(database, 3, they_follow=Following.ASKED)
    asking = await ask(database, signer(3).sign(request()))
    await add_peer(database, 3, multikey=None)
    keyless = await ask(database, signer(3).sign(request()))
    refusals = {stranger, thief, unknown_key, outcast, asking, keyless}
    assert len(refusals) == 1
    [refusal] = refusals
    assert isinstance(refusal, Refusal)
    assert refusal.reason is RefusalReason.NOT_ADMITTED


async def test_who_may_ask_is_the_callers_choice(database: Database) -> None:
    peer = await add_peer(database, they_follow=Following.NO)
    message = signer().sign(request())
    assert await reason_of(database, message) is RefusalReason.NOT_ADMITTED
    assert await ask(database, message, may_ask=lambda _: True) == peer


def unsigned(message: RequestMessage) -> RequestMessage:
    return replace(message, headers=without_headers(message.headers, "signature", "signature-input"))


def covers_less(message: RequestMessage) -> RequestMessage:
    headers = tuple((name, value.replace(' "content-digest"', "")) for name, value in message.headers)
    return replace(message, headers=headers)


def by_the_older_scheme(message: RequestMessage) -> RequestMessage:
    return sign_request(
        unsigned(message), key=PEER.http_key, key_id=signer().key_id, scheme=Scheme.CAVAGE, now=START
    )


def by_rsa(message: RequestMessage) -> RequestMessage:
    return sign_request(
        unsigned(message), key=PEER.http_key, key_id=signer().key_id, scheme=Scheme.RFC9421, now=START
    )


def doubled(message: RequestMessage) -> RequestMessage:
    return replace(message, headers=message.headers * 2)


@pytest.mark.parametrize("spoil", [unsigned, covers_less, by_the_older_scheme, by_rsa, doubled])
@pytest.mark.parametrize("number", [1, 2])
async def test_what_is_not_of_the_profile_is_told_so_whoever_sent_it(
    spoil: Any, number: int, database: Database
) -> None:
    await add_peer(database)
    message = spoil(signer(number).sign(request()))
    assert await reason_of(database, message) is RefusalReason.FORM


async def test_a_request_of_another_time_is_told_so(database: Database) -> None:
    await add_peer(database)
    message = signer().sign(request())
    for now in (START + timedelta(minutes=6), START - timedelta(minutes=6)):
        verdict = await ask(database, message, now=now)
        assert isinstance(verdict, Refusal)
        assert verdict.reason is RefusalReason.FORM
        assert ("stale" in verdict.detail) or ("future" in verdict.detail)


async def test_another_body_under_the_same_signature_is_refused(database: Database) -> None:
    await add_peer(database)
    message = replace(signer().sign(request()), body=b'{"digests": [1]}')
    assert await reason_of(database, message) is RefusalReason.FORM


async def test_the_same_signature_counts_once(database: Database) -> None:
    peer = await add_peer(database)
    seen, message = SeenSignatures(), signer().sign(request())
    assert await ask(database, message, seen=seen) == peer
    assert await reason_of(database, message, seen=seen) is RefusalReason.REPLAYED
    again = START + timedelta(minutes=4, seconds=59)
    assert await reason_of(database, message, seen=seen, now=again) is RefusalReason.REPLAYED
    assert await ask(database, signer().sign(request()), seen=seen) == peer


async def test_a_refused_request_takes_no_place_among_the_seen(database: Database) -> None:
    """A stranger who knows a signature before its owner's request arrives could else have that refused."""
    peer = await add_peer(database)
    seen, message = SeenSignatures(), signer().sign(request())
    spoilt = replace(message, body=b"{}")
    assert await reason_of(database, spoilt, seen=seen) is RefusalReason.FORM
    assert await ask(database, message, seen=seen) == peer


def test_what_is_remembered_is_bounded_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_authentication, "MAX_SEEN_PER_PEER", 3)
    seen, until = SeenSignatures(), START + timedelta(minutes=10)

    def note(number: int, actor: str = "a", *, now: Any = START) -> RefusalReason | None:
        return seen.note(actor, bytes([number]), until=until, now=now)

    assert [note(number) for number in range(3)] == [None] * 3
    assert note(3) is RefusalReason.TOO_MANY
    assert note(0) is RefusalReason.REPLAYED
    assert note(3, "b") is None
    assert note(3, now=until + timedelta(seconds=1)) is None


@given(flipped=st.integers(min_value=0, max_value=10_000))
def test_no_signature_passes_twice_and_none_is_mistaken_for_another(flipped: int) -> None:
    seen, until = SeenSignatures(), START + timedelta(minutes=10)
    signature = bytearray(64)
    assert seen.note("a", bytes(signature), until=until, now=START) is None
    signature[flipped % 64] ^= 1 << (flipped % 8)
    assert seen.note("a", bytes(signature), until=until, now=START) is None
    assert seen.note("a", bytes(signature), until=until, now=START) is RefusalReason.REPLAYED


async def test_a_new_key_is_looked_for_once_and_then_known(database: Database) -> None:
    peer = await add_peer(database)
    mine = replace(signer(2), key_id=f"{PEER.actor}#{signer(2).key.public.to_multikey()}")
    asked: list[str] = []

    async def refresh(actor: str) -> bool:
        asked.append(actor)
        async with database.connection() as conn:
            await peers.put_peer(
                conn, replace(peer, key_id=mine.key_id, multikey=mine.key.public.to_multikey())
            )
        return True

    found = await ask(database, mine.sign(request()), refresh=refresh)
    assert isinstance(found, Peer)
    assert found.key_id == mine.key_id
    assert await ask(database, mine.sign(request()), refresh=refresh) == found
    assert asked == [PEER.actor]


async def test_a_bad_form_makes_nobody_be_asked(database: Database) -> None:
    async def refresh(actor: str) -> bool:
        raise AssertionError(actor)

    await add_peer(database)
    message = covers_less(signer(2).sign(request()))
    assert await reason_of(database, message, refresh=refresh) is RefusalReason.FORM


async def test_a_peer_that_replaced_its_key_is_known_again_after_one_look_at_its_actor(
    neighbour: Neighbour, client: GuardedClient, clock: FrozenClock, database: Database
) -> None:
    async with database.transaction() as conn:
        await admit_stranger(conn, await neighbour.find(client), now=START)
        await peering.set_they_follow(conn, neighbour.actor, to=Following.ACCEPTED, follow_id="f", now=START)
    rotated = replace(neighbour.identity, api_key=build_identity("https://x.example", 8).api_key)
    mine = create_peer_signer(rotated, clock)
    refresh = PeerRefresher(database=database, client=client, clock=clock)
    # Signed with a key that its document does not show: refused, and its actor is not asked again for it.
    assert await reason_of(database, mine.sign(request()), refresh=refresh) is RefusalReason.NOT_ADMITTED
    neighbour.document = dict(rotated.build_actor())
    assert await reason_of(database, mine.sign(request()), refresh=refresh) is RefusalReason.NOT_ADMITTED
    assert neighbour.origin.count("/breakwater/actor") == 2
    clock.advance(REFETCH_INTERVAL)
    later = {"refresh": refresh, "now": clock.now()}
    found = await ask(database, mine.sign(request()), **later)
    assert isinstance(found, Peer)
    assert found.key_id == mine.key_id
    # The old key ended with that.
    old = create_peer_signer(neighbour.identity, clock)
    assert await reason_of(database, old.sign(request()), **later) is RefusalReason.NOT_ADMITTED
