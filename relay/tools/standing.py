"""Leave origins alone for a while that kept us waiting, so that they cost the others nothing.

An origin that stalls is worth a few waits, not one for each of a thousand references to it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from relay.model import FetchFailure

if TYPE_CHECKING:
    from relay.clock import Clock

# Two may be chance; the third in a row is how the origin is.
_STRIKES: Final = 3
# What a key's origin is given too (`KeyLifetimes.unavailable`); then one more wait shows how it is now.
_LEFT_ALONE_S: Final = 30.0
# Origins remembered at once; the least recently heard of are forgotten, which only ever favours them.
_MAX_ORIGINS: Final = 4096

# What costs the whole time limit. Everything else is quick.
_STALLS: Final = frozenset({FetchFailure.TIMEOUT, FetchFailure.TOO_SLOW})


class Standings:
    """How origins behaved of late."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._strikes: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def is_left_alone(self, host: str) -> bool:
        """Tell whether an origin is not to be asked now."""
        strikes, since = self._strikes.get(host, (0, 0.0))
        return strikes >= _STRIKES and self._clock.monotonic() < since + _LEFT_ALONE_S

    def note(self, host: str, failure: FetchFailure | None) -> None:
        """Note how a request to an origin ended; None for well."""
        if failure not in _STALLS:
            self._strikes.pop(host, None)
            return
        strikes, _ = self._strikes.get(host, (0, 0.0))
        self._strikes[host] = (strikes + 1, self._clock.monotonic())
        self._strikes.move_to_end(host)
        if len(self._strikes) > _MAX_ORIGINS:
            self._strikes.popitem(last=False)
