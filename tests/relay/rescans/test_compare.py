"""What the hashes of seen media are compared for is done once for each, whatever else goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, media_hashes
from relay.model import MediaDecision, MediaOutcome
from relay.rescans.compare import Compared, compare
from relay.rescans.worker import RescanWorker
from tests.e2e.world import wait_until
from tests.relay.exchange.trusting import open_costly_scanner, open_trusting
from tests.relay.rescans.seen import carry, draw, let_go, list_stale, use_list
from tests.relay.stages.parts import evidence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from db.pool import Database
    from scanner.scan import Scanner
    from tests.relay.exchange.trusting import CostlyDetector, Trusting

OLD, NEW = draw(1), draw(2)
LISTED = hashlib.sha256(OLD).digest()


@pytest.fixture(scope="module")
def costly() -> Iterator[tuple[Scanner, CostlyDetector]]:
    with pytest.MonkeyPatch.context() as patch, open_costly_scanner(patch) as opened:
        yield opened


@pytest.fixture
async def relay(
    database: Database, costly: tuple[Scanner, CostlyDetector], tmp_path: Path
) -> AsyncIterator[Trusting]:
    """A relay that has let two pictures go, which are nowhere to be had any more."""
    async with open_trusting(database, costly, tmp_path) as opened:
        await let_go(opened, OLD)
        await let_go(opened, NEW)
        yield opened
        await use_list(opened)


async def go_through(relay: Trusting) -> Compared:
    return await compare(await list_stale(relay), tools=relay)  # type: ignore[arg-type]  # all that it asks for


async def count_cases(relay: Trusting) -> int:
    async with relay.database.connection() as conn:
        return len(await cases.list_cases(conn, limit=9))


async def test_what_a_list_holds_now_is_stopped_and_nothing_else(relay: Trusting) -> None:
    await use_list(relay, LISTED)
    assert await go_through(relay) == Compared(compared=2, matched=1)
    assert await list_stale(relay) == ()
    assert await count_cases(relay) == 1
    assert (await relay.examine(OLD)).decision is MediaDecision.WITHHOLD
    assert (await relay.examine(NEW)).decision is MediaDecision.RELEASE


async def test_hashes_that_cannot_be_read_hold_nothing_else_up_and_their_digest_counts(
    relay: Trusting,
) -> None:
    async with relay.database.connection() as conn:
        await conn.execute("UPDATE media_hashes SET pictures = $1", b"\xffas another version packs")
    await use_list(relay, LISTED)
    assert await go_through(relay) == Compared(compared=2, matched=1)
    assert await count_cases(relay) == 1


async def test_a_list_that_is_taken_back_meanwhile_stops_nothing(
    relay: Trusting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_nothing(*_: object, **__: object) -> None:
        await use_list(relay)

    monkeypatch.setattr("relay.rescans.compare.look_again", find_nothing)
    await use_list(relay, LISTED)
    assert (await go_through(relay)).matched == 0
    assert await count_cases(relay) == 0
    # What was done with the other list does not count for this one.
    assert {one.sha256 for one in await list_stale(relay)} == {LISTED, hashlib.sha256(NEW).digest()}


async def test_what_nothing_can_look_at_now_is_compared_again(
    relay: Trusting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> MediaOutcome:
        return MediaOutcome(evidence=evidence(), decision=MediaDecision.WITHHOLD, retry=True)

    await use_list(relay, LISTED)
    with monkeypatch.context() as patch:
        patch.setattr("relay.rescans.compare.look_again", fail)
        assert await go_through(relay) == Compared(compared=1, matched=0)
    assert [one.sha256 for one in await list_stale(relay)] == [LISTED]
    assert await go_through(relay) == Compared(compared=1, matched=1)


async def test_a_server_that_keeps_us_waiting_leaves_the_word_to_the_hashes(
    relay: Trusting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait_for_ever(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("relay.rescans.compare.look_again", wait_for_ever)
    monkeypatch.setattr("relay.rescans.compare._LOOK_WITHIN", timedelta())
    await use_list(relay, LISTED)
    assert await go_through(relay) == Compared(compared=2, matched=1)


async def test_nobody_is_asked_about_what_only_a_self_test_brought(relay: Trusting) -> None:
    await carry(relay.database, LISTED, is_selftest=True)
    await use_list(relay, LISTED)
    assert await go_through(relay) == Compared(compared=2, matched=0)
    assert await count_cases(relay) == 0


@pytest.mark.parametrize("has_basis", [True, False])
async def test_what_only_some_may_see_is_looked_at_only_as_long_as_there_is_a_legal_basis(
    has_basis: bool,  # noqa: FBT001 (pytest passes it by name)
    relay: Trusting,
) -> None:
    await carry(relay.database, LISTED, audience="restricted")
    relay.examines_restricted = has_basis
    await use_list(relay, LISTED)
    assert await go_through(relay) == Compared(compared=2, matched=int(has_basis))
    assert await count_cases(relay) == int(has_basis)


async def test_two_relays_at_once_ask_a_person_once(relay: Trusting) -> None:
    await use_list(relay, LISTED)
    both = await asyncio.gather(go_through(relay), go_through(relay))
    assert {one.matched for one in both} == {1}
    assert await count_cases(relay) == 1
    assert await list_stale(relay) == ()


async def test_once_all_is_compared_only_what_came_lately_is_looked_through(
    relay: Trusting, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[timedelta] = []
    list_from_database = media_hashes.list_stale

    async def watch(*args: object, **named: object) -> object:
        since = named["since"]
        asked.append(relay.clock.now() - since)  # type: ignore[operator]  # it is a time
        return await list_from_database(*args, **named)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr("relay.rescans.worker.media_hashes.list_stale", watch)
    worker = RescanWorker(relay)  # type: ignore[arg-type]  # all that it asks for

    async def wait_for(count: int) -> None:
        async def is_done() -> bool | None:
            return True if len(asked) >= count else None

        await wait_until(is_done, "a pass")

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await wait_for(1)
        worker.wake()
        await wait_for(2)
        # A change makes all of it worth a look again.
        await use_list(relay, LISTED)
        worker.wake()
        await wait_for(4)
        worker.stop()
    ever = timedelta(days=1_000)
    assert asked[0] > ever
    assert asked[1] <= timedelta(days=2)
    assert asked[2] > ever
    assert await list_stale(relay) == ()
