"""The loop that keeps lists up to date while a relay runs."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from relay.metrics import Metrics
from relay.sources.model import FailureKind, SourceFailure, SourceKind
from relay.sources.sync import decide_wait
from relay.sources.worker import ListSyncs, find_ages, is_stale
from tests.lists_servers import Fault
from tests.relay.sources.parts import EVERY
from tests.relay.sources.test_files import csv, listed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from tests.lists_servers import FileServer
    from tests.relay.sources.parts import Fetching

POLL = timedelta(milliseconds=20)


@contextlib.asynccontextmanager
async def at_work(*loops: ListSyncs) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop.run())
        try:
            yield
        finally:
            for loop in loops:
                loop.stop()


async def wait_for(fetching: Fetching, entries: int, *, error_kind: str | None = None) -> None:
    """Wait until a list has so many entries, and nobody is at it."""
    async with asyncio.timeout(30):
        while True:
            source = await fetching.source()
            if (source.entries, source.error_kind, source.worker) == (entries, error_kind, None):
                return
            await asyncio.sleep(POLL.total_seconds())


async def test_a_new_list_is_fetched_at_once_and_again_when_it_is_due(
    fetching: Fetching, files: FileServer
) -> None:
    metrics = Metrics()
    loop = ListSyncs(fetching.tools(), metrics=metrics)
    files.data = csv("abc")
    async with at_work(loop):
        await fetching.add(SourceKind.CSV, files.url)
        await wait_for(fetching, 3)
        source = await fetching.source()
        assert 0.9 * EVERY <= source.due_at - fetching.clock.now() <= 1.1 * EVERY
        files.data = csv("abcd")
        loop.wake()
        assert len(files.asked) == 1
        fetching.clock.advance(2 * EVERY)
        loop.wake()
        await wait_for(fetching, 4)
    assert await fetching.listed() == listed("abcd")
    shown = metrics.render()[0].decode()
    assert 'breakwater_list_syncs_total{kind="csv",outcome="done"} 2.0' in shown
    assert files.url not in shown


async def test_two_relays_fetch_a_list_once(fetching: Fetching, files: FileServer) -> None:
    files.data = csv("abc")
    loops = [ListSyncs(fetching.tools(worker=name), metrics=Metrics()) for name in ("one", "two")]
    async with at_work(*loops):
        await fetching.add(SourceKind.CSV, files.url)
        await wait_for(fetching, 3)
        for loop in loops:
            loop.wake()
    assert len(files.asked) == 1


async def test_a_failure_of_our_own_is_noted_and_stops_no_other_list(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("https://lists.example/secret")

    monkeypatch.setattr("relay.sources.worker.sync_source", fail)
    loop = ListSyncs(fetching.tools(), metrics=Metrics())
    async with at_work(loop):
        await fetching.add(SourceKind.CSV, "https://lists.example/")
        await wait_for(fetching, 0, error_kind="internal")
    assert "lists.example" not in caplog.text


async def test_the_age_of_a_list_counts_from_its_last_whole_fetch(
    fetching: Fetching, files: FileServer
) -> None:
    await fetching.add(SourceKind.CSV, files.url)
    fetching.clock.advance(timedelta(days=1))
    now = fetching.clock.now()
    assert find_ages([await fetching.source()], now=now) == {"csv": timedelta(days=1)}
    files.data = csv("a")
    await fetching.sync()
    files.faults.extend([Fault(status=500)] * 3)
    fetching.clock.advance(timedelta(days=3))
    await fetching.sync()
    source, now = await fetching.source(), fetching.clock.now()
    assert find_ages([source], now=now) == {"csv": timedelta(days=3)}
    assert is_stale(source, now=now)
    assert not is_stale(replace(source, is_withdrawn=True), now=now)
    assert not is_stale(replace(source, every=timedelta(days=7)), now=now)


def test_what_may_pass_is_tried_again_ever_less_often_and_what_lasts_hourly() -> None:
    away = SourceFailure(kind=FailureKind.UNAVAILABLE, detail="")
    waits = [decide_wait(away, tries=tries, every=EVERY) for tries in range(1, 30)]
    assert waits[0] == timedelta(minutes=1)
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(hours=6)
    asked = replace(away, retry_after=timedelta(hours=9))
    assert decide_wait(asked, tries=1, every=EVERY) == timedelta(hours=9)
    refused = SourceFailure(kind=FailureKind.UNAUTHORIZED, detail="")
    assert decide_wait(refused, tries=1, every=timedelta(minutes=5)) == timedelta(hours=1)
