"""A relay's keys are taken on, changed and ended as their owner says, and never taken over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from db import audit, peer_keys, peering, peers
from db.peers import Following, Peer, Tier
from relay.exchange.admission import (
    REFETCH_INTERVAL,
    KeyChanges,
    PeerRefresher,
    admit_stranger,
    store_keys,
)
from relay.exchange.discovery import DiscoveryFailure, DiscoveryReason
from relay.exchange.upkeep import PeerUpkeep
from signatures.times import format_json_time
from tests.fediverse import behaviours as do
from tests.fediverse.clock import START, FrozenClock
from tests.relay.exchange.neighbours import Neighbour, build_identity

if TYPE_CHECKING:
    from db.pool import Database
    from relay.exchange.actors import PeerFacts
    from relay.tools.fetching import GuardedClient


@pytest.fixture
def refresher(database: Database, client: GuardedClient, clock: FrozenClock) -> PeerRefresher:
    return PeerRefresher(database=database, client=client, clock=clock)


async def admit(database: Database, facts: PeerFacts, **more: Any) -> Peer:
    async with database.transaction() as conn:
        admitted = await admit_stranger(conn, facts, now=START, **more)
    assert isinstance(admitted, Peer)
    return admitted


def multikey(neighbour: Neighbour, number: int, **more: str) -> dict[str, str]:
    """Build an entry with the signing key of another number."""
    key = build_identity(neighbour.identity.base_url, number).signing_key.public.to_multikey()
    return {
        "id": f"{neighbour.actor}#{key}",
        "type": "Multikey",
        "controller": neighbour.actor,
        "publicKeyMultibase": key,
        **more,
    }


async def test_a_stranger_is_stored_as_unknown_with_its_keys(
    neighbour: Neighbour, client: GuardedClient, database: Database
) -> None:
    peer = await admit(database, await neighbour.find(client), note="met at the fair")
    async with database.connection() as conn:
        assert await peers.find_peer(conn, neighbour.actor) == peer
        [key] = await peer_keys.list_peer_keys(conn, neighbour.actor)
    assert (peer.tier, peer.note, peer.trust_group) == (Tier.UNKNOWN, "met at the fair", peer.domain)
    assert (peer.they_follow, peer.we_follow) == (Following.NO, Following.NO)
    assert key.key_id == neighbour.identity.verification_method
    assert peer.multikey not in {None, key.multikey}


async def test_a_peer_that_is_found_again_keeps_what_the_admin_decided(
    neighbour: Neighbour, client: GuardedClient, database: Database
) -> None:
    facts = await neighbour.find(client)
    await admit(database, facts, group="ours", note="a friend")
    async with database.connection() as conn:
        await peers.set_tier(conn, neighbour.actor, expected=Tier.UNKNOWN, to=Tier.ALLIED, now=START)
        await peering.set_we_follow(
            conn, neighbour.actor, to=Following.ACCEPTED, follow_id="https://us.example/f", now=START
        )
    peer = await admit(database, facts)
    assert (peer.tier, peer.trust_group, peer.note) == (Tier.ALLIED, "ours", "a friend")
    assert peer.we_follow is Following.ACCEPTED


async def test_a_relay_all_of_whose_keys_for_peers_have_ended_is_not_stored(
    neighbour: Neighbour, client: GuardedClient, database: Database
) -> None:
    for ended in ({"expires": format_json_time(START)}, {"revoked": "2030-01-01T00:00:00Z"}):
        [entry] = neighbour.identity.build_actor()["authentication"]  # type: ignore[misc]
        neighbour.document["authentication"] = [{**entry, **ended}]  # type: ignore[dict-item]
        async with database.transaction() as conn:
            answer = await admit_stranger(conn, await neighbour.find(client), now=START)
            assert isinstance(answer, DiscoveryFailure)
            assert answer.reason is DiscoveryReason.NO_KEY
            assert await peers.list_peers(conn) == ()


async def test_of_several_keys_for_peers_the_first_that_holds_is_used(
    neighbour: Neighbour, client: GuardedClient, database: Database
) -> None:
    neighbour.document["authentication"] = [
        multikey(neighbour, 7, expires=format_json_time(START)),
        multikey(neighbour, 8),
        multikey(neighbour, 9),
    ]
    peer = await admit(database, await neighbour.find(client))
    assert peer.multikey == multikey(neighbour, 8)["publicKeyMultibase"]


async def test_a_new_key_is_kept_beside_the_old_one_which_ends_when_its_owner_says(
    neighbour: Neighbour, client: GuardedClient, database: Database, refresher: PeerRefresher
) -> None:
    await admit(database, await neighbour.find(client))
    ends = START + timedelta(days=30)
    old = multikey(neighbour, 1, expires=format_json_time(ends))
    neighbour.document["assertionMethod"] = [multikey(neighbour, 9), old]
    assert await refresher.refresh(neighbour.actor) == KeyChanges(added=(multikey(neighbour, 9)["id"],))
    async with database.connection() as conn:
        keys = {key.key_id: key for key in await peer_keys.list_peer_keys(conn, neighbour.actor)}
    assert keys[old["id"]].expires_at == ends
    assert keys[multikey(neighbour, 9)["id"]].expires_at is None


async def test_a_key_that_is_shown_no_more_ends_and_comes_back_with_its_document(
    neighbour: Neighbour, client: GuardedClient, database: Database
) -> None:
    facts = await neighbour.find(client)
    await admit(database, facts)
    neighbour.document["assertionMethod"] = [multikey(neighbour, 9)]
    without = await neighbour.find(client)
    old = facts.keys[0].key_id
    async with database.transaction() as conn:
        changes = await store_keys(conn, without, now=START)
        assert changes.ended == (old,)
        ended = await peer_keys.find_peer_key(conn, old)
        assert ended is not None
        assert ended.expires_at == START
        assert await store_keys(conn, without, now=START + timedelta(hours=1)) == KeyChanges()
        await store_keys(conn, facts, now=START)
        back = await peer_keys.find_peer_key(conn, old)
    assert back is not None
    assert back.expires_at is None


async def test_a_revoked_key_is_noted_once_and_stays_revoked(
    neighbour: Neighbour, client: GuardedClient, database: Database
) -> None:
    facts = await neighbour.find(client)
    await admit(database, facts)
    since = START - timedelta(days=1)
    revoked = replace(facts, keys=(replace(facts.keys[0], revoked=since),))
    async with database.transaction() as conn:
        assert (await store_keys(conn, revoked, now=START)).revoked == (facts.keys[0].key_id,)
        assert not (await store_keys(conn, revoked, now=START)).is_any
        await store_keys(conn, facts, now=START)
        key = await peer_keys.find_peer_key(conn, facts.keys[0].key_id)
        entries = await audit.list_about_peer(conn, facts.domain, limit=9)
    assert key is not None
    assert key.revoked_at == since
    assert [entry.event for entry in entries] == ["peer_key_revoked"]


async def test_another_key_under_the_id_of_a_known_one_is_not_taken(
    neighbour: Neighbour, client: GuardedClient, database: Database
) -> None:
    facts = await neighbour.find(client)
    await admit(database, facts)
    other = multikey(neighbour, 9)["publicKeyMultibase"]
    swapped = replace(facts, keys=(replace(facts.keys[0], multikey=other),))
    async with database.transaction() as conn:
        await store_keys(conn, swapped, now=START)
        key = await peer_keys.find_peer_key(conn, facts.keys[0].key_id)
    assert key is not None
    assert key.multikey == facts.keys[0].multikey


async def test_a_peer_is_fetched_again_once_in_ten_minutes(
    neighbour: Neighbour,
    client: GuardedClient,
    database: Database,
    refresher: PeerRefresher,
    clock: FrozenClock,
) -> None:
    await admit(database, await neighbour.find(client))
    path = "/breakwater/actor"
    assert neighbour.origin.count(path) == 1
    for _ in range(5):
        assert not await refresher(neighbour.actor)
    assert neighbour.origin.count(path) == 2
    clock.advance(REFETCH_INTERVAL)
    assert await refresher.refresh(neighbour.actor) == KeyChanges()
    assert neighbour.origin.count(path) == 3


async def test_nobody_but_a_peer_is_ever_fetched(neighbour: Neighbour, refresher: PeerRefresher) -> None:
    assert not await refresher(neighbour.actor)
    assert neighbour.origin.requests == []


async def test_a_new_key_for_requests_replaces_the_old(
    neighbour: Neighbour, client: GuardedClient, database: Database, refresher: PeerRefresher
) -> None:
    await admit(database, await neighbour.find(client))
    neighbour.document["authentication"] = [multikey(neighbour, 9)]
    assert await refresher(neighbour.actor)
    async with database.connection() as conn:
        peer = await peers.find_peer(conn, neighbour.actor)
    assert peer is not None
    assert peer.key_id == multikey(neighbour, 9)["id"]


async def test_what_the_admin_decides_meanwhile_is_not_undone_by_a_fetch(
    neighbour: Neighbour, client: GuardedClient, database: Database, refresher: PeerRefresher
) -> None:
    await admit(database, await neighbour.find(client))
    neighbour.document["authentication"] = [multikey(neighbour, 9)]
    async with database.connection() as conn:
        await peers.set_tier(conn, neighbour.actor, expected=Tier.UNKNOWN, to=Tier.QUARANTINED, now=START)
        assert await refresher(neighbour.actor)
        peer = await peers.find_peer(conn, neighbour.actor)
    assert peer is not None
    assert peer.tier is Tier.QUARANTINED


async def test_a_peer_that_cannot_be_reached_keeps_its_keys(
    neighbour: Neighbour, client: GuardedClient, database: Database, refresher: PeerRefresher
) -> None:
    facts = await neighbour.find(client)
    await admit(database, facts)
    neighbour.origin.on("/breakwater/actor", do.refuse(503))
    assert isinstance(await refresher.refresh(neighbour.actor), DiscoveryFailure)
    async with database.connection() as conn:
        [key] = await peer_keys.list_peer_keys(conn, neighbour.actor)
    assert (key.multikey, key.expires_at) == (facts.keys[0].multikey, None)


async def test_the_upkeep_looks_at_peers_and_not_at_strangers(
    neighbour: Neighbour, client: GuardedClient, database: Database, refresher: PeerRefresher
) -> None:
    await admit(database, await neighbour.find(client))
    upkeep = PeerUpkeep(database=database, refresher=refresher)
    await upkeep.refresh_all()
    assert neighbour.origin.count("/breakwater/actor") == 1
    async with database.connection() as conn:
        await peers.set_tier(conn, neighbour.actor, expected=Tier.UNKNOWN, to=Tier.PROBATION, now=START)
    await upkeep.refresh_all()
    assert neighbour.origin.count("/breakwater/actor") == 2
