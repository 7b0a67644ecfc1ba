"""The relay between the two ends of a test, and a tap on the wire in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.app import Relay, open_relay, run_relay
from relay.clock import SystemClock
from relay.config import load_settings
from relay.metrics import Metrics
from signatures.message import RequestMessage
from tests.fediverse.wire import WireRequest, WireResponse, build_head, open_server, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRelay:
    """A relay at work, in this process."""

    relay: Relay
    stop: asyncio.Event
    running: asyncio.Task[None]

    async def finish(self) -> None:
        """Let the workers end what they began; the doors stay open."""
        self.stop.set()
        await self.running


def free_ports(count: int) -> list[int]:
    """Find ports on which nothing listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.asynccontextmanager
async def open_running_relay(
    data_dir: Path,
    *,
    port: int,
    base_url: str,
    dsn: str,
    backend_url: str,
    origin: str,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[RunningRelay]:
    """Run a relay in front of a backend; of the loopback network it may reach one origin only.

    Others know it by its base URL, which is where the tap listens.
    """
    (admin_port,) = free_ports(1)
    settings = load_settings(
        None,
        {
            "BREAKWATER_SERVER_DATA_DIR": str(data_dir),
            "BREAKWATER_SERVER_PORT": str(port),
            "BREAKWATER_SERVER_ADMIN_PORT": str(admin_port),
            "BREAKWATER_IDENTITY_BASE_URL": base_url,
            "BREAKWATER_DATABASE_URL": dsn,
            "BREAKWATER_BACKEND_URL": backend_url,
            "BREAKWATER_FETCH_ALLOW_PRIVATE": origin.removeprefix("http://"),
            "BREAKWATER_SCANNER_CLASSIFIER": "none",
            "BREAKWATER_SCANNER_WORKERS": "1",
            "BREAKWATER_ATTEST_WITHHOLD_SHARE_PERMILLE": "0",
            **(environ or {}),
        },
    )
    stop = asyncio.Event()
    async with (
        open_relay(settings, clock=SystemClock(), metrics=Metrics()) as relay,
        asyncio.TaskGroup() as group,
    ):
        running = group.create_task(run_relay(relay, stop=stop))
        try:
            yield RunningRelay(relay=relay, stop=stop, running=running)
        finally:
            stop.set()


class Tap:
    """Pass requests on byte for byte and remember them with what they were answered.

    Attributes:
        url: Where it listens.
        exchanges: Every request and the relay's answer to it.
        lost_answers: How many of the next answers are replaced by a 500, as a failing proxy would.
    """

    def __init__(self, port: int, behind: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.exchanges: list[tuple[WireRequest, WireResponse]] = []
        self.lost_answers = 0
        self._behind = behind

    @staticmethod
    @contextlib.asynccontextmanager
    async def open(behind: int) -> AsyncIterator[Tap]:
        """Open a tap in front of a loopback port."""
        tap: Tap

        async def serve(request: WireRequest, writer: asyncio.StreamWriter) -> bool:
            return await tap._serve(request, writer)

        async with open_server(serve) as port:
            tap = Tap(port, behind)
            yield tap

    async def _serve(self, request: WireRequest, writer: asyncio.StreamWriter) -> bool:
        message = RequestMessage(
            method=request.method,
            scheme="http",
            authority=request.header("Host") or "",
            target=request.target,
            headers=tuple(pair for pair in request.headers if pair[0].lower() != "connection"),
            body=request.body,
        )
        response = await send(message, host="127.0.0.1", port=self._behind)
        self.exchanges.append((request, response))
        if self.lost_answers:
            self.lost_answers -= 1
            writer.write(build_head(500, (("Content-Length", "0"),)))
        else:
            pairs = tuple(pair for pair in response.headers if pair[0].lower() != "connection")
            writer.write(build_head(response.status, pairs) + response.body)
        await writer.drain()
        return False
