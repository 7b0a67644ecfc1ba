"""Work through what was stored: claim, examine, record, deliver, vouch; and keep house.

Any number of workers in any number of processes share the queue in the database. A worker that dies
leaves a lease behind, and another one goes on when it has run out. To stop is an event: what is under
way is finished, nothing new is claimed; a long examination is broken off and put back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from db import deliveries, delivery_lists
from db.errors import DatabaseError
from relay.errors import MalformedActivityError
from relay.lifecycle import FINAL, LEASE, MAX_LEASE_LOSSES, State, decide_retry, move
from relay.logs import name_kinds
from relay.pipeline import Tools, deliver, examine, vouch
from relay.stages.act import plan_for_delivery
from relay.stages.house import count_backlog, end_holds, forget
from relay.stages.record import record_decision, record_dispatch
from relay.tools.lanes import Lanes
from relay.tools.limits import share_of
from relay.tools.naps import decide_nap, wait_within
from relay.tools.noise import find_noise

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from db.delivery_rows import StoredDelivery
    from relay.model import Decision

T = TypeVar("T")

_log = logging.getLogger(__name__)

_HEARTBEAT: Final = LEASE / 3

_HOUSEKEEPING_EVERY: Final = timedelta(seconds=30)

# It takes the database seconds where a flood left a million near matches, and a noisy hash is one for days.
_NOISE_EVERY: Final = timedelta(minutes=10)

# Ten times what an examination takes; one that takes longer waits for somebody, and so need not its worker.
_PROMPT: Final = timedelta(seconds=2)

# After an error of the database there is nothing to do but to wait for it.
_AFTER_ERROR: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How many work, under which name, and for how long withheld bytes are kept.

    The feed is kept for the longest life of an attestation and a day, so that a peer that was away for all of
    it still learns everything that holds.
    """

    name: str
    count: int
    withheld_kept: timedelta
    feed_kept: timedelta


class Workers:
    """The workers of this process."""

    def __init__(self, tools: Tools, settings: WorkerSettings) -> None:
        self._tools = tools
        self._settings = settings
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._looking = asyncio.Lock()
        self._lanes = Lanes()
        self._restarts_counted = 0
        self._noise_due = tools.clock.now()

    def wake(self, _payload: str = "") -> None:
        """Look for work now."""
        self._wake.set()

    def stop(self) -> None:
        """Finish what is under way and claim nothing more."""
        self._stopping.set()
        self._wake.set()

    async def take_stock(self) -> None:
        """Count what is stored and not finished, before the doors open: whatever they take in adds to it.

        Raises:
            DatabaseError: It could not be counted.
        """
        await self._count_backlog()

    async def run(self) -> None:
        """Work until stopped."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._tools.database.listen(deliveries.CHANNEL, self.wake))
            async with asyncio.TaskGroup() as working:
                for _ in range(self._settings.count):
                    working.create_task(self._work(working))
                working.create_task(self._keep_house())
            listening.cancel()

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            try:
                claimed = await self._next()
                if claimed is not None:
                    let_go = asyncio.Event()
                    group.create_task(self._see_through(claimed, let_go))
                    await let_go.wait()
            except Exception as error:  # noqa: BLE001 (nothing may stop the queue)
                await self._report(error)

    async def _see_through(self, stored: StoredDelivery, let_go: asyncio.Event) -> None:
        """Work on one delivery; the worker goes on to the next as soon as it is let go."""
        try:
            await self._process(stored, let_go)
        except Exception as error:  # noqa: BLE001 (one bad delivery must not stop the queue)
            # The lease is left to run out, so that the delivery is tried again and, at the third loss,
            # visibly given up.
            await self._report(error)
        finally:
            let_go.set()

    async def _report(self, error: Exception) -> None:
        """Name the kinds of the errors alone, for their texts may quote rows; then leave them a moment."""
        _log.error("worker_failed errors=%s", name_kinds(error))
        await self._pause(_AFTER_ERROR)

    async def _next(self) -> StoredDelivery | None:
        """Wait for the next delivery; None when there is to be no more work.

        One idle worker looks at a time. All would find the same one delivery or the same nothing, and each
        look takes the database's time from the delivery that is under way.
        """
        async with self._looking:
            while not self._stopping.is_set():
                claimed = await self._claim()
                if claimed is not None:
                    return claimed
                await self._nap()
        return None

    async def _claim(self) -> StoredDelivery | None:
        self._wake.clear()
        # A claim that is lost with the database's power is made again, like one whose worker died.
        async with self._tools.database.transaction(waits_for_disk=False) as conn:
            return await deliveries.claim_delivery(
                conn, worker=self._settings.name, lease=LEASE, now=self._tools.clock.now()
            )

    async def _nap(self) -> None:
        async with self._tools.database.connection() as conn:
            due = await delivery_lists.next_due(conn)
        nap = decide_nap(due, now=self._tools.clock.now())
        await wait_within(self._wake, nap)

    async def _pause(self, pause: timedelta) -> None:
        await wait_within(self._stopping, pause)

    async def _process(self, stored: StoredDelivery, let_go: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(self._keep_lease(stored))
            try:
                await self._carry_through(stored, let_go, group)
            finally:
                beating.cancel()

    async def _keep_lease(self, stored: StoredDelivery) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT.total_seconds())
            try:
                async with self._tools.database.connection() as conn:
                    await deliveries.extend_lease(
                        conn, stored.id, worker=self._settings.name, lease=LEASE, now=self._now()
                    )
            except DatabaseError as error:
                # Two more beats come before the lease ends; the work itself need not be lost over one.
                _log.warning("lease_not_extended delivery=%d error=%s", stored.id, type(error).__name__)

    async def _carry_through(
        self, stored: StoredDelivery, let_go: asyncio.Event, group: asyncio.TaskGroup
    ) -> None:
        """Take one delivery as far as it goes now."""
        if stored.attempts > MAX_LEASE_LOSSES:
            await self._bury(stored, "poison")
            return
        if stored.state is State.FORWARDING:
            await self._hand_over(stored)
            return
        try:
            decision = await self._timed("examine", self._examine(stored, let_go, group))
        except MalformedActivityError:
            await self._bury(stored, "malformed")
            return
        if decision is None:
            await self._put_back(stored)
            return
        planned = await plan_for_delivery(
            stored, decision, acting=self._tools.acting, database=self._tools.database
        )
        reached = await record_decision(
            stored,
            decision,
            database=self._tools.database,
            worker=self._settings.name,
            now=self._now(),
            planned=planned,
        )
        self._count(stored, reached, reason=decision.reason)
        if reached is State.FORWARDING:
            await self._hand_over(stored)
        if reached is not None:
            await vouch(stored, decision, tools=self._tools)

    async def _examine(
        self, stored: StoredDelivery, let_go: asyncio.Event, group: asyncio.TaskGroup
    ) -> Decision | None:
        """Examine a delivery, for long only where there is a lane for it; None where it was broken off."""
        sender = share_of(stored.sender_actor)
        if not self._lanes.has_share_left(sender):
            return None
        patience = asyncio.timeout(None)
        try:
            async with patience:
                watching = group.create_task(self._watch(patience, let_go, sender))
                try:
                    return await examine(stored, tools=self._tools)
                finally:
                    watching.cancel()
        except TimeoutError:
            if not patience.expired():
                raise
            return None

    async def _watch(self, patience: asyncio.Timeout, let_go: asyncio.Event, sender: str) -> None:
        """Let the worker of a long examination go, or break it off: for want of a lane, or to stop."""
        await asyncio.sleep(_PROMPT.total_seconds())
        if not self._stopping.is_set() and self._lanes.has_lane_for(sender):
            with self._lanes.enter(sender):
                let_go.set()
                await self._stopping.wait()
        patience.reschedule(asyncio.get_running_loop().time())

    async def _put_back(self, stored: StoredDelivery) -> None:
        """Put a delivery whose examination was broken off back into the queue."""
        due_at = decide_retry(tries=1, queued_at=stored.queued_at, now=self._now())
        if due_at is None:
            await self._bury(stored, "not_examined")
            return
        is_stopping = self._stopping.is_set()
        async with self._tools.database.connection() as conn:
            is_ours = await move(
                conn,
                stored.id,
                expected=State.EXAMINING,
                to=State.RECEIVED,
                now=self._now(),
                worker=self._settings.name,
                due_at=self._now() if is_stopping else due_at,
                reason="interrupted" if is_stopping else "busy",
            )
        self._count(stored, State.RECEIVED if is_ours else None)

    async def _hand_over(self, stored: StoredDelivery) -> None:
        dispatched = await self._timed("deliver", deliver(stored, tools=self._tools))
        reached = await record_dispatch(
            stored, dispatched, database=self._tools.database, worker=self._settings.name, now=self._now()
        )
        self._count(stored, reached, reason=dispatched.reason)

    async def _timed(self, step: str, work: Awaitable[T]) -> T:
        started = self._tools.clock.monotonic()
        try:
            return await work
        finally:
            self._tools.metrics.observe_step(step=step, seconds=self._tools.clock.monotonic() - started)

    async def _bury(self, stored: StoredDelivery, reason: str) -> None:
        async with self._tools.database.connection() as conn:
            is_ours = await move(
                conn,
                stored.id,
                expected=stored.state,
                to=State.DEAD,
                now=self._now(),
                worker=self._settings.name,
                reason=reason,
            )
        self._count(stored, State.DEAD if is_ours else None, reason=reason)

    def _count(self, stored: StoredDelivery, reached: State | None, *, reason: str = "") -> None:
        if reached is None:
            _log.warning("lease_lost delivery=%d", stored.id)
            return
        _log.info("delivery_moved delivery=%d state=%s", stored.id, reached.value)
        if reached is not State.FORWARDING:
            self._tools.metrics.count_delivery(outcome=reached.value)
        if reached is State.DEAD:
            _log.error("dead_letter delivery=%d%s", stored.id, f" reason={reason}" if reason else "")
        if reached in FINAL:
            self._tools.hold.backlog.add(-1, domain=share_of(stored.sender_actor))

    def _now(self) -> datetime:
        return self._tools.clock.now()

    async def _keep_house(self) -> None:
        chores = (self._end_holds, self._forget, self._find_noise, self._count_restarts)
        while not self._stopping.is_set():
            await self._do_all(chores)
            await self._pause(_HOUSEKEEPING_EVERY)
            # At the start, stock was taken before the doors opened.
            await self._do_all((self._count_backlog,))

    async def _do_all(self, chores: Iterable[Callable[[], Awaitable[None]]]) -> None:
        for chore in chores:
            try:
                await chore()
            except Exception as error:  # noqa: BLE001 (one chore that fails must not end the others)
                _log.error("housekeeping_failed errors=%s", name_kinds(error))

    async def _find_noise(self) -> None:
        if self._now() < self._noise_due:
            return
        self._noise_due = self._now() + _NOISE_EVERY
        found = await find_noise(database=self._tools.database, now=self._now())
        if found:
            self._tools.metrics.count_noisy_hashes(Counter(one.state.value for one in found))

    async def _end_holds(self) -> None:
        await end_holds(
            database=self._tools.database,
            enforces_media=self._tools.policy.enforces_media,
            now=self._now(),
        )

    async def _forget(self) -> None:
        await forget(
            database=self._tools.database,
            spool=self._tools.spool,
            withheld_kept=self._settings.withheld_kept,
            feed_kept=self._settings.feed_kept,
            now=self._now(),
        )

    async def _count_backlog(self) -> None:
        counts = await count_backlog(database=self._tools.database, backlog=self._tools.hold.backlog)
        self._tools.metrics.set_queue({state.value: count for state, count in counts.items()})

    async def _count_restarts(self) -> None:
        restarts = self._tools.scans.scanning.count_restarts()
        self._tools.metrics.count_decoder_restarts(restarts - self._restarts_counted)
        self._restarts_counted = restarts
