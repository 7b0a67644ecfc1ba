"""Leave a service alone that fails again and again, and try it with one request after a while.

While the breaker is open nobody waits for the service, and nothing passes for want of it: what an essential
service has not seen stays withheld.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relay.clock import Clock

FAILURES: Final = 10
"""Failures in a row that open the breaker. Source: the client of the PreScreen service in bluesky-social's
indigo, whose pattern this follows."""

OPEN_FOR: Final = timedelta(seconds=60)
"""How long it stays open; as above."""

_MAX_PAUSE: Final = timedelta(hours=1)
"""The longest that a service's own word keeps us away; a wrong one must not do so for a day."""


class Breaker:
    """The breaker before one service."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._shut_until = 0.0
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether the service is left alone now."""
        return self._clock.monotonic() < self._shut_until

    def admit(self) -> bool:
        """Tell whether the service may be asked; whoever was admitted says how it ended, once."""
        if self.is_open:
            return False
        if self._failures >= FAILURES:
            # Half open: one request finds out how the service is, and the others wait for that.
            if self._is_probing:
                return False
            self._is_probing = True
        return True

    def succeed(self) -> None:
        """Note that the service answered."""
        self._failures = 0
        self._is_probing = False

    def fail(self, retry_after: timedelta | None = None) -> None:
        """Note that it did not, and how long it asks to be left alone."""
        self._failures += 1
        self._is_probing = False
        if self._failures >= FAILURES:
            self._shut_for(OPEN_FOR)
        if retry_after is not None:
            self._shut_for(min(retry_after, _MAX_PAUSE))

    def abandon(self) -> None:
        """Note that nothing was learnt: the request was never made, or nobody waited for its end."""
        self._is_probing = False

    def _shut_for(self, wait: timedelta) -> None:
        self._shut_until = max(self._shut_until, self._clock.monotonic() + wait.total_seconds())
