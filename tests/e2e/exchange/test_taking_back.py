"""What a relay takes back, its peers scan again: after a change of lists, and after the theft of a key."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db.feed import FeedKind
from relay.exchange.intake import Rejected, admit
from relay.exchange.revocations import SPREAD
from relay.lifecycle import State
from relay.tools.key_files import revoke_signing_key
from signatures.attestation import build_attestation, parse_attestation
from signatures.errors import Reason
from tests.e2e.exchange.instance import befriend, end_batches, open_instances
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.exchange.conftest import MakeDatabases
    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

# A peer's actor is fetched again at most so often.
_REFETCH_AFTER = timedelta(minutes=11)


def draw(number: int) -> bytes:
    return encode(marker(number), "PNG")


async def test_what_rested_on_lists_that_have_changed_is_scanned_by_each(
    world: World, make_databases: MakeDatabases
) -> None:
    async with open_instances(world, await make_databases(3)) as (a, b, c):
        picture, other = draw(911), draw(912)
        for one in (b, c):
            await befriend(one, a)
            await one.trust(a)
        url = await a.attest("one.png", picture)
        for one in (b, c):
            assert (await one.receive(a, url)).state is State.FORWARDED
        assert [one.model.count(picture) for one in (a, b, c)] == [1, 0, 0]

        await a.import_list(other)
        await a.wait_for_published(FeedKind.REVOCATION)
        await end_batches(a, b, c)
        for one in (b, c):
            await one.read_feed(a)
        # Lists change every day, so that nobody is in a hurry.
        for one in (a, b, c):
            one.advance(SPREAD)
        for one in (b, c):
            await one.wait_for_scan(picture)

        assert [one.model.count(picture) for one in (b, c)] == [1, 1]
        # It is taken back for good; what is attested under the new lists counts again.
        fresh = draw(913)
        fresh_url = await a.attest("two.png", fresh)
        assert (await b.receive(a, fresh_url)).state is State.FORWARDED
        assert b.model.count(fresh) == 0


async def test_nothing_counts_that_came_since_a_key_was_stolen(
    world: World, make_databases: MakeDatabases
) -> None:
    async with open_instances(world, await make_databases(3)) as (a, b, c):
        everybody = (a, b, c)
        for one in (b, c):
            await befriend(one, a)
            await one.trust(a)
        early, late, forged = draw(921), draw(922), draw(923)
        first = await a.attest("one.png", early)
        for one in (b, c):
            await one.receive(a, first)
        for one in everybody:
            one.advance(timedelta(minutes=5))
        stolen_at = a.clock.now()
        stolen, method = a.identity.signing_key, a.identity.verification_method
        for one in everybody:
            one.advance(timedelta(minutes=5))
        second = await a.attest("two.png", late)
        for one in (b, c):
            await one.receive(a, second)
            assert (one.model.count(early), one.model.count(late)) == (0, 0)

        await a.stop()
        revoke_signing_key(a.settings.server.data_dir, since=stolen_at, now=a.clock.now())
        await a.start_again()
        await a.wait_for_published(FeedKind.REVOCATION)
        for one in everybody:
            one.advance(_REFETCH_AFTER)
        await end_batches(*everybody)
        for one in (b, c):
            await one.read_feed(a)
            await one.wait_for_scan(late)
            # What came before the theft stands.
            assert one.model.count(early) == 0
            assert await one.list_mirrored(late) == ()
            assert len(await one.list_mirrored(early)) == 1

        # The thief dates as it likes; the time that counts is that of receipt.
        honest = await a.scene.find_attestation(early)
        assert honest is not None
        body = parse_attestation(honest.object, allow_http=True).body
        forgery = replace(body, id=f"{body.id}X", sha256=hashlib.sha256(forged).digest(), size=len(forged))
        back_dated = build_attestation(forgery, key=stolen, verification_method=method)
        found = await admit(back_dated, database=b.scene.database, now=b.clock.now(), allow_http=True)
        assert isinstance(found, Rejected)
        assert found.reason is Reason.KEY_REVOKED
