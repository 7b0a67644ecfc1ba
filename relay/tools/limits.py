"""Bound what the relay takes in: all together, and from each domain."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

# Senders remembered at once; the least recently seen are forgotten, which only ever favours them.
_MAX_DOMAINS: Final = 10_000


class Backlog:
    """How much is stored and not finished, as this process knows it.

    It is counted here so that no delivery costs a count of the table, and set right from the table now
    and then; between replicas it is off by what the others did since.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._count = 0

    @property
    def is_full(self) -> bool:
        """Tell whether nothing more may be stored."""
        return self._count >= self._limit

    def add(self, change: int) -> None:
        """Note deliveries that were stored, or with a negative number finished."""
        self._count = max(0, self._count + change)

    def set(self, count: int) -> None:
        """Set what the table says."""
        self._count = count


class FairShare:
    """A token bucket a domain."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, datetime]] = OrderedDict()

    def admits(self, domain: str, *, now: datetime) -> bool:
        """Take one token of a domain's; False where it has none left."""
        tokens, seen = self._buckets.get(domain, (float(self._burst), now))
        elapsed = max(0.0, (now - seen).total_seconds())
        tokens = min(float(self._burst), tokens + elapsed * self._per_second)
        is_admitted = tokens >= 1.0
        self._buckets[domain] = (tokens - 1.0 if is_admitted else tokens, now)
        self._buckets.move_to_end(domain)
        if len(self._buckets) > _MAX_DOMAINS:
            self._buckets.popitem(last=False)
        return is_admitted
