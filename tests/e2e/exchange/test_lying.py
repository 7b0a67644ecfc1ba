"""A relay that attests without looking is found out by whoever audits it, and all who trust that one hear."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from db import audit, cases
from db.feed import FeedKind
from db.peers import Tier
from relay.lifecycle import State
from relay.stages.rely import AUDIT_WITHIN
from relay.trust import SCRUTINY
from tests.e2e.exchange.instance import befriend, end_batches, open_instances
from tests.e2e.world import wait_until
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.exchange.conftest import MakeDatabases
    from tests.e2e.exchange.instance import Instance
    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

# With this seed three of the first twelve are audited: as many disagreements as Wald's test takes.
_SEED = 9
_LIES = 12


def draw(number: int) -> bytes:
    return encode(marker(number), "PNG")


async def test_a_liar_is_demoted_and_what_was_relied_on_is_withheld(
    world: World, make_databases: MakeDatabases
) -> None:
    async with open_instances(world, await make_databases(3)) as (a, b, c):
        for one in (b, c):
            await befriend(one, a)
            await one.trust(a)
        await befriend(c, b)
        await c.trust(b)
        harmful = [draw(930 + number) for number in range(_LIES)]
        a.model.is_blind = True
        for one in (a, b, c):
            one.model.find_harm_in(*harmful)
        b.toss(random.Random(_SEED).random)

        for number, picture in enumerate(harmful):
            url = await a.attest(f"{number}.png", picture)
            assert (await b.receive(a, url)).state is State.FORWARDED
        assert b.model.count(*harmful) == 0

        for one in (a, b, c):
            one.advance(AUDIT_WITHIN)
        await _wait_for_tier(b, a, Tier.QUARANTINED)
        # All of it is scanned again, and from now on nothing of it is let through.
        await b.wait_for_scan(*harmful)
        await _wait_for_cases(b, _LIES)
        assert (await b.receive(a, a.url_of("0.png"))).state is State.HELD
        fresh = draw(950)
        fresh_url = await a.attest("fresh.png", fresh)
        assert (await b.receive(a, fresh_url)).state is State.FORWARDED
        assert b.model.count(fresh) == 1
        assert "peer_quarantined" in await _list_events(b)

        # C hears of it from B, whom it trusts, and looks at everything itself for a while.
        await b.wait_for_published(FeedKind.NOTICE)
        await end_batches(a, b, c)
        await c.read_feed(b)
        assert (await c.find_standing(a)).scrutiny == SCRUTINY
        assert (await c.receive(a, a.url_of("1.png"))).state is State.HELD
        assert c.model.count(harmful[1]) == 1
        # It censors nobody: what nothing is found in goes on.
        assert (await c.receive(a, fresh_url)).state is State.FORWARDED
        assert (await c.find_peer(a)).tier is Tier.TRUSTED


async def _wait_for_tier(side: Instance, other: Instance, tier: Tier) -> None:
    async def find() -> bool | None:
        return True if (await side.find_peer(other)).tier is tier else None

    await wait_until(find, f"a peer that is {tier}")


async def _wait_for_cases(side: Instance, count: int) -> None:
    async def find() -> bool | None:
        async with side.scene.database.connection() as conn:
            return True if len(await cases.list_cases(conn, limit=100)) >= count else None

    await wait_until(find, f"{count} cases")


async def _list_events(side: Instance) -> set[str]:
    async with side.scene.database.connection() as conn:
        return {entry.event for entry in await audit.list_entries(conn, limit=100)}
