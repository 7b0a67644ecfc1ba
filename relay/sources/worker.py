"""Keep all lists up to date while the relay runs, each by its own interval.

Replicas share the work: a source is fetched by whoever takes its lease, and by nobody else meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import list_sources
from db.errors import DatabaseError
from relay.logs import name_kinds
from relay.sources.model import FailureKind, SourceFailure
from relay.sources.run import LEASE
from relay.sources.sync import decide_wait, sync_source
from relay.tools.naps import decide_nap, wait_within

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from db.list_sources import ListSource
    from relay.metrics import Metrics
    from relay.sources.run import SyncTools

_log = logging.getLogger(__name__)

# One list of millions must not keep the small ones waiting for hours.
_AT_ONCE: Final = 2
_AFTER_ERROR: Final = timedelta(seconds=5)
# How long a stop waits for the page that is under way; a page that is lost is fetched again.
_GRACE: Final = timedelta(seconds=5)
# A list that was not fetched for so long, and for so many of its intervals, is stale: no weekend explains it.
_STALE_AFTER: Final = timedelta(days=2)
_STALE_INTERVALS: Final = 3


class ListSyncs:
    """Those who fetch lists in this process."""

    def __init__(self, tools: SyncTools, *, metrics: Metrics) -> None:
        self._tools = tools
        self._metrics = metrics
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()

    def wake(self, _payload: str = "") -> None:
        """Look for what is due now."""
        self._wake.set()

    def stop(self) -> None:
        """Take in what has come, and fetch nothing more."""
        self._stopping.set()
        self.wake()

    async def run(self) -> None:
        """Fetch whatever is due until stopped."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._tools.database.listen(list_sources.CHANNEL, self.wake))
            async with asyncio.TaskGroup() as working:
                for number in range(_AT_ONCE):
                    tools = replace(self._tools, worker=f"{self._tools.worker}:lists:{number}")
                    working.create_task(self._work(tools))
            listening.cancel()

    async def _work(self, tools: SyncTools) -> None:
        while not self._stopping.is_set():
            source: ListSource | None = None
            try:
                source = await self._next(tools)
                if source is not None:
                    await self._sync(source, tools)
            except Exception as error:  # noqa: BLE001 (one list must not stop the others)
                # Their kinds alone: texts may quote what came.
                _log.error("list_sync_failed error=%s", name_kinds(error))
                await self._give_up(source, tools)
                await self._pause(_AFTER_ERROR)

    async def _next(self, tools: SyncTools) -> ListSource | None:
        """Wait for the next source that is due; None when there is to be no more work."""
        async with self._looking:
            while not self._stopping.is_set():
                self._wake.clear()
                now = tools.clock.now()
                async with tools.database.connection() as conn:
                    claimed = await list_sources.claim_source(conn, worker=tools.worker, lease=LEASE, now=now)
                    known = await list_sources.list_sources(conn)
                    due = await list_sources.next_due(conn)
                self._metrics.set_list_ages(find_ages(known, now=now))
                self._metrics.set_lists_overdue(sum(is_overdue(one, now=now) for one in known))
                if claimed is not None:
                    return claimed
                await wait_within(self._wake, decide_nap(due, now=now))
        return None

    async def _sync(self, source: ListSource, tools: SyncTools) -> None:
        patience = asyncio.timeout(None)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(patience))
            try:
                async with patience:
                    synced = await sync_source(source, tools=tools, stop=self._stopping)
            except TimeoutError:
                if not patience.expired():
                    raise
                # The lease ends by itself, and whoever comes next goes on from the last checkpoint.
                return
            finally:
                watching.cancel()
        failure = synced.failure
        self._metrics.count_list_sync(kind=source.kind, outcome="done" if failure is None else failure.kind)
        if failure is not None:
            _log.warning("list_not_synced kind=%s reason=%s", source.kind, failure.kind.value)
        else:
            _log.info(
                "list_synced kind=%s records=%d added=%d removed=%d",
                source.kind,
                synced.records,
                synced.changed.added,
                synced.changed.removed,
            )

    async def _watch(self, patience: asyncio.Timeout) -> None:
        """Break off what does not end soon after the stop."""
        await self._stopping.wait()
        patience.reschedule(asyncio.get_running_loop().time() + _GRACE.total_seconds())

    async def _give_up(self, source: ListSource | None, tools: SyncTools) -> None:
        """Leave a source alone for a while that we failed at for reasons of our own."""
        if source is None:
            return
        failure = SourceFailure(
            kind=FailureKind.INTERNAL,
            detail="Breakwater failed at this list for a reason of its own. What came before is kept. The "
            "log names the error; tell the makers of Breakwater.",
        )
        with suppress(DatabaseError):
            async with tools.database.connection() as conn:
                await list_sources.fail_source(
                    conn,
                    source.list_id,
                    worker=tools.worker,
                    due_at=tools.clock.now()
                    + decide_wait(failure, tries=source.tries + 1, every=source.every),
                    error_kind=failure.kind.value,
                    error=failure.detail,
                )

    async def _pause(self, pause: timedelta) -> None:
        await wait_within(self._stopping, pause)


def find_ages(sources: Iterable[ListSource], *, now: datetime) -> dict[str, timedelta]:
    """Find for each kind of source how long ago the list that was fetched least recently was fetched.

    One that never was counts from when it was added.
    """
    ages: dict[str, timedelta] = {}
    for source in sources:
        if not source.is_withdrawn:
            age = now - (source.synced_at or source.accepted_at)
            ages[source.kind] = max(age, ages.get(source.kind, timedelta()))
    return ages


def is_overdue(source: ListSource, *, now: datetime) -> bool:
    """Tell whether a list is older than the admin lets it be, so that what nothing matches is held."""
    since = source.synced_at or source.accepted_at
    return not source.is_withdrawn and source.hold_after is not None and since + source.hold_after <= now


def is_stale(source: ListSource, *, now: datetime) -> bool:
    """Tell whether a list was not fetched for too long."""
    since = now - (source.synced_at or source.accepted_at)
    return not source.is_withdrawn and since > max(_STALE_AFTER, _STALE_INTERVALS * source.every)
