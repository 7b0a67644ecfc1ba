"""Make the audits that are due, one after the other, in the background.

Like everything that waits in the database they are shared by all processes: one that is lost leaves its audit
to the next when the lease ends. Not even the urgent ones are due at once, so that one worker is enough and
scans of deliveries come first. To stop is an event: the audit under way has some seconds to end, and is made
again if it does not.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from db import reliance
from relay.audits.audit import Ended, audit
from relay.audits.canaries import note_attested
from relay.audits.judging import PATIENCE
from relay.logs import name_kinds
from relay.stages.rely import AUDIT_WITHIN
from relay.tools.naps import wait_within
from relay.tools.stopping import see_through

if TYPE_CHECKING:
    from db.reliance import Reliance
    from relay.audits.audit import AuditTools

_log = logging.getLogger(__name__)

# A fetch may take a minute, a scan a third of it, and a peer's answer some seconds.
_LEASE: Final = timedelta(minutes=5)
_LONGEST_NAP: Final = timedelta(seconds=5)
_SHORTEST_NAP: Final = timedelta(milliseconds=20)
# A scan ends within this, mostly; service managers wait several times as long.
_GRACE: Final = timedelta(seconds=5)
_AFTER_ERROR: Final = timedelta(seconds=1)

RETAINED_FOR: Final = PATIENCE + 2 * AUDIT_WITHIN
"""How long bytes lie sealed for an audit: until the peer has had its time to show what it owes us, for lists
may have changed by then, and whoever keeps us waiting may have other bytes there. Whatever is older was
forgotten by a process that was lost."""


class AuditWorker:
    """Makes the audits of this process."""

    def __init__(self, tools: AuditTools) -> None:
        self._tools = tools
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    def stop(self) -> None:
        """End or leave the audit under way and begin no more."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until stopped."""
        while not self._stopping.is_set():
            try:
                claimed = await self._claim()
                if claimed is None:
                    if await note_attested(tools=self._tools.peers):
                        continue
                    await self._tidy()
                    await self._nap()
                else:
                    await self._see_through(claimed)
            except Exception as error:  # noqa: BLE001 (one bad audit must not stop the others)
                # It is due again when its lease ends; the kind alone, since texts may quote rows.
                _log.error("audit_failed errors=%s", name_kinds(error))
                await self._pause(_AFTER_ERROR)

    async def _claim(self) -> Reliance | None:
        self._wake.clear()
        now = self._now()
        async with self._tools.line.database.transaction(waits_for_disk=False) as conn:
            return await reliance.claim_audit(
                conn, worker=self._tools.name, now=now, lease_until=now + _LEASE
            )

    async def _see_through(self, claimed: Reliance) -> None:
        result = await see_through(audit(claimed, tools=self._tools), stopping=self._stopping, grace=_GRACE)
        if result is None:
            # It is made again when its lease ends.
            _log.info("audit_interrupted audit=%d", claimed.id)
            return
        outcome = result.outcome if isinstance(result, Ended) else "put_off"
        self._tools.line.metrics.count_audit(outcome=outcome)
        _log.info("audit_made audit=%d outcome=%s", claimed.id, outcome)

    async def _tidy(self) -> None:
        """Remove bytes whose audit nobody will make any more."""
        retained = self._tools.peers.retained
        try:
            await asyncio.to_thread(retained.purge_expired, now=self._now(), max_age=RETAINED_FOR)
        except OSError as error:
            _log.error("retained_not_purged error=%s", type(error).__name__)

    async def _nap(self) -> None:
        async with self._tools.line.database.connection() as conn:
            due = await reliance.next_audit(conn)
        nap = decide_nap(due, now=self._now())
        await wait_within(self._wake, nap)

    async def _pause(self, pause: timedelta) -> None:
        await wait_within(self._stopping, pause)

    def _now(self) -> datetime:
        return self._tools.line.clock.now()


def decide_nap(due: datetime | None, *, now: datetime) -> timedelta:
    """Decide how long to wait for a wake-up after there was nothing to claim.

    Args:
        due: When the next audit is due; None if none is.
        now: The time.
    """
    return _LONGEST_NAP if due is None else min(max(due - now, _SHORTEST_NAP), _LONGEST_NAP)
