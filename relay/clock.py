"""Read the time, here and nowhere else, so that every other module takes it as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from a clock that never steps back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 (the one place that reads the wall clock)

    def monotonic(self) -> float:
        """Return seconds from the monotonic clock."""
        return time.monotonic()
