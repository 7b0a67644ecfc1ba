"""Fetch through the gateway, many times, from origins that cloak; and count what nothing examined."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.pool import Database
    from signatures.message import Headers
    from tests.e2e.gateway.backends import Backend
    from tests.e2e.gateway.cloaking import Cloak

AT_ONCE: Final = 8
# No two numbers of fetches later is an origin in the same minute of its hour.
_STEP: Final = timedelta(seconds=17)
_AGENTS: Final = ("http.rb/5.1.1 (Mastodon/4.5.0; +https://here.example/)", "Breakwater/0.1", "curl/8.5.0")
_RANGES: Final = (None, None, "bytes=64-900", "bytes=300-")


@dataclass(slots=True)
class Tally:
    """What became of many fetches.

    Attributes:
        delivered: Bodies that reached a backend, by the URL's path.
        withheld: Refusals, by the URL's path.
        unscanned: What was wrong with a delivery, one line each.
    """

    delivered: dict[str, int] = field(default_factory=dict)
    withheld: dict[str, int] = field(default_factory=dict)
    unscanned: list[str] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


async def fetch_many(
    count: int, *, backends: Sequence[Backend], urls: Sequence[str], cloak: Cloak, database: Database
) -> Tally:
    """Fetch so often, by every backend from every URL in turn, with changing headers, several at once."""
    tally, numbers = Tally(), iter(range(count))

    async def work() -> None:
        for number in numbers:
            backend = backends[number % len(backends)]
            url = urls[number // len(backends) % len(urls)]
            cloak.clock.advance(_STEP)
            got = await backend.fetch(url, headers=_headers_of(number))
            path = url.rpartition("/")[2]
            wrong = await cloak.find_unscanned(got, database)
            if wrong is not None:
                tally.unscanned.append(f"{path}: {wrong}")
            if got.status in {200, 206}:
                tally.delivered[path] = tally.delivered.get(path, 0) + 1
            elif got.status == 403:
                tally.withheld[path] = tally.withheld.get(path, 0) + 1
            else:
                tally.others.append(got.status)

    async with asyncio.TaskGroup() as group:
        for _ in itertools.repeat(None, AT_ONCE):
            group.create_task(work())
    return tally


def _headers_of(number: int) -> Headers:
    agent = ("User-Agent", _AGENTS[number // 3 % len(_AGENTS)])
    part = _RANGES[number // 5 % len(_RANGES)]
    return (agent,) if part is None else (agent, ("Range", part))
