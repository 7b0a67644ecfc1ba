"""The commands around a running relay: serve, selftest, doctor, cases."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from db.cases import CaseState
from relay import assembly
from relay.backends.adapters import open_adapter
from relay.cli import attestations as attestation_work
from relay.cli import cases as case_work
from relay.cli.diagnosis import Diagnosis, Finding
from relay.cli.doctor import examine_install
from relay.cli.options import config_options, json_option, print_rows, read_settings, run, with_database
from relay.cli.selftest import fetch_selftest, render_selftest
from relay.cli.serve import serve
from relay.clock import SystemClock
from relay.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from db.pool import Database
    from relay.stages.act import Acting

T = TypeVar("T")

_MARKS = {
    Finding.OK: "[green]ok[/green]",
    Finding.NOTE: "[yellow]note[/yellow]",
    Finding.PROBLEM: "[red]PROBLEM[/red]",
}


@click.command("serve")
@config_options
@click.option("--selftest", "with_selftest", is_flag=True, help="Run the self-test once everything is up.")
def serve_command(*, with_selftest: bool, **place: Any) -> None:
    """Run the relay until SIGTERM or Ctrl-C."""
    run(_serve(place, with_selftest=with_selftest))


async def _serve(place: dict[str, Any], *, with_selftest: bool) -> None:
    await serve(read_settings(**place), console=Console(), with_selftest=with_selftest)


@click.command("selftest")
@config_options
@json_option
def selftest_command(*, as_json: bool, **place: Any) -> None:
    """Send a harmless picture and the canary through the running relay; exit 1 if a check fails."""
    results = run(asyncio.to_thread(lambda: fetch_selftest(read_settings(**place))))
    if as_json:
        click.echo(json.dumps(results))
    else:
        render_selftest(results, Console())
    sys.exit(0 if results["passed"] else 1)


@click.command("doctor")
@config_options
@json_option
def doctor_command(*, as_json: bool, **place: Any) -> None:
    """Check the whole installation and say how to mend it; exit 1 if there is a problem."""
    found = run(_diagnose(place))
    has_problem = any(one.finding is Finding.PROBLEM for one in found)
    if as_json:
        rows = [
            {"check": one.check, "finding": one.finding.value, "detail": one.detail, "remedy": one.remedy}
            for one in found
        ]
        click.echo(json.dumps({"healthy": not has_problem, "checks": rows}))
    else:
        _print_diagnoses(found)
    sys.exit(1 if has_problem else 0)


async def _diagnose(place: dict[str, Any]) -> list[Diagnosis]:
    return await examine_install(read_settings(**place), clock=SystemClock())


def _print_diagnoses(found: list[Diagnosis]) -> None:
    table = Table(show_edge=False)
    for column in ("check", "finding"):
        table.add_column(column, no_wrap=True)
    table.add_column("what was seen, and what to do", overflow="fold")
    for one in found:
        remedy = f"\n[bold]{one.remedy}[/bold]" if one.remedy else ""
        table.add_row(one.check, _MARKS[one.finding], f"{one.detail}{remedy}")
    Console().print(table)


@click.group("cases")
def cases_group() -> None:
    """See what waits for a person, and rule on it."""


@click.group("attestations")
def attestations_group() -> None:
    """See what this relay has signed."""


@attestations_group.command("show")
@click.argument("name")
@config_options
def show_attestation(*, name: str, **place: Any) -> None:
    """Print the attestation NAME (or `newest`) exactly as it was signed."""
    signed = run(_with_database(place, lambda database: attestation_work.get_signed(database, name)))
    click.echo(signed)


def _listing(
    group: click.Group,
    name: str,
    about: str,
    find: Callable[[Database], Awaitable[list[dict[str, Any]]]],
) -> None:
    @group.command(name, help=about)
    @config_options
    @json_option
    def command(*, as_json: bool, **place: Any) -> None:
        rows = run(_with_database(place, find))
        if as_json:
            click.echo(json.dumps(rows))
            return
        if not rows:
            click.echo("None.")
            return
        print_rows(rows)


_listing(cases_group, "list", "List the open cases, oldest first.", case_work.list_open)
_listing(
    cases_group,
    "held",
    "List deliveries that are held.",
    lambda database: case_work.list_stopped(database, State.HELD),
)
_listing(
    cases_group,
    "dead",
    "List deliveries that were given up, with the reason.",
    lambda database: case_work.list_stopped(database, State.DEAD),
)


_listing(attestations_group, "list", "List the newest attestations.", attestation_work.list_newest)


def _ruling(name: str, about: str, to: CaseState) -> None:
    @cases_group.command(name, help=about)
    @click.argument("case_id", type=int)
    @config_options
    @click.option("--by", "ruled_by", default=getpass.getuser, help="Who rules; by default the system user.")
    @click.option("--note", default="", help="Your own words, kept with the case.")
    def command(*, case_id: int, ruled_by: str, note: str, **place: Any) -> None:
        async def work(database: Database, acting: Acting) -> str:
            now = SystemClock().now()
            return await case_work.rule(
                database, case_id, to=to, ruled_by=ruled_by, note=note, now=now, acting=acting
            )

        click.echo(f"Case {case_id} is {to.value}: {run(_with_acting(place, work))}.")


_ruling("release", "Allow exactly these bytes from now on; their delivery goes on.", CaseState.RELEASED)
_ruling("uphold", "Block exactly these bytes from now on; their delivery is dropped.", CaseState.UPHELD)


@cases_group.command("posts")
@click.argument("case_id", type=int)
@config_options
@json_option
def posts_command(*, case_id: int, as_json: bool, **place: Any) -> None:
    """Name the posts and files with the media of CASE_ID that your server has or may get, to act by hand."""
    rows = run(_with_acting(place, partial(_list_places, case_id)))
    if as_json:
        click.echo(json.dumps(rows))
    elif not rows:
        click.echo("None that is known.")
    else:
        print_rows(rows)


async def _list_places(case_id: int, database: Database, acting: Acting) -> list[dict[str, Any]]:
    return await case_work.list_places(database, case_id, acting=acting)


async def _with_acting(place: dict[str, Any], work: Callable[[Database, Acting], Awaitable[T]]) -> T:
    """Do work that depends on what can be done on the backend; its API is not asked anything."""
    settings = read_settings(**place)
    async with open_adapter(settings.backend, domain=settings.domain) as api:
        acting = assembly.build_acting(settings, abilities=frozenset() if api is None else api.abilities)
        return await with_database(settings, lambda database: work(database, acting))


async def _with_database(place: dict[str, Any], work: Callable[[Database], Awaitable[T]]) -> T:
    return await with_database(read_settings(**place), work)
