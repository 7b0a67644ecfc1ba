"""A world with other relays in it, and what asks them."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from relay.tools.fetching import GuardedClient, open_guarded_client
from relay.tools.policy import FetchPolicy
from tests.fediverse import Fediverse, FrozenClock, Origin
from tests.relay.exchange.neighbours import Neighbour

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POLICY = FetchPolicy(
    allow_http=True,
    ports=None,
    allow_private=(ip_network("127.0.0.0/8"),),
    connect_timeout=timedelta(seconds=5),
    first_byte_timeout=timedelta(seconds=5),
    total_timeout=timedelta(seconds=10),
)
"""Loopback and plain http on any port, as in development."""


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
async def client(clock: FrozenClock) -> AsyncIterator[GuardedClient]:
    async with open_guarded_client(POLICY, clock) as opened:
        yield opened


@pytest.fixture
def neighbour(origin: Origin) -> Neighbour:
    """A relay that nothing leads to yet but its own address."""
    return Neighbour(origin)
