"""Sweep a source from where it stopped to its end, and keep how far that is.

Several files are examined side by side; their results are counted in the order of the list, so that behind
the saved place nothing is missing and before it nothing is counted twice. Being told to stop, the sweep takes
no new file, ends those that it has begun, and saves its place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from db import audit, sweeps
from db.errors import DatabaseError
from db.sweeps import SweepState
from relay.sweep.begin import LEASE, Order, SweepRefusedError, begin, hold_lease
from relay.sweep.counting import Counters, Deed, Kind, counters_from_json
from relay.sweep.examine import examine_entry
from relay.sweep.source import SourceError

if TYPE_CHECKING:
    from db.sweeps import Sweep
    from relay.sweep.counting import Result
    from relay.sweep.examine import SweepTools
    from relay.sweep.source import Entry, Source

CHECKPOINT_EVERY: Final = timedelta(seconds=2)
"""So much work is lost with a process that is killed; its verdicts are kept."""

# Files that wait in order behind a slow one, for each that is examined: enough that one stops nobody.
_WAITING: Final = 4

MAX_ERRORS_IN_A_ROW: Final = 25
"""One file may be broken; so many one after the other mean that the store is."""

MAX_LISTED_CASES: Final = 1_000
"""More numbers than this nobody reads; `breakwater cases list` has them all."""


class Watcher(Protocol):
    """Whoever wants to know how a sweep goes."""

    def expect(self, files: int) -> None:
        """Hear about how many files there are."""
        ...

    def see(self, result: Result, counters: Counters) -> None:
        """See a result, in the order of the list, and what has been counted with it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a sweep stands after a run.

    Attributes:
        sweep_id: Its number.
        counters: What was counted, over all its runs.
        is_finished: The end of the list was reached.
        is_resumed: It went on from an earlier run.
        has_state_changed: The scanner is in another state than when the sweep began.
        failure: Why it broke off; empty where it did not.
        cases: The cases of what was found; True where a person has to remove the file.
    """

    sweep_id: int
    counters: Counters
    is_finished: bool
    is_resumed: bool
    has_state_changed: bool
    failure: str
    cases: dict[int, bool]


async def run_sweep(
    source: Source, order: Order, *, tools: SweepTools, watcher: Watcher, stop: asyncio.Event
) -> Summary:
    """Sweep a source, from where an earlier run stopped.

    Raises:
        SweepRefusedError: Somebody else sweeps it now, or no dry run was finished before.
        SourceError: The source cannot be used at all.
        DatabaseError: The database failed; the sweep goes on from its last checkpoint.
    """
    await source.check()
    async with hold_lease(source, order, tools):
        sweep, expected = await begin(source, order, tools)
        run = _Run(source, order, tools, watcher, sweep)
        if expected:
            watcher.expect(expected)
        failure = await run.work(stop, counts_files=not expected)
        return await run.sum_up(failure)


class _Run:
    """One run of one sweep."""

    def __init__(
        self, source: Source, order: Order, tools: SweepTools, watcher: Watcher, sweep: Sweep
    ) -> None:
        self._source = source
        self._order = order
        self._tools = tools
        self._watcher = watcher
        self._sweep = sweep
        self._cursor = sweep.cursor
        self._counters = counters_from_json(sweep.counters)
        self._before = self._counters.seconds
        self._began = tools.clock.monotonic()
        self._cases: dict[int, bool] = {}
        self._errors_in_a_row = 0
        self._before_errors = (self._cursor, sweep.counters)
        self._is_at_end = False
        self._saving = asyncio.Lock()

    async def work(self, stop: asyncio.Event, *, counts_files: bool) -> str:
        """Go through the list; return why that broke off, if it did."""
        failure = ""
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._keep_saving())]
                if counts_files:
                    helpers.append(group.create_task(self._count_files()))
                await self._go_through(stop)
                for helper in helpers:
                    helper.cancel()
        except* SourceError as group_error:
            failure = str(_first(group_error))
        except* DatabaseError:
            with suppress(DatabaseError):
                await self._save()
            raise
        await self._save()
        return failure

    async def sum_up(self, failure: str) -> Summary:
        """Finish the sweep if its end was reached, and say how it stands."""
        now, sweep = self._tools.clock.now(), self._sweep
        is_finished = self._is_at_end and not failure
        async with self._tools.database.transaction() as conn:
            if is_finished:
                await sweeps.end_sweep(conn, sweep.id, to=SweepState.FINISHED, now=now)
                detail = {"sweep": sweep.id, "dry_run": sweep.is_dry_run, "files": self._counters.files}
                await audit.append(conn, at=now, actor="relay", event="sweep_finished", detail=detail)
            cases = await sweeps.list_cases(conn, sweep.id, limit=MAX_LISTED_CASES)
        return Summary(
            sweep_id=sweep.id,
            counters=self._counters,
            is_finished=is_finished,
            is_resumed=bool(sweep.cursor),
            has_state_changed=sweep.state_digest != self._tools.scans.scanning.state_digest,
            failure=failure,
            cases=cases,
        )

    async def _go_through(self, stop: asyncio.Event) -> None:
        places = asyncio.Semaphore(self._order.width)
        begun: deque[asyncio.Task[Result]] = deque()
        async with asyncio.TaskGroup() as group:
            async for entry in self._source.list_files(self._cursor):
                if stop.is_set():
                    break
                begun.append(group.create_task(self._examine(entry, places)))
                while begun and (begun[0].done() or len(begun) >= self._order.width * _WAITING):
                    self._take(await begun.popleft())
            else:
                self._is_at_end = True
            while begun:
                self._take(await begun.popleft())

    async def _examine(self, entry: Entry, places: asyncio.Semaphore) -> Result:
        async with places:
            return await examine_entry(
                entry, source=self._source, tools=self._tools, manner=self._order.manner
            )

    def _take(self, result: Result) -> None:
        """Count a result; from here on it is done."""
        self._watch_errors(result)
        self._counters.add(result)
        self._counters.seconds = self._before + self._tools.clock.monotonic() - self._began
        self._cursor = result.entry.cursor
        if result.case_id is not None:
            is_by_hand = result.deed is Deed.BY_HAND or self._cases.get(result.case_id, False)
            self._cases[result.case_id] = is_by_hand
        self._watcher.see(result, self._counters)

    def _watch_errors(self, result: Result) -> None:
        """Stop at so many errors in a row that they are no single files', and go back to before them."""
        if result.kind is not Kind.ERROR:
            self._errors_in_a_row = 0
            return
        if not self._errors_in_a_row:
            self._before_errors = (self._cursor, self._counters.to_json())
        self._errors_in_a_row += 1
        if self._errors_in_a_row < MAX_ERRORS_IN_A_ROW:
            return
        self._cursor, counters = self._before_errors
        self._counters = counters_from_json(counters)
        raise SourceError(
            f"{MAX_ERRORS_IN_A_ROW} files could not be read, one after the other "
            f"({result.detail.replace('_', ' ')}). The sweep stopped before them, since the rest would "
            "fare no better. See to the store and to what may be read in it, and run the command again."
        )

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY.total_seconds())
            await self._save()

    async def _save(self) -> None:
        """Save the place and the numbers, and go on holding the lease."""
        async with self._saving, self._tools.database.transaction() as conn:
            now, cases, self._cases = self._tools.clock.now(), self._cases, {}
            try:
                is_ours = await sweeps.extend_lease(
                    conn, self._source.name, holder=self._order.holder, lease=LEASE, now=now
                ) and await sweeps.save_checkpoint(
                    conn,
                    self._sweep.id,
                    cursor=self._cursor,
                    counters=self._counters.to_json(),
                    cases=cases,
                    now=now,
                )
            except BaseException:
                self._cases = {**cases, **self._cases}
                raise
        if not is_ours:
            raise SweepRefusedError(
                "Another process took this sweep over, because this one could not reach the database for "
                f"{LEASE.total_seconds():.0f} seconds. Nothing is lost; leave it to the other one."
            )

    async def _count_files(self) -> None:
        count = await self._source.count()
        if count is not None:
            self._watcher.expect(count)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
