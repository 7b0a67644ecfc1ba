"""What we took back as a whole leaves by no way any more, even before it has ended and in what was kept."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import attestations
from db.attestations import StoredRevocation
from db.feed import FeedKind
from relay.exchange.client import FeedPage
from relay.exchange.prefixes import cut_prefix
from relay.exchange.taken_back import tell_taken_back
from signatures.digests import digest_multibase
from signatures.revocation import Scope
from tests.fediverse import FrozenClock
from tests.fediverse.clock import START
from tests.relay.exchange.sides import Sides, attest, digest_of, keep, open_sides

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.pool import Database
    from relay.tools.identity import Identity

OTHER_PROFILE = "image-0"
SCOPES = [Scope.STATE, Scope.PROFILE, Scope.KEY]


@pytest.fixture
async def sides(database: Database) -> AsyncIterator[Sides]:
    async with open_sides(database, FrozenClock()) as opened:
        await opened.store(keep(opened.us, 1))
        yield opened


def _subject(us: Identity, scope: Scope) -> str:
    return {
        Scope.STATE: digest_multibase(bytes(32)),
        Scope.PROFILE: us.profile("image-1"),
        Scope.KEY: us.verification_method,
    }[scope]


async def _take_back(
    sides: Sides, scope: Scope, *, issuer: str = "", published_after: timedelta = timedelta()
) -> None:
    async with sides.database.connection() as conn:
        await attestations.put_revocation(
            conn,
            StoredRevocation(
                id=f"{sides.us.base_url}/revocations/{scope.value}",
                issuer=issuer or sides.us.actor,
                scope=scope.value,
                subject=_subject(sides.us, scope),
                published=START + published_after,
                received_at=START,
                object=b"{}",
            ),
        )


@pytest.mark.parametrize("scope", SCOPES)
async def test_look_ups_of_digests_and_buckets_leave_it_out(scope: Scope, sides: Sides) -> None:
    (one,) = [attest(sides.us, 1)]
    prefix = cut_prefix(digest_of(1), bits=0)
    assert await sides.client.lookup(sides.peer, [digest_of(1)]) == (one,)
    assert await sides.client.buckets(sides.peer, [prefix]) == (one,)
    await _take_back(sides, scope)
    assert await sides.client.lookup(sides.peer, [digest_of(1)]) == ()
    assert await sides.client.buckets(sides.peer, [prefix]) == ()


@pytest.mark.parametrize("scope", SCOPES)
async def test_whoever_reads_the_feed_from_its_beginning_gets_what_is_left_and_the_end_of_it(
    scope: Scope, sides: Sides
) -> None:
    other = attest(sides.us, 2, profile=OTHER_PROFILE)
    await sides.publish(attest(sides.us, 1))
    await sides.publish(b'{"type":"MediaScanRevocation"}', kind=FeedKind.REVOCATION)
    await sides.publish(other)
    await _take_back(sides, scope)
    sides.clock.advance(timedelta(minutes=2))
    page = await sides.client.feed(sides.peer, 0, 0)
    assert isinstance(page, FeedPage)
    kept = [item.object for item in page.items if item.kind is FeedKind.ATTESTATION]
    # Another profile goes on; state and key are those of both.
    assert kept == ([other] if scope is Scope.PROFILE else [])
    assert [item.kind for item in page.items if item.kind is not FeedKind.ATTESTATION] == [
        FeedKind.REVOCATION
    ]
    assert page.cursor == 3
    again = await sides.client.feed(sides.peer, page.cursor, 0)
    assert isinstance(again, FeedPage)
    assert again.items == ()


async def test_a_profile_goes_on_under_its_name_with_what_was_published_since(sides: Sides) -> None:
    await _take_back(sides, Scope.PROFILE, published_after=timedelta(seconds=-1))
    assert await tell_taken_back([attest(sides.us, 1)], database=sides.database) == (False,)


async def test_nobody_else_takes_back_what_is_ours(sides: Sides) -> None:
    for scope in SCOPES:
        await _take_back(sides, scope, issuer="https://omega.example/actor")
    assert await tell_taken_back([attest(sides.us, 1)], database=sides.database) == (False,)


async def test_a_long_page_is_told_apart_item_by_item(sides: Sides) -> None:
    names = [OTHER_PROFILE if number % 3 else "image-1" for number in range(100)]
    objects = [attest(sides.us, number, profile=name) for number, name in enumerate(names)]
    await _take_back(sides, Scope.PROFILE)
    told = await tell_taken_back(objects, database=sides.database)
    assert told == tuple(name == "image-1" for name in names)
