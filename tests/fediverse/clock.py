"""A clock that only moves when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


class FrozenClock:
    """A clock for tests.

    Attributes:
        tick: How far both times move on each reading of the monotonic one, so that a body can be slow
            without anybody waiting.
    """

    def __init__(self, at: datetime = START, *, tick: timedelta = timedelta()) -> None:
        self._now = at
        self._seconds = 0.0
        self.tick = tick

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        self.advance(self.tick)
        return self._seconds

    def advance(self, by: timedelta) -> None:
        self._now += by
        self._seconds += by.total_seconds()

    def set(self, at: datetime) -> None:
        """Step the wall clock alone, as an administrator would."""
        self._now = at
