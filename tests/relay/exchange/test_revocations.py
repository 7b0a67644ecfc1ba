"""What a peer takes back counts no more, and what was let go on it is scanned by ourselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import attestations, audit, peer_keys
from db.feed import FeedItem, FeedKind
from db.peer_keys import PeerKey
from db.peers import Tier
from relay.exchange.revocations import SPREAD, TakenBack
from relay.exchange.taking import FeedTaking
from signatures.digests import digest_multibase
from signatures.revocation import Scope
from tests.fediverse.actors import ed25519_key
from tests.fediverse.clock import START
from tests.relay.exchange.pair import (
    OTHER,
    PEER,
    STATE,
    is_mirrored,
    know,
    profile_of,
    relied,
    rely,
    revoke,
)

if TYPE_CHECKING:
    from datetime import datetime

    from db.peers import Peer
    from db.pool import Database

HOUR = timedelta(hours=1)
NEXT = ed25519_key(900)
NEXT_ID = f"{PEER.actor}#{NEXT.public.to_multikey()}"


async def take(
    database: Database, peer: Peer, raw: bytes, *, now: datetime = START, taking: FeedTaking | None = None
) -> TakenBack | None:
    """Take in one revocation as it comes in a peer's feed; None if nothing follows from it."""
    item = FeedItem(seq=1, kind=FeedKind.REVOCATION, object=raw)
    effect = await (taking or FeedTaking(database=database))(peer, item, now=now)
    if effect is None:
        return None
    async with database.transaction() as conn:
        taken = await effect(conn)
    assert isinstance(taken, TakenBack)
    return taken


async def revoked(database: Database, subject: str) -> int:
    async with database.connection() as conn:
        return len(await attestations.list_revocations_of(conn, [subject]))


async def test_a_state_that_is_taken_back_makes_its_own_words_due_within_the_hour(database: Database) -> None:
    peer = await know(database)
    await rely(database, 1)
    await rely(database, 2, state=bytes(32))

    taken = await take(database, peer, revoke(Scope.STATE, digest_multibase(STATE)))

    assert taken == TakenBack(is_new=True, rescans=1)
    found = await relied(database, 1)
    assert found.due_at is not None
    assert START <= found.due_at <= START + SPREAD
    assert found.audit_rate == 1.0
    assert (await relied(database, 2)).due_at is None
    assert await revoked(database, digest_multibase(STATE)) == 1


async def test_a_profile_and_a_single_attestation_are_taken_back_alike(database: Database) -> None:
    peer = await know(database)
    await rely(database, 1)
    await rely(database, 2)

    one = await take(database, peer, revoke(Scope.ATTESTATION, f"{PEER.base_url}/attestations/1", name="a"))
    assert one == TakenBack(is_new=True, rescans=1)
    assert (await relied(database, 2)).due_at is None

    both = await take(database, peer, revoke(Scope.PROFILE, profile_of(PEER), name="b"))
    assert both == TakenBack(is_new=True, rescans=2)


async def test_what_comes_twice_is_done_once(database: Database) -> None:
    peer = await know(database)
    await rely(database, 1)
    raw = revoke(Scope.PROFILE, profile_of(PEER))

    assert await take(database, peer, raw) == TakenBack(is_new=True, rescans=1)
    assert await take(database, peer, raw) == TakenBack(is_new=False, rescans=0)


async def test_a_stolen_key_vouches_for_nothing_that_was_received_since(database: Database) -> None:
    peer = await know(database)
    async with database.connection() as conn:
        await peer_keys.put_peer_key(
            conn,
            PeerKey(key_id=NEXT_ID, actor=PEER.actor, multikey=NEXT.public.to_multikey(), admitted_at=START),
        )
    await rely(database, 1, received_at=START - HOUR, relied_at=START + HOUR)
    await rely(database, 2, received_at=START + HOUR, relied_at=START + HOUR)
    raw = revoke(
        Scope.KEY,
        PEER.verification_method,
        by=replace(PEER, signing_key=NEXT),
        published=START,
    )

    taken = await take(database, peer, raw, now=START + 2 * HOUR)

    assert taken == TakenBack(is_new=True, rescans=1)
    # At once, and not some time within the hour.
    assert (await relied(database, 2)).due_at == START + 2 * HOUR
    assert not await is_mirrored(database, 2)
    # What came before the theft was the owner's own word, whenever it was relied on.
    assert (await relied(database, 1)).due_at is None
    assert await is_mirrored(database, 1)
    async with database.connection() as conn:
        key = await peer_keys.find_peer_key(conn, PEER.verification_method)
        entries = await audit.list_entries(conn, limit=5)
    assert key is not None
    assert key.revoked_at == START
    assert [entry.event for entry in entries] == ["peer_key_revoked"]
    assert entries[0].detail["rescans"] == 1


async def test_nobody_takes_back_what_another_issued(database: Database) -> None:
    await know(database)
    other = await know(database, OTHER)
    await rely(database, 1)

    assert await take(database, other, revoke(Scope.PROFILE, profile_of(PEER), by=OTHER)) == TakenBack(
        is_new=True, rescans=0
    )
    assert await take(database, other, revoke(Scope.STATE, digest_multibase(STATE), by=OTHER, name="2")) == (
        TakenBack(is_new=True, rescans=0)
    )
    assert (await relied(database, 1)).due_at is None


async def test_a_peer_speaks_in_its_feed_for_itself_alone(database: Database) -> None:
    await know(database)
    other = await know(database, OTHER)
    await rely(database, 1)

    assert await take(database, other, revoke(Scope.PROFILE, profile_of(PEER))) is None
    assert (await relied(database, 1)).due_at is None


@pytest.mark.parametrize("tier", [Tier.UNKNOWN, Tier.QUARANTINED], ids=str)
async def test_a_relay_that_counts_for_nothing_takes_nothing_back(tier: Tier, database: Database) -> None:
    peer = await know(database, tier=tier)
    await rely(database, 1)

    assert await take(database, peer, revoke(Scope.PROFILE, profile_of(PEER))) is None
    assert await revoked(database, profile_of(PEER)) == 0


@pytest.mark.parametrize("bit", [3, 900, 4_000])
async def test_what_its_issuer_did_not_sign_takes_nothing_back(bit: int, database: Database) -> None:
    peer = await know(database)
    changed = bytearray(revoke(Scope.PROFILE, profile_of(PEER)))
    changed[bit // 8] ^= 1 << bit % 8

    assert await take(database, peer, bytes(changed)) is None


async def test_a_new_key_is_fetched_before_its_word_is_turned_away(database: Database) -> None:
    peer = await know(database)
    await rely(database, 1)
    asked: list[str] = []

    async def refetch(actor: str) -> bool:
        asked.append(actor)
        async with database.connection() as conn:
            return await peer_keys.put_peer_key(
                conn,
                PeerKey(
                    key_id=NEXT_ID, actor=PEER.actor, multikey=NEXT.public.to_multikey(), admitted_at=START
                ),
            )

    raw = revoke(Scope.PROFILE, profile_of(PEER), by=replace(PEER, signing_key=NEXT))
    taking = FeedTaking(database=database, refetch=refetch)

    assert await take(database, peer, raw, taking=taking) == TakenBack(is_new=True, rescans=1)
    assert asked == [PEER.actor]


async def test_a_revoked_key_takes_nothing_back_any_more(database: Database) -> None:
    peer = await know(database)
    async with database.connection() as conn:
        await peer_keys.revoke_peer_key(conn, PEER.verification_method, since=START)

    assert await take(database, peer, revoke(Scope.PROFILE, profile_of(PEER))) is None
