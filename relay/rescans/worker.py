"""Go through what was seen, the newest first, after every change of the lists.

What has been compared is noted beside the hashes, so that a relay that was stopped goes on where it was and
several relays on one database do no harm to each other: each comparison may be made twice. To stop is an
event: the page under way has some seconds to end.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from db import media_hashes
from relay.logs import name_kinds
from relay.rescans.compare import Compared, compare
from relay.tools.naps import wait_within
from relay.tools.stopping import see_through

if TYPE_CHECKING:
    from relay.line import Tools

_log = logging.getLogger(__name__)

_PAGE: Final = 200
"""Files compared before the loop looks whether it is to stop: some ten milliseconds against a million."""

# Scans of deliveries come first: between two pages the decoders and the database are theirs.
_BETWEEN_PAGES: Final = timedelta(milliseconds=20)
# A change announces itself; this bounds what a lost word, or a scan under the lists of before, costs.
_EVERY: Final = timedelta(minutes=10)
_AFTER_ERROR: Final = timedelta(seconds=5)
_GRACE: Final = timedelta(seconds=5)
_LAST_DIGEST: Final = b"\xff" * 33
# Clocks of other processes may be off, and a scan may end long after it began.
_MARGIN: Final = timedelta(days=1)
_EVER: Final = datetime.fromtimestamp(0, tz=UTC)


class RescanWorker:
    """Compares kept hashes with the lists of this process."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        # With which lists everything was compared, and what was seen until when.
        self._settled: tuple[bytes, datetime] | None = None

    def wake(self) -> None:
        """Begin now: the lists have changed."""
        self._changed.set()

    def stop(self) -> None:
        """End the page under way and begin no more."""
        self._stopping.set()
        self._changed.set()

    async def run(self) -> None:
        """Compare at once, after every change and now and then, until stopped."""
        while not self._stopping.is_set():
            self._changed.clear()
            try:
                await self._go_through()
            except Exception as error:  # noqa: BLE001 (nothing may end the comparing for good)
                # What was not noted as compared is compared again; the kind alone, since texts may quote.
                _log.error("rescan_failed errors=%s", name_kinds(error))
                await self._pause(self._stopping, _AFTER_ERROR)
            else:
                await self._pause(self._changed, _EVERY)

    async def _go_through(self) -> None:
        total, missed = Compared(), 0
        began, lists_digest = self._tools.clock.now(), self._tools.scans.scanning.lists_digest
        since = self._find_since(lists_digest)
        place = (began + _MARGIN, _LAST_DIGEST)
        while not self._stopping.is_set():
            kept = await self._list(place, since=since)
            if not kept:
                if not missed and lists_digest == self._tools.scans.scanning.lists_digest:
                    self._settled = (lists_digest, began)
                break
            done = await self._compare(kept)
            if done is None:
                break
            total = Compared(compared=total.compared + done.compared, matched=total.matched + done.matched)
            missed += len(kept) - done.compared
            place = (kept[-1].seen_at, kept[-1].sha256)
            await self._pause(self._stopping, _BETWEEN_PAGES)
        if total.compared:
            _log.info("rescan_made compared=%d matched=%d", total.compared, total.matched)

    def _find_since(self, lists_digest: bytes) -> datetime:
        """Tell since when there may be anything that was not compared: to look through all costs time."""
        if self._settled is None or self._settled[0] != lists_digest:
            return _EVER
        return self._settled[1] - _MARGIN

    async def _list(
        self, place: tuple[datetime, bytes], *, since: datetime
    ) -> tuple[media_hashes.MediaHashes, ...]:
        lists_digest = self._tools.scans.scanning.lists_digest
        async with self._tools.database.connection() as conn:
            return await media_hashes.list_stale(conn, lists_digest, before=place, since=since, limit=_PAGE)

    async def _compare(self, kept: tuple[media_hashes.MediaHashes, ...]) -> Compared | None:
        """Compare one page; None where that was broken off to stop."""
        done = await see_through(compare(kept, tools=self._tools), stopping=self._stopping, grace=_GRACE)
        if done is None:
            return None
        self._tools.metrics.count_rescans(compared=done.compared, matched=done.matched)
        return done

    async def _pause(self, event: asyncio.Event, pause: timedelta) -> None:
        await wait_within(event, pause)
