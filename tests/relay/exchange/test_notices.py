"""Whom a trusted peer doubts is audited more for a while, and nothing else follows."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from db import feed, standings
from db.feed import FeedItem, FeedKind
from db.peers import Tier
from relay import trust
from relay.exchange.notices import INTERVAL, Heard, tell_doubt
from relay.exchange.taking import FeedTaking
from relay.exchange.weighing import Given, weigh_audit
from signatures.doubt import DoubtBody, build_doubt, parse_doubt
from tests.fediverse.clock import START
from tests.relay.exchange.pair import OTHER, PEER, US, know, profile_of, relied, rely

if TYPE_CHECKING:
    from datetime import datetime

    from db.peers import Peer
    from db.pool import Database
    from db.standings import StoredStanding

BODY = DoubtBody(
    id=f"{OTHER.base_url}/doubts/1",
    teller=OTHER.actor,
    audience=OTHER.peers_collection,
    published=START,
    issuer=PEER.actor,
    profile=profile_of(PEER),
    key_id=PEER.verification_method,
)


def doubt(body: DoubtBody = BODY) -> bytes:
    return build_doubt(body, key=OTHER.signing_key, verification_method=OTHER.verification_method)


async def hear(database: Database, teller: Peer, raw: bytes, *, now: datetime = START) -> object:
    item = FeedItem(seq=1, kind=FeedKind.NOTICE, object=raw)
    effect = await FeedTaking(database=database)(teller, item, now=now)
    if effect is None:
        return None
    async with database.transaction() as conn:
        return await effect(conn)


async def standing(database: Database) -> StoredStanding:
    async with database.connection() as conn:
        found = await standings.find_standing(conn, PEER.actor, profile_of(PEER), PEER.verification_method)
    assert found is not None
    return found


async def tell(database: Database, *, now: datetime = START) -> bool:
    async with database.transaction() as conn:
        return await tell_doubt(
            conn,
            issuer=PEER.actor,
            profile=profile_of(PEER),
            key_id=PEER.verification_method,
            identity=US,
            now=now,
        )


async def test_the_doubt_of_a_trusted_peer_costs_scans_and_nothing_else(database: Database) -> None:
    teller = await know(database, OTHER)
    await know(database)
    await rely(database, 1)
    before = await standing(database)

    assert await hear(database, teller, doubt()) is Heard.SCRUTINY

    assert await standing(database) == replace(before, scrutiny=trust.SCRUTINY)
    # What it says from now on spares nothing for a while; what was let go before stays.
    assert (await relied(database, 1)).due_at is None


@pytest.mark.parametrize("tier", [Tier.PROBATION, Tier.QUARANTINED, Tier.UNKNOWN], ids=str)
async def test_the_doubt_of_one_that_is_not_trusted_changes_nothing(tier: Tier, database: Database) -> None:
    teller = await know(database, OTHER, tier=tier)
    await know(database)

    assert await hear(database, teller, doubt()) in {Heard.NOT_TRUSTED, None}
    assert (await standing(database)).scrutiny == 0


async def test_a_teller_counts_once_a_day_for_an_issuer(database: Database) -> None:
    teller = await know(database, OTHER)
    await know(database)
    assert await hear(database, teller, doubt()) is Heard.SCRUTINY
    async with database.connection() as conn:
        await standings.put_standing(conn, replace(await standing(database), scrutiny=0))

    again = replace(BODY, id=f"{OTHER.base_url}/doubts/2", published=START + timedelta(hours=23))
    assert await hear(database, teller, doubt(again), now=again.published) is Heard.TOLD_BEFORE
    assert (await standing(database)).scrutiny == 0

    later = replace(BODY, id=f"{OTHER.base_url}/doubts/3", published=START + INTERVAL)
    assert await hear(database, teller, doubt(later), now=later.published) is Heard.SCRUTINY


async def test_a_doubt_from_long_ago_is_not_acted_upon(database: Database) -> None:
    teller = await know(database, OTHER)
    await know(database)

    assert await hear(database, teller, doubt(), now=START + timedelta(days=2)) is Heard.TOLD_BEFORE


async def test_a_doubt_about_one_that_is_not_relied_on_is_left_alone(database: Database) -> None:
    teller = await know(database, OTHER)

    assert await hear(database, teller, doubt()) is Heard.NOTHING


async def test_what_the_teller_did_not_sign_is_not_heard(database: Database) -> None:
    teller = await know(database, OTHER)
    await know(database)
    forged = build_doubt(BODY, key=PEER.signing_key, verification_method=OTHER.verification_method)

    assert await hear(database, teller, forged) is None
    assert (await standing(database)).scrutiny == 0


async def test_our_own_doubt_goes_into_the_feed_once_a_day_and_names_no_media(database: Database) -> None:
    assert await tell(database)
    assert not await tell(database, now=START + timedelta(hours=23))
    assert await tell(database, now=START + INTERVAL)

    async with database.connection() as conn:
        items = await feed.read(conn, cursor=0, peer=PEER.actor, visible_at=None, limit=10)
    assert len(items) == 2
    body = parse_doubt(items[0].object).body
    assert (items[0].kind, body.teller, body.issuer) == (FeedKind.NOTICE, US.actor, PEER.actor)
    assert set(json.loads(items[0].object)) == {
        "@context",
        "id",
        "type",
        "attributedTo",
        "to",
        "published",
        "object",
        "profile",
        "key",
        "proof",
    }


async def test_two_disagreements_close_together_are_told_and_one_is_not(database: Database) -> None:
    await know(database)
    told = []
    for number in range(2):
        given = Given(
            sha256=bytes([number] * 32),
            issuer=PEER.actor,
            profile=profile_of(PEER),
            key_id=PEER.verification_method,
            attestation_id=f"{PEER.base_url}/attestations/{number}",
        )
        async with database.transaction() as conn:
            await weigh_audit(
                conn,
                given,
                trust.Audited.DISAGREES,
                now=START,
                on_doubt=partial(tell_doubt, identity=US),
            )
            told.append(len(await feed.read(conn, cursor=0, peer=OTHER.actor, visible_at=None, limit=10)))

    assert told == [0, 1]
