"""Keep long examinations from standing in the way of short ones, and one sender's from taking every place.

Nearly every examination takes less than a second. One that takes longer gives its worker back and goes on
in a lane of its own, as long as there is one, and as long as its sender has not got its share of them.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# An examination mostly waits; four fetches each are still half of the connections that the client opens.
MAX_LANES: Final = 64
# Eight senders that do nothing but stall fill the lanes; short examinations go on even then.
MAX_LANES_PER_SENDER: Final = 8


class Lanes:
    """The lanes of this process."""

    def __init__(self, *, width: int = MAX_LANES, per_sender: int = MAX_LANES_PER_SENDER) -> None:
        self._width = width
        self._per_sender = per_sender
        self._taken: Counter[str] = Counter()

    def has_share_left(self, sender: str) -> bool:
        """Tell whether a sender has less than its share of the lanes."""
        return self._taken[sender] < self._per_sender

    def has_lane_for(self, sender: str) -> bool:
        """Tell whether there is a lane for an examination of a sender's."""
        return self._taken.total() < self._width and self.has_share_left(sender)

    @contextmanager
    def enter(self, sender: str) -> Iterator[None]:
        """Take a lane for the time of the block."""
        self._taken[sender] += 1
        try:
            yield
        finally:
            self._taken[sender] -= 1
            if not self._taken[sender]:
                del self._taken[sender]
