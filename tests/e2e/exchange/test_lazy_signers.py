"""A relay that signs without scanning is found out although there is nothing in what it signs."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from db import reliance
from db.peers import Tier
from relay.exchange.canaries import CHANCE_BYTES, draw
from relay.lifecycle import State
from relay.stages.rely import AUDIT_WITHIN
from scanner.report import RunOutcome, Verdict
from tests.e2e.exchange.instance import ADMIN, befriend, end_batches, open_instances
from tests.e2e.world import wait_until
from tests.images import encode, marker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scanner.report import Report
    from tests.e2e.exchange.conftest import MakeDatabases
    from tests.e2e.exchange.instance import Instance
    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

_AUDITED = 0.05
"""What the coin shows for an audit, half a minute after a word was relied on."""


def picture(number: int) -> bytes:
    return encode(marker(number), "PNG")


@contextlib.asynccontextmanager
async def open_auditor(
    world: World, make_databases: MakeDatabases
) -> AsyncIterator[tuple[Instance, Instance, Instance]]:
    """Open an honest relay, a lazy one, and one that trusts and audits both."""
    async with open_instances(world, await make_databases(3)) as (honest, lazy, auditor):
        for one in (honest, lazy, auditor):
            one.model.tells_scores = True
        for one in (honest, lazy):
            await befriend(auditor, one)
            await auditor.trust(one)
        auditor.toss(lambda: _AUDITED)
        yield honest, lazy, auditor


async def test_a_lazy_signer_is_given_away_by_the_scores_it_invented_and_an_honest_one_is_credited(
    world: World, make_databases: MakeDatabases
) -> None:
    async with open_auditor(world, make_databases) as (honest, lazy, auditor):
        lazy.model.is_blind = True
        before = await auditor.find_standing(honest)
        for number in range(3):
            for one, name in ((honest, 3000 + number), (lazy, 3100 + number)):
                url = await one.attest(f"{name}.png", picture(name))
                assert (await auditor.receive(one, url)).state is State.FORWARDED
        assert auditor.model.count(*(picture(3100 + number) for number in range(3))) == 0

        for one in (honest, lazy, auditor):
            one.advance(AUDIT_WITHIN)

        # There is nothing in any of these pictures; that it did not look is all that it did.
        await _wait_for_tier(auditor, lazy, Tier.QUARANTINED)
        await _wait_for_outcomes(auditor, honest, {"agrees": 3})
        assert await _find_grounds(auditor, lazy) == {"scores": 3}
        after = await auditor.find_standing(honest)
        assert after.agreements == before.agreements + 3
        assert (await auditor.find_peer(honest)).tier is Tier.TRUSTED


async def test_a_lazy_signer_attests_a_canary_and_an_honest_relay_does_not(
    world: World, make_databases: MakeDatabases
) -> None:
    async with open_auditor(world, make_databases) as (honest, lazy, auditor):
        _scan_nothing(lazy)
        # Fresh chance would do; what is fixed here makes the same picture in every run.
        canary = await draw(
            auditor.scene.database,
            chance=bytes(CHANCE_BYTES),
            note="for everybody",
            by=ADMIN,
            now=auditor.clock.now(),
        )
        # Its own server shows it, as it would any picture.
        url = auditor.serve("lighthouse.png", canary)
        assert (await lazy.receive(auditor, url)).state is State.FORWARDED
        await lazy.scene.wait_for_attestation(canary)
        # An honest relay's people see what it is, and nobody is told that nothing was found.
        assert (await honest.receive(auditor, url)).state is State.HELD
        assert await honest.scene.find_attestation(canary) is None

        await end_batches(honest, lazy, auditor)
        for one in (honest, lazy):
            await auditor.read_feed(one)
        auditor.parts.audits.wake()

        await _wait_for_tier(auditor, lazy, Tier.QUARANTINED)
        assert await _find_grounds(auditor, lazy) == {"canary": 1}
        assert await _find_grounds(auditor, honest) == {}
        assert (await auditor.find_peer(honest)).tier is Tier.TRUSTED


def _scan_nothing(lazy: Instance) -> None:
    """Let a relay say of everything that it was scanned and nothing found, without having looked."""
    scanning = lazy.tools.scans.scanning
    scanner = scanning._scanner
    looks, finishes = scanner.begin, scanner.finish

    def begin(data: bytes, *, declared_type: str | None = None) -> object:
        begun = looks(data, declared_type=declared_type)
        return replace(begun, report=_deny(begun.report))

    def finish(begun: object) -> Report:
        return _deny(finishes(begun))  # type: ignore[arg-type]  # it is what begin returned

    object.__setattr__(scanner, "begin", begin)
    object.__setattr__(scanner, "finish", finish)
    object.__setattr__(
        scanner, "scan", lambda data, *, declared_type=None: finish(begin(data, declared_type=declared_type))
    )


def _deny(report: Report) -> Report:
    runs = tuple(
        replace(run, outcome=RunOutcome.RAN if run.outcome is not RunOutcome.SPARED else run.outcome)
        for run in report.detectors
    )
    return replace(report, verdict=Verdict.NO_MATCH, reason=None, findings=(), detectors=runs)


async def _wait_for_tier(side: Instance, other: Instance, tier: Tier) -> None:
    async def find() -> bool | None:
        return True if (await side.find_peer(other)).tier is tier else None

    await wait_until(find, f"a peer that is {tier}")


async def _wait_for_outcomes(side: Instance, other: Instance, outcomes: dict[str, int]) -> None:
    async def find() -> bool | None:
        async with side.scene.database.connection() as conn:
            return True if await reliance.count_outcomes(conn, other.actor) == outcomes else None

    await wait_until(find, f"audits that came to {outcomes}")


async def _find_grounds(side: Instance, other: Instance) -> dict[str, int]:
    async with side.scene.database.connection() as conn:
        return await reliance.count_grounds(conn, other.actor)
