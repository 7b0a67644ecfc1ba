"""Bring one list up to date, and note how it went: in words for the admin, with the time of the next try."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import list_sources
from db.errors import DatabaseError
from relay.sources.model import FailureKind, SourceFailure
from relay.sources.run import LEASE, Synced, SyncOptions, SyncRun
from relay.sources.taking import LeaseLostError

if TYPE_CHECKING:
    from db.list_sources import ListSource
    from relay.sources.run import SyncTools

_log = logging.getLogger(__name__)

_HEARTBEAT: Final = timedelta(minutes=1)
_FIRST_RETRY: Final = timedelta(minutes=1)
_LAST_RETRY: Final = timedelta(hours=6)
_MOST_DOUBLINGS: Final = 10
# What only a person can mend is looked at again now and then: nobody has to tell the relay that it is mended.
_AFTER_LASTING: Final = timedelta(hours=1)


async def sync_source(
    source: ListSource, *, tools: SyncTools, stop: asyncio.Event, options: SyncOptions | None = None
) -> Synced:
    """Fetch a source that this worker has claimed, write its list, and note how it went.

    Raises:
        ExceptionGroup: With a DatabaseError: what was not stored is fetched again.
    """
    run = SyncRun(source, tools=tools, stop=stop, options=options or SyncOptions())
    synced = Synced(failure=_TAKEN_OVER)
    try:
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(_keep_lease(source.list_id, tools))
            try:
                synced = await run.carry_out()
            finally:
                beating.cancel()
    except* LeaseLostError:
        # Whoever has the lease now notes how it goes.
        _log.warning("list_lease_lost kind=%s", source.kind)
    else:
        await _note_end(source, synced, tools=tools)
    return synced


async def _keep_lease(list_id: int, tools: SyncTools) -> None:
    """Prolong the lease while a file is on its way or a list is being written."""
    while True:
        await asyncio.sleep(_HEARTBEAT.total_seconds())
        try:
            async with tools.database.connection() as conn:
                lease_until = tools.clock.now() + LEASE
                await list_sources.extend_lease(conn, list_id, worker=tools.worker, lease_until=lease_until)
        except DatabaseError as error:
            # More beats come before the lease ends; the work itself need not be lost over one.
            _log.warning("list_lease_not_extended error=%s", type(error).__name__)


async def _note_end(source: ListSource, synced: Synced, *, tools: SyncTools) -> None:
    now = tools.clock.now()
    async with tools.database.connection() as conn:
        if synced.failure is None:
            every = source.every * random.uniform(0.9, 1.1)  # noqa: S311 (nobody gains by foreseeing it)
            await list_sources.finish_source(
                conn,
                source.list_id,
                worker=tools.worker,
                due_at=now + every if synced.is_complete else now,
                synced_at=now if synced.is_complete else None,
            )
            return
        await list_sources.fail_source(
            conn,
            source.list_id,
            worker=tools.worker,
            due_at=now + decide_wait(synced.failure, tries=source.tries + 1, every=source.every),
            error_kind=synced.failure.kind.value,
            error=synced.failure.detail,
        )


def decide_wait(failure: SourceFailure, *, tries: int, every: timedelta) -> timedelta:
    """Decide how long to leave a source alone after it failed so many times in a row."""
    if not failure.may_pass:
        return max(every, _AFTER_LASTING)
    wait = min(_FIRST_RETRY * (1 << min(tries - 1, _MOST_DOUBLINGS)), _LAST_RETRY)
    return max(wait, failure.retry_after or timedelta())


_TAKEN_OVER: Final = SourceFailure(
    kind=FailureKind.TAKEN_OVER,
    detail="Another relay, or a command, has taken over the fetching of this list. Nothing is lost.",
)
