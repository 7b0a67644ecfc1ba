"""The admin port: health, metrics, the stand-in's record, and the self-test. Loopback by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from db.errors import DatabaseError
from db.pool import ping

if TYPE_CHECKING:
    import asyncio

    from db.pool import Database
    from relay.backends.standin import StandIn
    from relay.metrics import Metrics
    from signatures.strictjson import JsonObject


class RunSelftest(Protocol):
    """What runs the self-test."""

    async def __call__(self) -> JsonObject:
        """Run every check and return the results."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminPages:
    """Serve what an admin and their monitoring look at."""

    database: Database
    metrics: Metrics
    standin: StandIn
    run_selftest: RunSelftest
    selftest_lock: asyncio.Lock

    async def livez(self, _: web.Request) -> web.Response:
        """Say that the process answers."""
        return web.json_response({"status": "alive"})

    async def readyz(self, _: web.Request) -> web.Response:
        """Say whether deliveries can be accepted."""
        try:
            async with self.database.connection() as conn:
                await ping(conn)
        except DatabaseError:
            return web.json_response(
                {"status": "not ready", "because": "the database does not answer; deliveries get a 503"},
                status=503,
            )
        return web.json_response({"status": "ready"})

    async def metrics_page(self, _: web.Request) -> web.Response:
        """Answer with the metrics in Prometheus' text form."""
        body, content_type = self.metrics.render()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def standin_page(self, _: web.Request) -> web.Response:
        """Show what the stand-in backend received, newest first, without the bodies."""
        return web.json_response(
            {
                "note": "This is Breakwater's stand-in, not a real server. Set backend.url to name yours.",
                "count": self.standin.count,
                "received": [
                    {"method": one.method, "target": one.target, "bytes": len(one.body)}
                    for one in reversed(self.standin.received)
                ],
            }
        )

    async def selftest(self, _: web.Request) -> web.Response:
        """Run the self-test; one at a time."""
        async with self.selftest_lock:
            return web.json_response(await self.run_selftest())
