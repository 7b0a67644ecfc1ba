"""Look again at what was let go before a peer's warning fitted it.

That it is withheld, and that there is a case, was settled when the warning was found to fit. What a person
needs to rule on it is missing as long as nobody had the bytes in hand since: the bytes themselves, and what
our own scan says of them today. Nothing follows from a warning but that. Should our own lists hold the very
bytes meanwhile, what follows rests on them.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from db import alert_hits, reliance
from relay.logs import name_kinds
from relay.model import Door
from relay.revisit import follow_up, look_again
from relay.tools.naps import decide_nap, wait_within
from relay.tools.stopping import see_through

if TYPE_CHECKING:
    from datetime import datetime

    from db.alert_hits import WarnedLook
    from relay.line import Tools
    from relay.model import MediaOutcome

_log = logging.getLogger(__name__)

PATIENCE: Final = timedelta(days=1)
"""How long bytes are tried to be had: a server that is down for longer seldom comes back with them."""

TRY_AGAIN: Final = timedelta(minutes=15)
# Five addresses that each take the minute that a fetch may, and a scan.
_LEASE: Final = timedelta(minutes=10)
_GRACE: Final = timedelta(seconds=5)
_AFTER_ERROR: Final = timedelta(seconds=1)


class Looked(StrEnum):
    """What came of a look."""

    SEEN = "seen"
    """A person finds all that there is, or has ruled already."""
    PUT_OFF = "put_off"
    """The bytes cannot be had or kept now."""
    LOST = "lost"
    """Nobody has them any more; the case stands without them."""


async def look(due: WarnedLook, *, tools: Tools) -> Looked:
    """Look again at bytes that a warning fits, and see to what follows.

    Raises:
        DatabaseError: Verdicts could not be read or kept; the look is made again when its lease ends.
    """
    retained = None if tools.peers is None else tools.peers.retained
    async with tools.database.connection() as conn:
        relied = await reliance.find_reliance(conn, due.sha256)
    # What came through a media door has no delivery that says where it was, but a peer's word does.
    url = next((one.url for one in relied if one.url), "")
    outcome = await look_again(due.sha256, tools=tools, url=url, retained=retained)
    if outcome is not None:
        await follow_up(due.sha256, outcome, door=Door.INBOX, tools=tools)
        if await _is_settled(due.sha256, outcome, tools=tools):
            return Looked.SEEN
    return Looked.LOST if tools.clock.now() - due.found_at >= PATIENCE else Looked.PUT_OFF


async def _is_settled(sha256: bytes, outcome: MediaOutcome, *, tools: Tools) -> bool:
    """Tell whether whoever rules has the bytes, where there is anything to rule on."""
    if outcome.retry:
        return False
    if not outcome.needs_case or outcome.purge:
        return True
    return await asyncio.to_thread(tools.spool.holds, sha256)


class WarnedWorker:
    """Makes the looks that are due, one after the other; all processes share them."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._name = tools.scans.worker
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End or leave the look under way, and begin no more."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until stopped."""
        while not self._stopping.is_set():
            try:
                pause = timedelta() if await self.look_at_next() else await self._find_pause()
            except Exception as error:  # noqa: BLE001 (one bad look must not stop the others)
                # It is due again when its lease ends; the kind alone, since texts may quote rows.
                _log.error("warned_look_failed errors=%s", name_kinds(error))
                pause = _AFTER_ERROR
            await wait_within(self._stopping, pause)

    async def look_at_next(self) -> bool:
        """Make the look that is due for the longest; False if none is.

        Raises:
            DatabaseError: It is made again when its lease ends; possibly inside an ExceptionGroup.
        """
        database, now = self._tools.database, self._tools.clock.now()
        async with database.transaction(waits_for_disk=False) as conn:
            due = await alert_hits.claim_look(conn, worker=self._name, now=now, lease_until=now + _LEASE)
        if due is None:
            return False
        looked = await see_through(look(due, tools=self._tools), stopping=self._stopping, grace=_GRACE)
        # What was broken off is due again at once, wherever somebody works.
        now = self._tools.clock.now()
        again_at = {None: now, Looked.PUT_OFF: now + TRY_AGAIN}.get(looked)
        async with database.connection() as conn:
            await alert_hits.end_look(conn, due, worker=self._name, again_at=again_at)
        if looked is not None:
            self._tools.metrics.count_warned_look(outcome=looked.value)
            # That one was made, never of what.
            _log.info("warned_look_made outcome=%s", looked.value)
        return True

    async def _find_pause(self) -> timedelta:
        async with self._tools.database.connection() as conn:
            due: datetime | None = await alert_hits.next_look(conn)
        return decide_nap(due, now=self._tools.clock.now())
