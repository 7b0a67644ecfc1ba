"""Test the running relay through its real doors, with a harmless picture and with the canary.

The test plays a remote server: it has an actor with a key and serves pictures on a loopback port that
the guarded client was told about. It posts to the relay's own inbox over HTTP, and goes through every other
door that is open as the backend would. Whatever it posts ends in the stand-in, never at the real backend, and
its cases are closed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from relay.selftest import doors, inbox
from relay.selftest.doors import DoorAddresses
from relay.selftest.origin import SelftestOrigin, open_selftest_origin
from relay.selftest.parts import PATIENCE_S, SelftestFailure, SelftestTools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signatures.strictjson import JsonObject

__all__ = [
    "DoorAddresses",
    "SelftestFailure",
    "SelftestOrigin",
    "SelftestTools",
    "open_selftest_origin",
    "run_selftest",
]


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
        addresses = tools.doors
        if addresses.gateway is not None:
            await check("gateway", lambda: doors.check_gateway(addresses, tools))
        if addresses.authority_pem is not None:
            await check("gateway, https", lambda: doors.check_gateway_tls(addresses, tools))
        if addresses.validator is not None:
            await check("validator", lambda: doors.check_validator(addresses, tools))
        if addresses.hash_endpoint is not None:
            await check("hash endpoint", lambda: doors.check_hash_endpoint(addresses, tools))
        if addresses.lookup is not None:
            await check("look-up", lambda: doors.check_lookup(addresses, tools))
    return {"passed": all(bool(one["passed"]) for one in checks), "checks": list(checks)}
