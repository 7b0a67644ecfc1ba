"""Bound what peers can fill our disk with: each so much a day, and all of them so much at once."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import mirror

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Database

# A mid-size instance sees some 10,000 media a day. Source: section 5 of the design page on safety.
MAX_A_DAY: Final = 200_000
# At 2 kB each with their indexes, 4 GB.
MAX_MIRRORED: Final = 2_000_000

_DAY: Final = timedelta(days=1)
_RECOUNT_EVERY: Final = timedelta(minutes=10)


class Quota:
    """Counts what came from each peer within a day, by the hour, and what there is of all."""

    def __init__(
        self, database: Database, *, max_a_day: int = MAX_A_DAY, max_mirrored: int = MAX_MIRRORED
    ) -> None:
        self._database = database
        self._max_a_day = max_a_day
        self._max_mirrored = max_mirrored
        self._hours: dict[str, Counter[datetime]] = {}
        self._mirrored = 0
        self._counted_at: datetime | None = None

    async def find_room(self, actor: str, *, now: datetime) -> int:
        """Find how many more attestations of a peer may be taken in now.

        Raises:
            DatabaseError: It could not be counted.
        """
        if actor not in self._hours:
            # What a peer brought before this process began counts as well.
            async with self._database.connection() as conn:
                by_hour = await mirror.count_received(conn, issuer=actor, since=now - _DAY)
            self._hours[actor] = Counter(by_hour)
        if self._counted_at is None or now - self._counted_at >= _RECOUNT_EVERY:
            async with self._database.connection() as conn:
                self._mirrored = await mirror.count_all(conn, limit=self._max_mirrored)
            self._counted_at = now
        hours = self._hours[actor]
        for hour in [hour for hour in hours if hour <= now - _DAY]:
            del hours[hour]
        return max(0, min(self._max_a_day - hours.total(), self._max_mirrored - self._mirrored))

    def note(self, actor: str, *, seen: int, kept: int, now: datetime) -> None:
        """Note what was looked at, which counts for the day, and what was kept, which fills the disk."""
        self._hours[actor][now.replace(minute=0, second=0, microsecond=0)] += seen
        self._mirrored += kept
