"""The whole line with everything it works with, but nobody at work yet; time stands still."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.app import Relay, open_relay
from relay.config import load_settings
from relay.metrics import Metrics
from relay.pipeline import Reply, receive
from tests.e2e.process import build_environment, free_ports, scratch_directory
from tests.fediverse import Fediverse, FrozenClock, RecordingBackend
from tests.relay.stages.parts import find

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.delivery_rows import StoredDelivery
    from db.pool import Database
    from relay.lifecycle import State
    from relay.pipeline import Tools
    from relay.workers import Workers
    from tests.fediverse import Actor, Origin

_PATIENCE_SECONDS = 30
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A relay whose workers have not begun.

    Attributes:
        relay: All its parts.
        clock: Its time, which the senders sign by.
        backend: The server behind it.
        origin: A remote server; its only port.
        metrics: Its numbers.
    """

    relay: Relay
    clock: FrozenClock
    backend: RecordingBackend
    origin: Origin
    metrics: Metrics

    @property
    def workers(self) -> Workers:
        return self.relay.workers

    @property
    def tools(self) -> Tools:
        return self.workers._tools

    @property
    def database(self) -> Database:
        return self.tools.database

    async def receive(self, actor: Actor, activity: object) -> Reply:
        """Take in a delivery that was signed now."""
        message = actor.sign_and_build(activity, f"{self.relay.door_url}/inbox", now=self.clock.now())
        return await receive(message, remote_address="192.0.2.7", tools=self.tools)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Let the workers work until the block ends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.workers.run())
            try:
                yield
            finally:
                self.workers.stop()

    async def wait_for(self, delivery_id: int, *states: State) -> StoredDelivery:
        """Wait until a delivery is in one of the states."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                stored = await find(self.database, delivery_id)
                if stored.state in states:
                    return stored
                await asyncio.sleep(_POLL_SECONDS)


@contextlib.asynccontextmanager
async def open_line(dsn: str, **settings: str) -> AsyncIterator[Line]:
    """Open a line on a database of its own."""
    clock, metrics = FrozenClock(), Metrics()
    async with Fediverse(clock) as world, RecordingBackend.open() as backend:
        origin = await world.open_origin()
        with scratch_directory() as directory:
            port, admin_port = free_ports(2)
            environ = build_environment(
                backend_url=backend.url,
                ports=(origin.port,),
                database_url=dsn,
                server_port=str(port),
                server_admin_port=str(admin_port),
                server_data_dir=str(directory / "data"),
                scanner_workers="1",
                **settings,
            )
            async with open_relay(load_settings(None, environ), clock=clock, metrics=metrics) as relay:
                yield Line(relay=relay, clock=clock, backend=backend, origin=origin, metrics=metrics)
