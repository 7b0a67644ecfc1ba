from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from relay.tools.policy import FetchPolicy
from tests.fediverse import Fediverse, FrozenClock, Origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
async def world(clock: FrozenClock) -> AsyncIterator[Fediverse]:
    async with Fediverse(clock) as fediverse:
        yield fediverse


@pytest.fixture
async def origin(world: Fediverse) -> Origin:
    return await world.open_origin()


@pytest.fixture
def policy() -> FetchPolicy:
    """Loopback and plain http on any port, as in development; stalls end after a fifth of a second."""
    return FetchPolicy(
        allow_http=True,
        ports=None,
        allow_private=LOOPBACK,
        connect_timeout=timedelta(seconds=5),
        first_byte_timeout=timedelta(seconds=5),
        total_timeout=timedelta(seconds=10),
    )
