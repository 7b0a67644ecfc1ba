"""Keep to the requests that a service may get a day, over all relays that share the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import service_usage

if TYPE_CHECKING:
    from db.pool import Database
    from relay.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The budget of one service; a day begins at midnight UTC.

    Attributes:
        service: Its name.
        daily_limit: Requests that it may get a day.
        database: Where they are counted.
        clock: The time.
    """

    service: str
    daily_limit: int
    database: Database
    clock: Clock

    async def spend(self, requests: int) -> int | None:
        """Take requests out of the budget; return how many are left, None where there are too few.

        Raises:
            DatabaseError: They could not be counted, and must not be made.
        """
        async with self.database.transaction(waits_for_disk=False) as conn:
            used = await service_usage.spend(
                conn,
                self.service,
                self.clock.now().date(),
                requests=requests,
                limit=self.daily_limit,
            )
        return None if used is None else self.daily_limit - used

    async def find_left(self) -> int:
        """Find how many requests are left today.

        Raises:
            DatabaseError: It cannot be known.
        """
        async with self.database.connection() as conn:
            used = await service_usage.find_used(conn, self.service, self.clock.now().date())
        return max(self.daily_limit - used, 0)
