"""`breakwater selftest`: send test pictures through the running relay's own doors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx
from rich.table import Table

from relay import assembly
from relay.errors import StartupError

if TYPE_CHECKING:
    from rich.console import Console

    from relay.config import Settings

# Five checks and one for each other door, of which the slowest waits for a cold classifier.
SELFTEST_TIMEOUT_S: Final = 150.0


def fetch_selftest(settings: Settings) -> dict[str, Any]:
    """Ask the running relay to test itself.

    Raises:
        StartupError: No relay answers at the admin port.
    """
    base = assembly.local_url(settings.server.admin_host, settings.server.admin_port)
    try:
        answer = httpx.post(f"{base}/selftest", timeout=SELFTEST_TIMEOUT_S, trust_env=False)
        answer.raise_for_status()
        results: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise StartupError(
            f"No relay answers at {base} ({type(error).__name__}), so "
            "there is nothing to test. Start it with `breakwater serve`, or name its port with "
            "--port or server.admin_port."
        ) from error
    return results


def render_selftest(results: dict[str, Any], console: Console) -> None:
    """Print the results as a table."""
    table = Table(title="Self-test", title_justify="left", show_edge=False)
    table.add_column("check")
    table.add_column("result")
    table.add_column("what was seen", overflow="fold")
    table.add_column("ms", justify="right")
    for check in results["checks"]:
        verdict = "[green]passed[/green]" if check["passed"] else "[red]FAILED[/red]"
        table.add_row(check["name"], verdict, check["detail"], str(check["took_ms"]))
    console.print(table)
    console.print()
    if results["passed"]:
        console.print("[green]Every check passed.[/green]")
    else:
        console.print(
            "[red]Not every check passed.[/red] Each says what to do; the relay stays up meanwhile."
        )
    console.print()
