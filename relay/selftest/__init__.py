"""Test the running relay through its real doors, with a harmless picture and with the canary.

The test plays a remote server: it has an actor with a key and serves pictures on a loopback port that
the guarded client was told about. It posts to the relay's own inbox over HTTP. Whatever it sends ends
in the stand-in, never at the real backend, and its case is closed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from relay.selftest import inbox
from relay.selftest.origin import SelftestOrigin, open_selftest_origin
from relay.selftest.parts import PATIENCE_S, SelftestFailure, SelftestTools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signatures.strictjson import JsonObject

__all__ = ["SelftestFailure", "SelftestOrigin", "SelftestTools", "open_selftest_origin", "run_selftest"]


async def run_selftest(tools: SelftestTools) -> JsonObject:
    """Run every check and return `{"passed": …, "checks": […]}`."""
    checks: list[JsonObject] = []
    async with httpx.AsyncClient(base_url=tools.door_url, timeout=PATIENCE_S, trust_env=False) as http:

        async def check(name: str, call: Callable[[], Awaitable[str]]) -> None:
            started = tools.clock.monotonic()
            try:
                detail, passed = await call(), True
            except SelftestFailure as failure:
                detail, passed = str(failure), False
            except Exception as error:  # noqa: BLE001 (a check that breaks is a failed check)
                detail, passed = (
                    f"the check itself broke ({type(error).__name__}); see the relay's log",
                    False,
                )
            took_ms = round((tools.clock.monotonic() - started) * 1000)
            checks.append({"name": name, "passed": passed, "detail": detail, "took_ms": took_ms})

        await check("identity", lambda: inbox.check_identity(http, tools))
        await check("unsigned delivery", lambda: inbox.check_unsigned(http, tools))
        await check("altered delivery", lambda: inbox.check_altered(http, tools))
        await check("harmless picture", lambda: inbox.check_harmless(http, tools))
        await check("canary", lambda: inbox.check_canary(http, tools))
    return {"passed": all(bool(one["passed"]) for one in checks), "checks": list(checks)}
