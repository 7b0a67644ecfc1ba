"""One scan serves many instances: the costly detectors are asked once, the lists everywhere."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from db import verdicts
from relay.lifecycle import State
from tests.e2e.exchange.instance import befriend, end_batches, open_instances
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.exchange.conftest import MakeDatabases, Trio
    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


def draw(number: int) -> bytes:
    return encode(marker(number), "PNG")


async def test_what_its_own_instance_has_scanned_is_not_scanned_by_two_others(trio: Trio) -> None:
    a, b, c = trio
    picture = draw(901)
    url = await a.attest("one.png", picture)

    for one in (b, c):
        stored = await one.receive(a, url)
        assert stored.state is State.FORWARDED

    assert [one.model.count(picture) for one in trio] == [1, 0, 0]
    for one in (b, c):
        assert len(await one.find_reliance(picture)) == 1
        # What rests on another's word is neither attested again nor kept as a verdict of one's own.
        assert await one.scene.find_attestation(picture) is None
        async with one.scene.database.connection() as conn:
            assert await verdicts.find_latest(conn, hashlib.sha256(picture).digest()) is None


async def test_what_nobody_has_scanned_is_scanned_by_each(trio: Trio) -> None:
    a, b, c = trio
    picture = draw(902)
    url = a.serve("two.png", picture)
    for one in (b, c):
        assert (await one.receive(a, url)).state is State.FORWARDED
    assert [one.model.count(picture) for one in (b, c)] == [1, 1]


async def test_what_a_list_of_ones_own_holds_is_withheld_whatever_a_peer_attests(trio: Trio) -> None:
    a, b, _ = trio
    picture = draw(903)
    url = await a.attest("three.png", picture)
    await b.import_list(picture)

    stored = await b.receive(a, url)

    assert stored.state is State.HELD
    assert [case.basis for case in await b.scene.cases_of(stored)] == ["exact_hash"]
    assert await b.find_reliance(picture) == ()


@pytest.mark.parametrize("way", ["lookup", "feed", "inline"])
async def test_each_way_to_a_word_spares_the_scan_by_itself(
    way: str, world: World, make_databases: MakeDatabases
) -> None:
    settings = {
        "exchange_uses_headers": "false",
        "exchange_uses_inline": str(way == "inline").lower(),
        "exchange_asks_origin": str(way == "lookup").lower(),
        "exchange_uses_feed": str(way == "feed").lower(),
    }
    async with open_instances(world, await make_databases(2), **settings) as (a, b):
        await befriend(b, a)
        await b.trust(a)
        picture = draw(904)
        url = await a.attest("four.png", picture)
        if way == "feed":
            # Those who are not allied see what was issued at the end of its batch.
            await b.read_feed(a)
            assert await b.list_mirrored(picture) == ()
            await end_batches(a, b)
            await b.read_feed(a)
        activity = a.create(url)
        if way == "inline":
            await a.carry_inline(activity, picture)
        assert (await b.receive_activity(a, activity)).state is State.FORWARDED
        assert [one.model.count(picture) for one in (a, b)] == [1, 0]
