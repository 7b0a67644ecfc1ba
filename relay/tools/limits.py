"""Bound what the relay takes in: all together, and from each domain."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# Senders remembered at once; the least recently seen are forgotten, which only ever favours them.
_MAX_DOMAINS: Final = 10_000


# What one domain may have waiting once the backlog is half full: ten of the most persistent ones then still
# leave room for everybody else.
_SHARES: Final = 10

# A share is never less than what an honest server sends while it catches up after a break.
_LEAST_SHARE: Final = 100

UNVERIFIED: Final = ""
"""The one name for all whose sender is not known yet: anybody can make such deliveries, under any name."""


def share_of(sender_actor: str | None) -> str:
    """Name whose share of the backlog a delivery takes; None for a sender that is not known."""
    return UNVERIFIED if sender_actor is None else domain_of(sender_actor)


def domain_of(actor: str) -> str:
    """Cut the domain, with its port if it names one, out of an actor's id."""
    return actor.partition("://")[2].partition("/")[0].lower()


class Backlog:
    """How much is stored and not finished, and whose, as this process knows it.

    It is counted here so that no delivery costs a count of the table, and set right from the table now
    and then; between replicas it is off by what the others did since.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._share = max(limit // _SHARES, _LEAST_SHARE)
        self._count = 0
        self._by_domain: Counter[str] = Counter()
        self._since_count: Counter[str | None] = Counter()

    @property
    def limit(self) -> int:
        """How much may be stored and not finished."""
        return self._limit

    @property
    def is_full(self) -> bool:
        """Tell whether nothing more may be stored."""
        return self._count >= self._limit

    @property
    def is_worth_a_recount(self) -> bool:
        """Tell whether shares may soon decide, so that they should be counted in the table."""
        return self._count * 4 >= self._limit or self._by_domain[UNVERIFIED] * 2 >= self._share

    def has_room_for(self, domain: str) -> bool:
        """Tell whether a domain has less waiting than its share, as far as that matters by now."""
        is_bounded = domain == UNVERIFIED or self._count * 2 >= self._limit
        return not is_bounded or self._by_domain[domain] < self._share

    def add(self, change: int, *, domain: str | None = None) -> None:
        """Note deliveries that were stored, or with a negative number finished."""
        self._count = max(0, self._count + change)
        if change > 0:
            self._since_count[domain] += change
        if domain is not None:
            self._by_domain[domain] += change
            if self._by_domain[domain] <= 0:
                del self._by_domain[domain]

    def start_recount(self) -> None:
        """Begin to note what is stored while the table is being counted."""
        self._since_count.clear()

    def set(self, count: int, *, by_domain: Mapping[str, int] | None = None) -> None:
        """Set what the table said, and add what was stored since the recount started.

        The table may have counted some of that as well. Then less is taken in until the next recount, where
        leaving it out would take in more than there is room for. Without domains, what was counted of them
        stays.
        """
        self._count = count + self._since_count.total()
        if by_domain is not None:
            self._by_domain = Counter(by_domain)
            self._by_domain.update(
                {name: more for name, more in self._since_count.items() if name is not None}
            )


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
