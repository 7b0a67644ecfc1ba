"""Work through the list of errands: claim, carry out, end or put back.

Like deliveries, errands are shared by all workers of all processes through the database; a lost worker's
errand goes on when its lease has run out. Every errand may so be done twice, which the backend must bear: a
second report is one report too many, a lost one would be none. To stop is an event: what is under way has
some seconds to end, and is put back if it does not.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from db import errands
from db.errands import ErrandKind, ErrandState
from db.errors import DatabaseError
from relay.errands.acting import act
from relay.errands.results import Carried, GivenUp, Later, Result
from relay.errands.uploads import UploadTools, examine_upload
from relay.lifecycle import LEASE, MAX_LEASE_LOSSES, RETRY_DELAYS, decide_retry
from relay.logs import name_kinds
from relay.tools.naps import decide_nap, wait_within

if TYPE_CHECKING:
    from datetime import datetime

    from db.errands import Errand
    from db.pool import Connection, Database
    from relay.backends.abilities import BackendApi
    from relay.clock import Clock
    from relay.metrics import Metrics

_log = logging.getLogger(__name__)

# A backend has to serve people at the same time.
_ACTING_WORKERS: Final = 2
# Several posts side by side hide the media host's latency; the scanner has other work, too.
_UPLOAD_WORKERS: Final = 3
_UPLOADS: Final = frozenset({ErrandKind.EXAMINE_UPLOAD})
_HEARTBEAT: Final = LEASE / 3
_AFTER_ERROR: Final = timedelta(seconds=1)
# An API answers within this, mostly; service managers wait ten times as long.
_GRACE: Final = timedelta(seconds=5)

_INTERRUPTED: Final = "interrupted"
_POISON: Final = "poison: the relay was lost again and again while it did this; look at its log"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrandTools:
    """What errands are carried out with.

    Attributes:
        database: The list.
        api: The backend's API; None without a token.
        uploads: What uploads are examined with.
        metrics: Where it is counted.
        clock: The time.
        name: The name of this process.
    """

    database: Database
    api: BackendApi | None
    uploads: UploadTools
    metrics: Metrics
    clock: Clock
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lane:
    """Workers who do the same kinds of errands; one at a time looks for the next.

    Attributes:
        kinds: What they do.
        count: How many they are.
        wake: There may be work.
        looking: Held by the one who looks.
    """

    kinds: frozenset[ErrandKind]
    count: int
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


class ErrandWorkers:
    """Those who carry out errands in this process; uploads that come slowly keep no report waiting."""

    def __init__(self, tools: ErrandTools) -> None:
        self._tools = tools
        self._stopping = asyncio.Event()
        self._lanes = (
            _Lane(kinds=frozenset(ErrandKind) - _UPLOADS, count=_ACTING_WORKERS),
            _Lane(kinds=_UPLOADS, count=_UPLOAD_WORKERS),
        )

    def wake(self, _payload: str = "") -> None:
        """Look for work now."""
        for lane in self._lanes:
            lane.wake.set()

    def stop(self) -> None:
        """End or put back what is under way and claim nothing more."""
        self._stopping.set()
        self.wake()

    async def run(self) -> None:
        """Work until stopped."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._tools.database.listen(errands.CHANNEL, self.wake))
            async with asyncio.TaskGroup() as working:
                for lane in self._lanes:
                    for _ in range(lane.count):
                        working.create_task(self._work(lane))
            listening.cancel()

    async def _work(self, lane: _Lane) -> None:
        while not self._stopping.is_set():
            try:
                claimed = await self._next(lane)
                if claimed is not None:
                    await self._see_through(claimed)
            except Exception as error:  # noqa: BLE001 (one bad errand must not stop the others)
                # The lease runs out and it is tried again; its kind alone, since texts may quote rows.
                _log.error("errand_failed errors=%s", name_kinds(error))
                await self._pause(_AFTER_ERROR)

    async def _next(self, lane: _Lane) -> Errand | None:
        """Wait for the next errand, one worker of a lane at a time; None when there is to be no more work."""
        async with lane.looking:
            while not self._stopping.is_set():
                lane.wake.clear()
                async with self._tools.database.transaction(waits_for_disk=False) as conn:
                    claimed = await errands.claim(
                        conn, worker=self._tools.name, lease=LEASE, now=self._now(), kinds=lane.kinds
                    )
                if claimed is not None:
                    return claimed
                await self._nap(lane)
        return None

    async def _nap(self, lane: _Lane) -> None:
        async with self._tools.database.connection() as conn:
            due = await errands.next_due(conn, kinds=lane.kinds)
        nap = decide_nap(due, now=self._now())
        await wait_within(lane.wake, nap)

    async def _pause(self, pause: timedelta) -> None:
        await wait_within(self._stopping, pause)

    async def _see_through(self, errand: Errand) -> None:
        if errand.lost_leases > MAX_LEASE_LOSSES:
            await self._record(errand, GivenUp(reason=_POISON))
            return
        patience = asyncio.timeout(None)
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(self._keep_lease(errand))
            watching = group.create_task(self._watch(patience))
            try:
                async with patience:
                    result = await self._carry_out(errand)
            except TimeoutError:
                if not patience.expired():
                    raise
                result = Later(reason=_INTERRUPTED)
            finally:
                beating.cancel()
                watching.cancel()
        await self._record(errand, result)

    async def _carry_out(self, errand: Errand) -> Result:
        if errand.kind is ErrandKind.EXAMINE_UPLOAD:
            return await examine_upload(errand, tools=self._tools.uploads)
        return await act(errand, api=self._tools.api, database=self._tools.database)

    async def _watch(self, patience: asyncio.Timeout) -> None:
        """Break off what does not end soon after the stop."""
        await self._stopping.wait()
        patience.reschedule(asyncio.get_running_loop().time() + _GRACE.total_seconds())

    async def _keep_lease(self, errand: Errand) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT.total_seconds())
            try:
                async with self._tools.database.connection() as conn:
                    await errands.extend_lease(
                        conn, errand.id, worker=self._tools.name, lease=LEASE, now=self._now()
                    )
            except DatabaseError as error:
                # Two more beats come before the lease ends; the work itself need not be lost over one.
                _log.warning("errand_lease_not_extended errand=%d error=%s", errand.id, type(error).__name__)

    async def _record(self, errand: Errand, result: Result) -> None:
        async with self._tools.database.connection() as conn:
            outcome = await self._end(conn, errand, result)
        if outcome is None:
            _log.warning("errand_lease_lost errand=%d", errand.id)
            return
        self._tools.metrics.count_errand(kind=errand.kind.value, outcome=outcome)
        level = logging.ERROR if outcome == ErrandState.FAILED.value else logging.INFO
        _log.log(level, "errand_moved errand=%d kind=%s state=%s", errand.id, errand.kind.value, outcome)

    async def _end(self, conn: Connection, errand: Errand, result: Result) -> str | None:
        """Move an errand on; return its new state, or None if its lease was lost."""
        now, worker = self._now(), self._tools.name
        to, reason = ErrandState.FAILED, result.reason
        match result:
            case Carried():
                to = ErrandState.DONE
            case Later(after=after):
                due_at = decide_due(errand, after=after, now=now)
                if due_at is not None:
                    if self._stopping.is_set() and reason == _INTERRUPTED:
                        due_at = now
                    is_ours = await errands.put_back(
                        conn, errand.id, worker=worker, due_at=due_at, reason=reason, now=now
                    )
                    return ErrandState.WAITING.value if is_ours else None
            case GivenUp():
                pass
            case _:
                assert_never(result)
        is_ours = await errands.finish(conn, errand.id, worker=worker, to=to, now=now, reason=reason or None)
        return to.value if is_ours else None

    def _now(self) -> datetime:
        return self._tools.clock.now()


def decide_due(errand: Errand, *, after: timedelta | None, now: datetime) -> datetime | None:
    """Decide when an errand is tried again; None when it is time to give up.

    A backend that asks to be left alone for longer is, but for no longer than between the last tries.
    """
    due_at = decide_retry(tries=errand.tries + 1, queued_at=errand.tried_since, now=now)
    if due_at is None or after is None:
        return due_at
    return max(due_at, now + min(after, RETRY_DELAYS[-1]))
