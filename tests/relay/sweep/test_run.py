"""A sweep that is stopped goes on where it stopped, each file is counted once, and one sweeps at a time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import audit, sweeps
from db.errands import ErrandKind
from db.errors import DatabaseError
from relay.stages.act import Acting
from relay.sweep.begin import LEASE, Order, SweepRefusedError
from relay.sweep.counting import Counters, Kind, counters_from_json
from relay.sweep.examine import Manner
from relay.sweep.local import LocalSource
from relay.sweep.run import MAX_ERRORS_IN_A_ROW, Summary, run_sweep
from relay.sweep.source import FileUnreadableError, FileVanishedError, SourceError, Trouble
from scanner.canary import draw_canary
from scanner.labels import Category
from tests.fediverse.clock import START
from tests.relay.sweep.parts import BROKEN, PAGE, ListedSource, Watching, fresh_canary, picture, write_tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.sweep.examine import SweepTools
    from relay.sweep.source import Entry, Opened, Source, StoredFile
    from tests.fediverse.clock import FrozenClock

DRY = Order(manner=Manner(is_dry_run=True), holder="one", width=2)
ACTING = replace(DRY, manner=Manner(is_dry_run=False))
TREE = {
    "1/canary.png": draw_canary(),
    "1/copy.png": picture(1),
    "2/broken.png": BROKEN,
    "2/near.png": fresh_canary(),
    "3/page.html": PAGE,
    "3/picture.png": picture(1),
    "3/picture2.png": picture(2),
    ".hidden": b"",
}


async def sweep(
    source: Source,
    tools: SweepTools,
    order: Order = DRY,
    *,
    watcher: Watching | None = None,
    stop: asyncio.Event | None = None,
) -> Summary:
    return await run_sweep(
        source, order, tools=tools, watcher=watcher or Watching(), stop=stop or asyncio.Event()
    )


class StoppingSource(ListedSource):
    """Has the sweep told to stop while a file is open, and gives the file out only afterwards."""

    def __init__(self, files: dict[str, bytes], stop: asyncio.Event, at: str) -> None:
        super().__init__(files)
        self._stop, self._at = stop, at

    @asynccontextmanager
    async def open(self, file: StoredFile) -> AsyncIterator[Opened]:
        if file.name == self._at:
            self._stop.set()
        async with super().open(file) as opened:
            yield opened


class FailingSource(ListedSource):
    """Fails for some files, or in the middle of the list."""

    trouble: FileUnreadableError | FileVanishedError = FileUnreadableError(Trouble.SERVER_ERROR)
    bad: frozenset[str] = frozenset()
    breaks_before = ""

    async def list_files(self, after: bytes) -> AsyncIterator[Entry]:
        async for entry in super().list_files(after):
            if entry.name == self.breaks_before:
                raise SourceError("The store went away.")
            yield entry

    @asynccontextmanager
    async def open(self, file: StoredFile) -> AsyncIterator[Opened]:
        if file.name in self.bad:
            raise self.trouble
        async with super().open(file) as opened:
            yield opened


def numbered(count: int) -> dict[str, bytes]:
    return {f"{number:03}.txt": b"text" for number in range(count)}


async def test_a_tree_is_counted_by_what_came_of_its_files(tools: SweepTools, tmp_path: Path) -> None:
    source, watcher = LocalSource(write_tree(tmp_path / "media", TREE)), Watching()
    summary = await sweep(source, tools, watcher=watcher)
    counters = summary.counters
    assert (summary.is_finished, summary.is_resumed, summary.failure) == (True, False, "")
    assert (counters.files, counters.media, counters.found) == (8, 6, 2)
    assert (counters.known, counters.scanned) == (1, 5) or counters.scanned == 6
    assert counters.kinds == {
        Kind.NO_MATCH: 3,
        Kind.MATCH: 2,
        Kind.UNSCANNABLE: 1,
        Kind.NOT_MEDIA: 1,
        Kind.LEFT_OUT: 1,
    }
    assert (counters.matched, counters.unscannable) == ({"spam": 2}, {"truncated": 1})
    assert not counters.is_complete
    assert summary.cases == {}
    assert watcher.expected == [8]
    assert counters_from_json(counters.to_json()) == counters


async def test_an_acting_sweep_finds_everything_known_and_names_its_cases(
    tools: SweepTools, tmp_path: Path
) -> None:
    source, watcher = LocalSource(write_tree(tmp_path / "media", TREE)), Watching()
    removes = Acting(actions={Category.SPAM: ErrandKind.REMOVE}, abilities=frozenset(), own_host="")
    acting = replace(tools, acting=removes)
    await sweep(source, acting)
    summary = await sweep(source, acting, ACTING, watcher=watcher)
    assert summary.counters.known == summary.counters.media == 6
    assert watcher.expected == [8]
    by_name = {result.entry.name: result for result in watcher.seen}
    canary, near = by_name["1/canary.png"].case_id, by_name["2/near.png"].case_id
    assert summary.cases == {canary: True, near: False}
    assert (summary.counters.by_hand, summary.counters.errands) == (1, 0)
    async with tools.database.connection() as conn:
        entries = await audit.list_entries(conn, limit=10)
    finished = [entry.detail for entry in entries if entry.event == "sweep_finished"]
    assert [one["dry_run"] for one in finished] == [False, True]


@pytest.mark.parametrize("width", [1, 3])
async def test_a_stopped_sweep_goes_on_and_counts_every_file_once(tools: SweepTools, width: int) -> None:
    files = {f"{number:02}.png": picture(number % 4) for number in range(20)}
    order, stop, first = replace(DRY, width=width), asyncio.Event(), Watching()
    stopping = StoppingSource(files, stop, at="05.png")
    half = await sweep(stopping, tools, order, watcher=first, stop=stop)
    assert (half.is_finished, half.failure) == (False, "")
    assert first.names == stopping.opened
    assert 6 <= half.counters.files < 20

    second, source = Watching(), ListedSource(files)
    whole = await sweep(source, tools, order, watcher=second)
    assert (whole.is_finished, whole.is_resumed, whole.sweep_id) == (True, True, half.sweep_id)
    assert first.names + second.names == sorted(files)
    assert stopping.opened + source.opened == sorted(files)
    assert whole.counters.files == whole.counters.media == 20
    assert whole.counters.kinds == {Kind.NO_MATCH: 20}

    third = await sweep(ListedSource(files), tools, order)
    assert (third.is_resumed, third.counters.files) == (False, 20)


async def test_restarting_begins_anew(tools: SweepTools) -> None:
    stop = asyncio.Event()
    half = await sweep(StoppingSource(numbered(40), stop, at="002.txt"), tools, stop=stop)
    whole = await sweep(ListedSource(numbered(40)), tools, replace(DRY, restarts=True))
    assert (whole.is_resumed, whole.is_finished, whole.counters.files) == (False, True, 40)
    assert whole.sweep_id != half.sweep_id


async def test_acting_is_refused_before_a_dry_run_was_finished(tools: SweepTools) -> None:
    stop = asyncio.Event()
    files = numbered(40)
    with pytest.raises(SweepRefusedError, match="--dry-run first"):
        await sweep(ListedSource(files), tools, ACTING)
    await sweep(StoppingSource(files, stop, at="002.txt"), tools, stop=stop)
    with pytest.raises(SweepRefusedError, match="--dry-run first"):
        await sweep(ListedSource(files), tools, ACTING)
    assert (await sweep(ListedSource(files), tools, replace(ACTING, skips_dry_run=True))).is_finished
    await sweep(ListedSource(files), tools)
    assert (await sweep(ListedSource(files), tools, ACTING)).is_finished


async def test_one_source_is_swept_by_one_at_a_time(tools: SweepTools, clock: FrozenClock) -> None:
    opened, proceed = asyncio.Event(), asyncio.Event()

    class WaitingSource(ListedSource):
        @asynccontextmanager
        async def open(self, file: StoredFile) -> AsyncIterator[Opened]:
            opened.set()
            await proceed.wait()
            async with super().open(file) as one:
                yield one

    other = replace(DRY, holder="two")
    async with asyncio.TaskGroup() as group:
        first = group.create_task(sweep(WaitingSource(numbered(3)), tools))
        await opened.wait()
        with pytest.raises(SweepRefusedError, match="12:01:00 UTC"):
            await sweep(ListedSource(numbered(3)), tools, other)
        proceed.set()
    assert first.result().is_finished
    # A process that was killed holds its source no longer than its lease.
    async with tools.database.connection() as conn:
        await sweeps.take_lease(conn, ListedSource.name, holder="killed", lease=LEASE, now=START)
    clock.advance(LEASE - timedelta(seconds=1))
    with pytest.raises(SweepRefusedError):
        await sweep(ListedSource(numbered(3)), tools, other)
    clock.advance(timedelta(seconds=1))
    assert (await sweep(ListedSource(numbered(3)), tools, other)).is_finished


async def test_a_sweep_that_lost_its_hold_leaves_the_rest_to_the_other_one(
    tools: SweepTools, clock: FrozenClock
) -> None:
    class TakenOver(ListedSource):
        @asynccontextmanager
        async def open(self, file: StoredFile) -> AsyncIterator[Opened]:
            clock.advance(LEASE)
            async with tools.database.connection() as conn:
                await sweeps.take_lease(conn, self.name, holder="two", lease=LEASE, now=clock.now())
            async with super().open(file) as one:
                yield one

    with pytest.raises(SweepRefusedError, match="took this sweep over"):
        await sweep(TakenOver(numbered(1)), tools)
    async with tools.database.connection() as conn:
        left = await sweeps.find_open(conn, TakenOver.name, is_dry_run=True)
        assert left is not None
        assert left.cursor == b""
        assert await sweeps.find_lease_end(conn, TakenOver.name) is not None


async def test_a_list_that_breaks_off_keeps_what_is_done(tools: SweepTools) -> None:
    source = FailingSource(numbered(30))
    source.breaks_before = "020.txt"
    broken = await sweep(source, tools)
    assert (broken.failure, broken.is_finished) == ("The store went away.", False)
    done = broken.counters.files
    assert done <= 20
    watcher = Watching()
    whole = await sweep(ListedSource(numbered(30)), tools, watcher=watcher)
    assert (whole.counters.files, whole.is_finished, len(watcher.seen)) == (30, True, 30 - done)


async def test_single_files_that_cannot_be_read_are_counted(tools: SweepTools) -> None:
    source = FailingSource(numbered(10))
    source.bad = frozenset({"003.txt", "007.txt"})
    summary = await sweep(source, tools)
    assert (summary.is_finished, summary.counters.is_complete) == (True, False)
    assert summary.counters.errors == {"server_error": 2}
    source.trouble = FileVanishedError("gone")
    summary = await sweep(source, tools)
    assert (summary.is_finished, summary.counters.is_complete) == (True, True)
    assert summary.counters.kinds[Kind.VANISHED] == 2


async def test_a_store_that_fails_altogether_is_not_counted_as_so_many_broken_files(
    tools: SweepTools,
) -> None:
    files = numbered(MAX_ERRORS_IN_A_ROW * 3)
    source = FailingSource(files)
    source.bad = frozenset(sorted(files)[10:])
    broken = await sweep(source, tools)
    assert f"{MAX_ERRORS_IN_A_ROW} files could not be read" in broken.failure
    assert (broken.counters.files, broken.counters.errors) == (10, {})
    whole = await sweep(ListedSource(files), tools)
    assert (whole.counters.files, whole.counters.is_complete) == (len(files), True)


async def test_a_source_that_cannot_be_used_leaves_nothing_behind(tools: SweepTools, tmp_path: Path) -> None:
    source = LocalSource(tmp_path / "missing")
    with pytest.raises(SourceError):
        await sweep(source, tools)
    async with tools.database.connection() as conn:
        assert await sweeps.find_lease_end(conn, source.name) is None
        assert await sweeps.find_open(conn, source.name, is_dry_run=True) is None


async def test_a_database_that_fails_ends_the_sweep_with_its_error(
    tools: SweepTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise DatabaseError("no more room")

    monkeypatch.setattr("relay.sweep.run.examine_entry", fail)
    with pytest.raises(ExceptionGroup) as caught:
        await sweep(ListedSource(numbered(3)), tools)
    assert caught.group_contains(DatabaseError, match="no more room")
    monkeypatch.undo()
    assert (await sweep(ListedSource(numbered(3)), tools)).is_finished


async def test_a_sweep_says_that_the_scanner_changed_since_it_began(tools: SweepTools) -> None:
    stop = asyncio.Event()
    await sweep(StoppingSource(numbered(40), stop, at="002.txt"), tools, stop=stop)
    assert not (await sweep(StoppingSource(numbered(40), stop, at=""), tools, stop=stop)).has_state_changed
    scanning = tools.scans.scanning
    scanning._state = replace(scanning.published_state, digest=bytes(32))
    assert (await sweep(ListedSource(numbered(40)), tools)).has_state_changed


def test_numbers_of_an_older_version_are_read() -> None:
    assert counters_from_json({}) == Counters()
    assert counters_from_json({"files": 3, "matched": {"spam": 1}, "of_old": 1}).matched == {"spam": 1}
