"""What a person blocked is taken back among others, and only where the attestation went."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from db import attestations, feed, given_out, peering, rulings
from db.attestations import StoredAttestation
from db.feed import FeedKind
from db.peers import Following
from db.rulings import Ruling, RulingKind
from relay.exchange.items import DECOYS, take_back_items
from relay.exchange.publisher import publish_objects
from signatures.revocation import Scope, parse_revocation
from tests.fediverse.clock import START
from tests.relay.exchange.pair import OTHER, PEER, US, know
from tests.relay.exchange.sides import attest, digest_of

if TYPE_CHECKING:
    from db.pool import Database
    from tests.relay.exchange.pair import Identity

BLOCKED = 5


async def give_out(database: Database, count: int) -> None:
    """Attest and publish, and then let a person block one of these."""
    async with database.transaction() as conn:
        for number in range(count):
            signed = attest(US, number)
            await attestations.insert_attestation(
                conn,
                StoredAttestation(
                    id=str(number),
                    sha256=digest_of(number),
                    profile=US.profile("image-1"),
                    state_digest=bytes(32),
                    published=START,
                    end_time=START + timedelta(days=1),
                    is_withheld_share=False,
                    audience="public",
                    object=signed,
                ),
            )
            await publish_objects(conn, FeedKind.ATTESTATION, (signed,), now=START)
        await rulings.set_ruling(
            conn,
            Ruling(sha256=digest_of(BLOCKED), ruling=RulingKind.BLOCK, ruled_by="mod", ruled_at=START),
        )


async def let_read(database: Database, identity: Identity, *cursors: int) -> None:
    await know(database, identity)
    async with database.connection() as conn:
        await peering.set_they_follow(conn, identity.actor, to=Following.ACCEPTED, follow_id="f", now=START)
        for cursor in cursors:
            await given_out.note_served(conn, identity.actor, cursor=cursor)


async def take_back(database: Database) -> int:
    async with database.transaction() as conn:
        return await take_back_items(conn, identity=US, now=START)


async def received(database: Database, identity: Identity, *, after: int) -> set[str]:
    async with database.connection() as conn:
        items = await feed.read(conn, cursor=after, peer=identity.actor, visible_at=None, limit=500)
    bodies = [parse_revocation(item.object).body for item in items]
    assert {(body.scope, body.audience) for body in bodies} <= {(Scope.ATTESTATION, identity.actor)}
    return {body.object.rpartition("/")[2] for body in bodies}


async def is_live(database: Database, number: int) -> bool:
    async with database.connection() as conn:
        found = await attestations.find_attestation(conn, str(number))
    assert found is not None
    return found.end_time > START


async def test_a_blocked_item_is_taken_back_among_nine_others_from_whom_it_went_to(
    database: Database,
) -> None:
    await give_out(database, 30)
    await let_read(database, PEER, 0, 20, 30)
    # It began to read after that one was given out.
    await let_read(database, OTHER, 10, 30)

    assert await take_back(database) == 1
    assert await take_back(database) == 0

    taken = await received(database, PEER, after=30)
    assert len(taken) == 1 + DECOYS
    assert str(BLOCKED) in taken
    assert await received(database, OTHER, after=30) == set()
    assert not any([await is_live(database, int(name)) for name in taken])
    assert sum([await is_live(database, number) for number in range(30)]) == 30 - 1 - DECOYS


async def test_where_too_few_others_were_received_nothing_is_said(database: Database) -> None:
    await give_out(database, DECOYS)
    await let_read(database, PEER, 0, DECOYS)

    assert await take_back(database) == 1

    assert await received(database, PEER, after=DECOYS) == set()
    # It is answered no more all the same.
    assert not await is_live(database, BLOCKED)


async def test_who_has_not_come_so_far_is_told_nothing(database: Database) -> None:
    await give_out(database, 30)
    await let_read(database, PEER, 0, BLOCKED)

    assert await take_back(database) == 1
    assert await received(database, PEER, after=30) == set()
