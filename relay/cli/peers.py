"""`breakwater peers`: with which other relays attestations are exchanged, and how far each is relied on."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.markup import escape

from relay.cli import peers_work
from relay.cli.options import (
    config_options,
    json_option,
    print_json,
    print_rows,
    read_settings,
    run,
    with_database,
)
from relay.cli.peers_canaries import canary_group
from relay.cli.peers_tools import with_peer_tools
from relay.cli.peers_view import list_rows
from relay.clock import SystemClock
from scanner.labels import Category

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE: Final = click.Path(path_type=Path, dir_okay=False)


def _by_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--by", default=getpass.getuser, help="Who decides; by default the system user.")(
        command
    )


@click.group("peers")
def peers_group() -> None:
    """See and choose with which other relays attestations are exchanged.

    DOMAIN is a peer's domain, or the address of its actor.
    """


peers_group.add_command(canary_group)


@peers_group.command("add")
@click.argument("domain")
@click.option("--group", default=None, help="Its trust group: relays of one operator are one voice.")
@click.option("--note", default="", help="Your own words about it.")
@click.option("--no-follow", is_flag=True, help="Do not ask to read what it attests.")
@_by_option
@config_options
@json_option
def add_command(
    *, domain: str, group: str | None, note: str, no_follow: bool, by: str, as_json: bool, **place: Any
) -> None:
    """Look for the relay of DOMAIN, keep it as unknown, and ask to read what it attests.

    Nothing of it counts before you approve it.
    """
    shown = run(
        with_peer_tools(
            read_settings(**place),
            lambda tools: peers_work.add(tools, domain, group=group, note=note, follows=not no_follow, by=by),
        )
    )
    _show(shown, as_json=as_json)


@peers_group.command("approve")
@click.argument("domain")
@click.option("--allied", is_flag=True, help="The same operator, or a contract.")
@click.option("--no-follow", is_flag=True, help="Do not ask to read what it attests.")
@_by_option
@config_options
@json_option
def approve_command(
    *, domain: str, allied: bool, no_follow: bool, by: str, as_json: bool, **place: Any
) -> None:
    """Let the relay of DOMAIN read what this one attests, and begin to measure what it says."""
    shown = run(
        with_peer_tools(
            read_settings(**place),
            lambda tools: peers_work.approve(
                tools, domain, is_ally=allied, follows_back=not no_follow, by=by
            ),
        )
    )
    _show(shown, as_json=as_json)


@peers_group.command("list")
@config_options
@json_option
def list_command(*, as_json: bool, **place: Any) -> None:
    """List the peers, those that wait for you too."""
    rows = run(with_database(read_settings(**place), list_rows))
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("None. To look for one: breakwater peers add DOMAIN")
    else:
        # What others call themselves is no markup.
        print_rows([{name: escape(str(value or "")) for name, value in row.items()} for row in rows])


@peers_group.command("show")
@click.argument("domain")
@config_options
@json_option
def show_command(*, domain: str, as_json: bool, **place: Any) -> None:
    """Say who the relay of DOMAIN is, where it stands, and why."""
    now = SystemClock().now()
    shown = run(
        with_database(read_settings(**place), lambda database: peers_work.show(database, domain, now=now))
    )
    _show(shown, as_json=as_json)


@peers_group.command("evidence")
@click.argument("domain")
@config_options
@json_option
def evidence_command(*, domain: str, as_json: bool, **place: Any) -> None:
    """Print what proves that the relay of DOMAIN said two things under one name, for others to verify.

    Each pair is two objects as they were signed, with the keys that were admitted for their issuer: whoever
    verifies both needs to believe neither this relay nor the other.
    """
    shown = run(
        with_database(read_settings(**place), lambda database: peers_work.show_evidence(database, domain))
    )
    if not as_json and not shown["pairs"]:
        click.echo("None. Nothing that it signed contradicts anything else of it.")
        return
    _show(shown, as_json=as_json)


@peers_group.command("quarantine")
@click.argument("domain")
@click.option("--reason", required=True, help="Why; it is shown and kept in the audit log.")
@_by_option
@config_options
@json_option
def quarantine_command(*, domain: str, reason: str, by: str, as_json: bool, **place: Any) -> None:
    """Ignore all that the relay of DOMAIN says, and scan again here what was let go on its word."""
    now = SystemClock().now()
    shown = run(
        with_database(
            read_settings(**place),
            lambda database: peers_work.quarantine(database, domain, reason=reason, by=by, now=now),
        )
    )
    _show(shown, as_json=as_json)


@peers_group.command("reinstate")
@click.argument("domain")
@_by_option
@config_options
@json_option
def reinstate_command(*, domain: str, by: str, as_json: bool, **place: Any) -> None:
    """Give the relay of DOMAIN another chance: on probation, with no credit left."""
    now = SystemClock().now()
    shown = run(
        with_database(
            read_settings(**place),
            lambda database: peers_work.reinstate(database, domain, by=by, now=now),
        )
    )
    _show(shown, as_json=as_json)


@peers_group.command("alerts")
@click.argument("domain")
@click.option(
    "--category",
    "categories",
    type=click.Choice([category.value for category in Category]),
    multiple=True,
    help="A category to exchange alerts for; may stand several times.",
)
@click.option("--new-key", type=_FILE, help="Make a key, and write it to a file for the other admin.")
@click.option("--key-file", type=_FILE, help="The file that the other admin made.")
@click.option("--off", is_flag=True, help="Exchange no alerts with it.")
@_by_option
@config_options
@json_option
def alerts_command(
    *,
    domain: str,
    categories: tuple[str, ...],
    new_key: Path | None,
    key_file: Path | None,
    off: bool,
    by: str,
    as_json: bool,
    **place: Any,
) -> None:
    """Exchange alerts with the relay of DOMAIN: sealed words of warning about media it may have, too.

    Both admins choose the categories and share one key. One makes it with --new-key and hands the file over
    by a way that nobody else reads; the other gives it with --key-file. An alert never deletes anything: it
    withholds what it means and opens a case.
    """
    if bool(categories) == off:
        raise click.UsageError("Name at least one --category, or --off.")
    if new_key is not None and key_file is not None:
        raise click.UsageError("Give --new-key or --key-file, not both.")
    now = SystemClock().now()
    shown = run(
        with_database(
            read_settings(**place),
            lambda database: peers_work.set_alerts(
                database,
                domain,
                categories=categories,
                new_key=new_key,
                key_file=key_file,
                by=by,
                now=now,
            ),
        )
    )
    _show(shown, as_json=as_json)


@peers_group.command("remove")
@click.argument("domain")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_by_option
@config_options
@json_option
def remove_command(*, domain: str, yes: bool, by: str, as_json: bool, **place: Any) -> None:
    """Take leave of the relay of DOMAIN and forget it, with its keys and all that was measured."""
    if not yes and not as_json:
        click.confirm(f"Forget {domain}, its keys and all that was measured of it?", abort=True)
    shown = run(
        with_peer_tools(read_settings(**place), lambda tools: peers_work.remove(tools, domain, by=by))
    )
    _show(shown, as_json=as_json)


def _show(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(shown)
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for line in _lines(shown):
        console.print(line)


def _lines(shown: dict[str, Any], indent: str = "") -> list[str]:
    """Write an answer down for a person: what is not known and what there is none of is left out."""
    lines: list[str] = []
    for name, value in shown.items():
        match value:
            case None | "" | [] | {}:
                continue
            case dict():
                lines += [f"{indent}{name}", *_lines(value, f"{indent}  ")]
            case [{}, *_]:
                for one in value:
                    lines += [f"{indent}{name}", *_lines(one, f"{indent}  ")]
            case list():
                lines += [f"{indent}{name:<20} {one}" for one in value]
            case _:
                lines.append(f"{indent}{name:<20} {value}")
    return lines
