"""Decide when ordinary peers see what was issued: in batches whose ends tell nothing about single items.

A peer that saw each attestation as it is made could tell, from the time between a post and its attestation,
what was looked at longer or held back. So everything waits for the end of a batch. The ends depend on the
clock and on chance alone, never on when something was issued within a batch.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

BATCH: Final = timedelta(seconds=30)
"""The mean length of a batch. Source: section 4 of the design of the exchange."""

LONGEST_DELAY: Final = BATCH * 2
"""After this long everything that was issued can be seen."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def choose_batch_end(now: datetime, *, chance: float) -> datetime:
    """Choose when a batch ends that begins to fill now.

    Args:
        now: The time.
        chance: In [0, 1), drawn anew for every batch.

    Returns:
        A time in the interval of 30 s after the one that `now` lies in.
    """
    return now - (now - _EPOCH) % BATCH + BATCH + chance * BATCH
