"""The cache of remote keys and the list of peers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from db import keys, peers
from db.keys import RemoteKey
from db.peers import Peer, Tier
from tests.db.builders import NOW

if TYPE_CHECKING:
    from db.pool import Database

SECOND = timedelta(seconds=1)
KEY = RemoteKey(
    key_id="https://a.example/users/ada#main-key",
    actor="https://a.example/users/ada",
    pem="-----BEGIN PUBLIC KEY-----",
    algorithm="rsa",
    fetched_at=NOW,
)
PEER = Peer(
    actor="https://relay.a.example/actor",
    domain="relay.a.example",
    tier=Tier.PROBATION,
    added_at=NOW,
    updated_at=NOW,
)


async def test_a_key_is_replaced_found_and_forgotten(database: Database) -> None:
    rotated = replace(KEY, pem="other", fetched_at=NOW + SECOND)
    async with database.connection() as conn:
        assert await keys.find_key(conn, KEY.key_id) is None
        await keys.put_key(conn, KEY)
        assert await keys.find_key(conn, KEY.key_id) == KEY
        await keys.put_key(conn, rotated)
        assert await keys.find_key(conn, KEY.key_id) == rotated
        assert await keys.delete_key(conn, KEY.key_id)
        assert not await keys.delete_key(conn, KEY.key_id)


async def test_a_key_whose_owner_is_gone_stays_until_it_is_old(database: Database) -> None:
    async with database.connection() as conn:
        assert not await keys.mark_gone(conn, KEY.key_id, at=NOW)
        await keys.put_key(conn, KEY)
        assert await keys.mark_gone(conn, KEY.key_id, at=NOW + SECOND)
        assert await keys.find_key(conn, KEY.key_id) == replace(KEY, gone_at=NOW + SECOND)
        assert await keys.purge_keys(conn, before=NOW, limit=10) == 0
        assert await keys.purge_keys(conn, before=NOW + SECOND, limit=10) == 1


async def test_the_longest_admitted_key_id_can_be_stored(database: Database) -> None:
    long = replace(KEY, key_id="k" * keys.MAX_KEY_ID_CHARACTERS)
    async with database.connection() as conn:
        await keys.put_key(conn, long)
        assert await keys.find_key(conn, long.key_id) == long


async def test_a_peer_keeps_the_time_of_its_first_addition(database: Database) -> None:
    changed = replace(
        PEER,
        tier=Tier.TRUSTED,
        note="by hand",
        multikey="z6Mk",
        added_at=NOW + SECOND,
        updated_at=NOW + SECOND,
    )
    other = replace(PEER, actor="https://b.example/actor", domain="b.example")
    async with database.connection() as conn:
        assert await peers.find_peer(conn, PEER.actor) is None
        for peer in (PEER, changed, other):
            await peers.put_peer(conn, peer)
        kept = replace(changed, added_at=NOW)
        assert await peers.find_peer(conn, PEER.actor) == kept
        assert await peers.list_peers(conn) == (other, kept)
        assert await peers.delete_peer(conn, PEER.actor)
        assert not await peers.delete_peer(conn, PEER.actor)


async def test_a_tier_moves_only_from_the_expected_one(database: Database) -> None:
    async with database.connection() as conn:
        await peers.put_peer(conn, PEER)
        move = (PEER.actor, Tier.UNKNOWN, Tier.TRUSTED)
        assert not await peers.set_tier(conn, move[0], expected=move[1], to=move[2], now=NOW)
        assert await peers.set_tier(
            conn, PEER.actor, expected=Tier.PROBATION, to=Tier.QUARANTINED, now=NOW + SECOND
        )
        assert await peers.find_peer(conn, PEER.actor) == replace(
            PEER, tier=Tier.QUARANTINED, updated_at=NOW + SECOND
        )
