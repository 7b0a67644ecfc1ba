"""The stand-in shows what came last, and never becomes the largest part of the relay."""

from __future__ import annotations

import httpx

from relay.backends import standin
from relay.backends.standin import open_standin


async def test_what_the_stand_in_keeps_is_bounded_in_bytes() -> None:
    body = bytes(1024 * 1024)
    async with open_standin() as opened, httpx.AsyncClient(base_url=opened.url, trust_env=False) as http:
        for number in range(20):
            await http.post(f"/inbox?{number}", content=body)

    assert opened.count == 20
    assert sum(len(one.body) for one in opened.received) <= standin._KEPT_BYTES
    assert opened.received[-1].target == "/inbox?19"
