"""A scanner and all else that a sweep works with; nothing is done on a backend unless a test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moto.server import ThreadedMotoServer

from relay.metrics import Metrics
from relay.stages.act import Acting
from relay.stages.decide import Policy
from relay.stages.scan import ScanTools
from relay.sweep.examine import SweepTools
from relay.tools.flights import open_flights
from relay.tools.memory import MemoryBudget
from relay.tools.scanning import open_scanning
from relay.tools.spool import open_spool
from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from tests.fediverse.clock import START, FrozenClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from db.pool import Database
    from scanner.scan import Scanner

MAX_MEDIA_BYTES = 2_000_000


@pytest.fixture(scope="session")
def scanner() -> Iterator[Scanner]:
    """A scanner that knows the canary and no other list."""
    with open_scanner(ScannerSettings(workers=1, embedded_classifier=False)) as opened:
        yield opened


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
async def tools(
    scanner: Scanner, database: Database, clock: FrozenClock, tmp_path: Path
) -> AsyncIterator[SweepTools]:
    """The tools of a sweep."""
    async with (
        open_scanning(scanner, threads=2, secret=bytes(32), now=START) as scanning,
        open_flights() as flights,
    ):
        yield SweepTools(
            database=database,
            scans=ScanTools(
                scanning=scanning, flights=flights, database=database, clock=clock, worker="sweep:test"
            ),
            spool=open_spool(tmp_path / "spool", max_bytes=10_000_000),
            policy=Policy(rules={}, conditions={}, enforces_media=False),
            acting=Acting(actions={}, abilities=frozenset(), own_host=""),
            memory=MemoryBudget(),
            metrics=Metrics(),
            clock=clock,
            max_media_bytes=MAX_MEDIA_BYTES,
        )


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """A server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
