"""`breakwater serve`: run the relay until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from typing import TYPE_CHECKING, Final

import httpx

from relay.app import Relay, open_relay, run_relay
from relay.assembly import local_url
from relay.cli.selftest import SELFTEST_TIMEOUT_S, render_selftest
from relay.clock import SystemClock
from relay.config import csam_handling_problems, loosened_policies
from relay.logs import configure_logs
from relay.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from relay.config import Settings

_log = logging.getLogger(__name__)

# A request makes some hundred objects and leaves hardly any behind, so that looking for cycles every 700
# of them, as is the default, finds next to nothing.
_COLLECT_EVERY: Final = 10_000


async def serve(settings: Settings, *, console: Console, with_selftest: bool) -> None:
    """Start everything, say where it is, and stay up until SIGTERM or SIGINT."""
    configure_logs(level=settings.logs.level, form=settings.logs.format)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    for sentence in loosened_policies(settings):
        _log.warning("loosened_policy %s", sentence)
    async with (
        open_relay(settings, clock=SystemClock(), metrics=Metrics()) as relay,
        asyncio.TaskGroup() as group,
    ):
        _spare_the_collector()
        group.create_task(run_relay(relay, stop=stop))
        _introduce(relay, settings, console)
        if with_selftest:
            await _test(relay, console)
        _advise(relay, settings, console)
    console.print(
        "Stopped. What was accepted and not yet forwarded is kept and goes on at the next start.",
        soft_wrap=True,
    )


def _spare_the_collector() -> None:
    """Keep the garbage collector from what lives as long as the process.

    Modules, settings and models are hundreds of thousands of objects; to walk them again and again takes
    time from every request, all at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)


def _introduce(relay: Relay, settings: Settings, console: Console) -> None:
    behind = (
        f"{relay.backend_url} (built-in stand-in, no real server)" if relay.is_standin else relay.backend_url
    )
    console.print()
    console.print("[bold]Breakwater is up.[/bold]")
    console.print(f"  inbox door   {relay.door_url}/inbox", highlight=False)
    for name, address in _list_doors(settings):
        console.print(f"  {name:<12} {address}", highlight=False)
    console.print(f"  backend      {behind}", highlight=False)
    console.print(f"  actor        {relay.actor}", highlight=False)
    console.print(f"  admin        {relay.admin_url}  (/readyz, /metrics, /standin)", highlight=False)
    console.print(f"  database     {relay.database_place}", highlight=False)
    console.print()


def _list_doors(settings: Settings) -> Iterator[tuple[str, str]]:
    """List the doors that are open beside the inbox; secrets are for `breakwater doors` to print."""
    if settings.gateway.enabled:
        kind = "https is opened" if settings.gateway.opens_tls else "https is tunnelled and NOT examined"
        yield "gateway", f"{local_url(settings.gateway.host, settings.gateway_port)}  ({kind})"
    doors = {
        "validator": settings.doors.validator,
        "PDQ": settings.doors.hash_endpoint,
        "look-up": settings.doors.lookup,
    }
    if any(doors.values()):
        names = ", ".join(name for name, is_open in doors.items() if is_open)
        address = local_url(settings.doors.host, settings.doors_port)
        yield "doors", f"{address}  ({names}; whole addresses: `breakwater doors`)"
    if settings.uploads.enabled:
        yield "uploads", f"{settings.base_url}/webhooks/mastodon"


async def _test(relay: Relay, console: Console) -> None:
    async with httpx.AsyncClient(timeout=SELFTEST_TIMEOUT_S, trust_env=False) as http:
        answer = await http.post(f"{relay.admin_url}/selftest")
    render_selftest(answer.json(), console)


def _advise(relay: Relay, settings: Settings, console: Console) -> None:
    console.print("What to do next:")
    steps = []
    if relay.is_standin:
        steps.append(
            "Name the server that you stand in front of: `breakwater init`, or set BREAKWATER_BACKEND_URL. "
            "Until then the stand-in records what arrives."
        )
    if not settings.identity.base_url:
        steps.append(
            "Give the relay its public address with identity.base_url, so that others can read its actor."
        )
    if csam_handling_problems(settings):
        steps.append(
            "Before you import lists of child abuse material, answer the questions of the legal section; "
            "`breakwater doctor` names them."
        )
    steps.append("Send POST …/inbox here from your reverse proxy; docs/doors.md has the lines for nginx.")
    steps.append("`breakwater doctor` checks everything, `breakwater selftest` repeats the test.")
    for number, step in enumerate(steps, start=1):
        console.print(f"  {number}. {step}", highlight=False, soft_wrap=True)
    console.print("Stop with Ctrl-C.")
