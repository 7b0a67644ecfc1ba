"""The doors for programs beside the backend on the tools of an open line, as `relay.app` builds them."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
from aiohttp import web

from relay.tools.flights import open_flights
from relay.web.hash_endpoint import HashDoor
from relay.web.local import LocalDoors
from relay.web.lookup import LookupDoor
from relay.web.validator import ValidatorDoor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.pipeline import Tools

SECRET = "0123456789abcdef-secret"
PATIENCE = timedelta(seconds=60)


@contextlib.asynccontextmanager
async def open_local_doors(
    tools: Tools, *, within: timedelta = PATIENCE, max_under_way: int = 100, per_minute: int = 100
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve all doors, and open a client below the path that their secret makes."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        validator = ValidatorDoor(
            tools=tools, flights=await enter(open_flights()), within=within, max_under_way=max_under_way
        )
        hashes = HashDoor(
            tools=tools, flights=await enter(open_flights()), per_minute=per_minute, within=within
        )
        lookup = LookupDoor(tools=tools, max_under_way=max_under_way)
        open_doors = {"validate": validator, "pdq": hashes, "lookup": lookup}
        doors = LocalDoors(secret=SECRET, doors=open_doors, metrics=tools.metrics)
        runner = web.AppRunner(doors.build(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield await enter(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}/{SECRET}",
                trust_env=False,
                timeout=PATIENCE.total_seconds(),
            )
        )
