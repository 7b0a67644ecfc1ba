"""`breakwater config`: check the configuration, see what is in force, write the reference page."""

from __future__ import annotations

import json
import sys
import tomllib
from typing import Any

import click
from rich.console import Console

from relay.cli.options import EXIT_UNUSABLE, config_options, explained, json_option, print_json, read_settings
from relay.config import (
    InvalidSettingsError,
    build_reference,
    csam_handling_problems,
    dump_toml,
    loosened_policies,
)


@click.group("config")
def config_group() -> None:
    """Check and see the configuration."""


@config_group.command("check")
@config_options
@json_option
def check_command(*, as_json: bool, **place: Any) -> None:
    """Check everything that a start would check; exit 2 if the settings cannot be used."""
    try:
        settings = read_settings(**place)
    except InvalidSettingsError as error:
        if as_json:
            problems = [{"place": one.place, "message": one.message} for one in error.problems]
            print_json({"usable": False, "problems": problems, "warnings": [], "notes": []})
        else:
            click.echo(str(error), err=True)
        sys.exit(EXIT_UNUSABLE)
    warnings, notes = loosened_policies(settings), csam_handling_problems(settings)
    if as_json:
        print_json({"usable": True, "problems": [], "warnings": warnings, "notes": notes})
        return
    console = Console(highlight=False)
    console.print("[green]The settings can be used.[/green]")
    for warning in warnings:
        console.print("[yellow]Looser than the default:[/yellow]", warning, soft_wrap=True, markup=True)
    for note in notes:
        console.print("Before lists of child abuse material can be used:", note, soft_wrap=True)


@config_group.command("show")
@config_options
@json_option
def show_command(*, as_json: bool, **place: Any) -> None:
    """Print the settings in force, defaults included and secrets hidden."""
    with explained():
        text = dump_toml(read_settings(**place))
        click.echo(json.dumps(tomllib.loads(text), indent=2) if as_json else text, nl=as_json)


@config_group.command("docs")
@json_option
def docs_command(*, as_json: bool) -> None:
    """Print the reference page of all settings, as it stands in docs/configuration.md."""
    page = build_reference()
    if as_json:
        print_json({"markdown": page})
    else:
        click.echo(page, nl=False)
