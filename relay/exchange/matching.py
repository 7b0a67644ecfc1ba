"""Compare the warnings that came with the bytes that were seen before them.

It is done apart from receiving a warning, in passes over everything, so that neither the answer to a peer nor
the moment of it says whether anything fits.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import alert_hits, alerts
from db.errors import DatabaseError
from relay.exchange.alerts import is_suspended, open_case_of
from relay.tools.naps import wait_within
from signatures.alert import seal_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from db.alert_hits import AlertKey
    from db.pool import Database
    from relay.clock import Clock

_log = logging.getLogger(__name__)

# A thread seals 300,000 digests a second, for each key; peers' warnings come one by one.
EVERY: Final = timedelta(minutes=1)
"""How long warnings wait for a pass."""

SETTLED_AFTER: Final = timedelta(minutes=10)
"""Longer than an examination takes: what was being scanned when a warning came has been noted by then, and is
compared in one more pass."""

_MAX_PENDING: Final = 10_000
# 0.3 MB, and some 30 ms of a thread.
_BATCH: Final = 10_000


class AlertMatcher:
    """Compares new warnings with what was seen, in passes."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin no more passes."""
        self._stopping.set()

    async def run(self) -> None:
        """Make passes until stopped."""
        while not self._stopping.is_set():
            try:
                await self.compare()
            except DatabaseError as error:
                _log.error("alerts_not_compared error=%s", type(error).__name__)
            await wait_within(self._stopping, EVERY)

    async def compare(self) -> int:
        """Make one pass, if there is anything to compare; return how much was withheld.

        Raises:
            DatabaseError: The pass is made again.
        """
        began = self._clock.now()
        async with self._database.connection() as conn:
            pending = await alert_hits.list_pending(conn, limit=_MAX_PENDING)
            if not pending:
                return 0
            rulings = {issuer: await alerts.count_rulings(conn, issuer) for issuer, _, _ in pending}
            keys = [
                key
                for key in await alert_hits.list_alert_keys(conn)
                if not is_suspended(rulings.get(key.actor, {}))
            ]
        wanted = {
            key.actor: {mac: category for issuer, mac, category in pending if issuer == key.actor}
            for key in keys
        }
        count = await self._go_through([key for key in keys if wanted[key.actor]], wanted)
        async with self._database.connection() as conn:
            await alert_hits.set_compared(conn, pending, now=began, received_until=began - SETTLED_AFTER)
        if count:
            # How many, never which.
            _log.warning("alerts_matched count=%d", count)
        return count

    async def _go_through(self, keys: Sequence[AlertKey], wanted: Mapping[str, Mapping[bytes, str]]) -> int:
        count, after = 0, b""
        while keys:
            async with self._database.connection() as conn:
                digests = await alert_hits.list_seen_digests(conn, after=after, limit=_BATCH)
            if not digests:
                break
            after = digests[-1]
            for key in keys:
                macs = wanted[key.actor]
                fitting = await asyncio.to_thread(_find_fitting, digests, key.key, macs)
                for sha256, mac in fitting:
                    count += await self._withhold(sha256, issuer=key.actor, mac=mac, category=macs[mac])
        return count

    async def _withhold(self, sha256: bytes, *, issuer: str, mac: bytes, category: str) -> bool:
        async with self._database.transaction() as conn:
            return await open_case_of(
                conn, sha256, issuer=issuer, mac=mac, category=category, now=self._clock.now()
            )


def _find_fitting(
    digests: Sequence[bytes], key: bytes, macs: Mapping[bytes, str]
) -> list[tuple[bytes, bytes]]:
    sealed = ((sha256, seal_digest(sha256, key=key)) for sha256 in digests)
    return [(sha256, mac) for sha256, mac in sealed if mac in macs]
