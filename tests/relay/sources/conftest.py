from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from relay.tools.fetching import open_guarded_client
from relay.tools.policy import FetchPolicy
from tests.fediverse import FrozenClock
from tests.lists_servers import FileServer, NcmecServer, StopNciiServer, ThreatExchangeServer
from tests.relay.sources.parts import Fetching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from db.pool import Database


@pytest.fixture
async def fetching(database: Database, tmp_path: Path) -> AsyncIterator[Fetching]:
    clock = FrozenClock()
    policy = FetchPolicy(
        allow_http=True,
        ports=None,
        allow_private=(ip_network("127.0.0.0/8"),),
        total_timeout=timedelta(seconds=20),
    )
    async with open_guarded_client(policy, clock) as client:
        yield Fetching(database=database, client=client, clock=clock, directory=tmp_path)


@pytest.fixture
async def ncmec() -> AsyncIterator[NcmecServer]:
    async with NcmecServer.open() as server:
        yield server


@pytest.fixture
async def stopncii() -> AsyncIterator[StopNciiServer]:
    async with StopNciiServer.open() as server:
        yield server


@pytest.fixture
async def threatexchange() -> AsyncIterator[ThreatExchangeServer]:
    async with ThreatExchangeServer.open() as server:
        yield server


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    async with FileServer.open() as server:
        yield server
