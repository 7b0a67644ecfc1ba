"""The whole relay inside the test's own process, with a clock that can be moved."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from db.pool import open_database
from relay.app import Relay, open_relay, run_relay
from relay.clock import SystemClock
from relay.config import load_settings
from relay.metrics import Metrics
from tests.e2e.process import build_environment, free_ports, scratch_directory
from tests.e2e.world import Scene
from tests.fediverse import RecordingBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.world import World


class ShiftedClock:
    """The machine's clock, ahead by as much as a test wants."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._ahead = timedelta()

    def now(self) -> datetime:
        return self._clock.now() + self._ahead

    def monotonic(self) -> float:
        return self._clock.monotonic() + self._ahead.total_seconds()

    def advance(self, by: timedelta) -> None:
        self._ahead += by


@dataclass(frozen=True, slots=True, kw_only=True)
class InsideRelay:
    """A relay of this process, with the parts of `RelayProcess` that a scene asks for."""

    parts: Relay
    clock: ShiftedClock
    counts: Metrics
    dsn: str

    @property
    def door(self) -> str:
        return self.parts.door_url

    @property
    def inbox(self) -> str:
        return f"{self.door}/inbox"

    @property
    def port(self) -> int:
        return urlsplit(self.door).port or 0

    @property
    def base_url(self) -> str:
        return f"{self.door}/breakwater"

    @property
    def admin(self) -> str:
        return self.parts.admin_url

    async def metrics(self) -> str:
        return self.counts.render()[0].decode()

    def advance(self, by: timedelta) -> None:
        """Let time pass; the workers look for what became due."""
        self.clock.advance(by)
        self.parts.workers.wake()
        self.parts.errands.wake()


@contextlib.asynccontextmanager
async def open_inside(
    world: World, *, dsn: str, backend: RecordingBackend | None = None, backend_url: str = "", **settings: str
) -> AsyncIterator[Scene]:
    """Run a relay in this process, behind it a backend of its own unless one is given.

    Args:
        world: The remote servers.
        dsn: The database; a new one with the schema.
        backend: The server behind the relay.
        backend_url: Where that is, if not where the backend says.
        settings: More settings by their names with an underscore for each dot.
    """
    async with contextlib.AsyncExitStack() as stack:
        backend = backend or await stack.enter_async_context(RecordingBackend.open())
        directory = stack.enter_context(scratch_directory())
        port, admin_port = free_ports(2)
        environ = build_environment(
            backend_url=backend_url or backend.url,
            ports=world.ports,
            database_url=dsn,
            server_port=str(port),
            server_admin_port=str(admin_port),
            server_data_dir=str(directory / "data"),
            scanner_workers="1",
            **settings,
        )
        clock, metrics = ShiftedClock(), Metrics()
        opened = await stack.enter_async_context(
            open_relay(load_settings(None, environ), clock=clock, metrics=metrics)
        )
        database = await stack.enter_async_context(open_database(dsn, min_size=1, max_size=2))
        stop = asyncio.Event()
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(stop.set)
        group.create_task(run_relay(opened, stop=stop))
        relay = InsideRelay(parts=opened, clock=clock, counts=metrics, dsn=dsn)
        yield Scene(world=world, backend=backend, relay=relay, database=database)
