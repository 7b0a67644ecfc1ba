"""`breakwater init`: write a configuration that starts, asking only what cannot be guessed."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from relay.cli.options import config_options, explained, fail, json_option, print_json, read_settings
from relay.config import InitAnswers, Software, default_data_dir, default_toml, read_environment

if TYPE_CHECKING:
    from pathlib import Path

_SOFTWARE = click.Choice([software.value for software in Software])
_INTRODUCTION = """
This writes one file, with every setting in it and a sentence about each. Press Enter where you do not know
yet: Breakwater runs without any answer, and the file can be changed at any time.
"""


@click.command("init")
@config_options
@click.option("--domain", help="The domain of your instance, as in its users' names.")
@click.option("--backend-url", help="The address at which your server listens, as seen from here.")
@click.option("--software", type=_SOFTWARE, help="What your server runs.")
@click.option(
    "--enforces-media/--no-enforces-media",
    default=None,
    help="Whether your server fetches media only through a door of the relay.",
)
@click.option("--base-url", help="The public address of the relay's own documents.")
@click.option("--contact", help="How other admins reach you.")
@click.option("--jurisdiction", help="The country whose law you act under, as ISO 3166 code.")
@click.option("--reporting-route", help="Where child abuse material is reported from there.")
@click.option("--responsible-role", help="Who at your instance decides on such cases.")
@click.option("--yes", is_flag=True, help="Ask nothing: take the options and leave the rest at its default.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
def init_command(
    *, config_path: Path | None, data_dir: Path | None, yes: bool, force: bool, as_json: bool, **given: Any
) -> None:
    """Write a configuration, asking what it needs to know."""
    del given["port"], given["admin_port"]
    target = config_path or (data_dir or default_data_dir(read_environment())) / "breakwater.toml"
    if target.exists() and not force:
        fail(f"{target} is there already and was not touched. Edit it, or replace it with --force.")
    answers = _build_answers(given if yes or as_json else _ask(given))
    _write(target, default_toml(answers))
    with explained():
        # The file is there already, so that what is wrong with it can be mended with an editor.
        read_settings(target, data_dir)
    if as_json:
        print_json({"written": str(target)})
        return
    console = Console(highlight=False)
    console.print(f"[green]Wrote {target}[/green] (readable by you alone).", soft_wrap=True)
    console.print("Next: `breakwater doctor` checks the installation, `breakwater serve` starts it.")


def _ask(given: dict[str, Any]) -> dict[str, Any]:
    click.echo(_INTRODUCTION)
    asked = dict(given)

    def ask(name: str, question: str, default: str = "", kind: click.Choice[str] | None = None) -> None:
        if asked[name] is None:
            asked[name] = click.prompt(question, default=default, type=kind, show_default=bool(default))

    ask("domain", "Domain of your instance (such as social.example)")
    ask("backend_url", "Address at which your server listens (such as http://127.0.0.1:3000)")
    if asked["backend_url"]:
        ask("software", "What it runs", Software.OTHER.value, _SOFTWARE)
        if asked["enforces_media"] is None:
            asked["enforces_media"] = click.confirm(
                "Does it fetch media only through a door of this relay? If not, whole posts are held back",
                default=False,
            )
    suggested = f"https://{asked['domain']}/breakwater" if asked["domain"] else ""
    ask("base_url", "Public address of the relay's own documents", suggested)
    ask("contact", "How other admins reach you (mail address or URL)")
    click.echo("\nFor lists of child abuse material only; without them leave these empty.")
    ask("jurisdiction", "Country whose law you act under (ISO 3166 code, such as DE)")
    if asked["jurisdiction"]:
        ask("reporting_route", "Where such material is reported from there")
        ask("responsible_role", "Who at your instance decides on such cases")
    return asked


def _build_answers(given: dict[str, Any]) -> InitAnswers:
    answered = {name: value for name, value in given.items() if value is not None}
    answered["software"] = Software(answered.get("software", Software.OTHER))
    if answered.get("jurisdiction"):
        answered["jurisdiction"] = answered["jurisdiction"].upper()
    return InitAnswers(**answered)


def _write(target: Path, text: str) -> None:
    """Write the file whole or not at all, readable by its owner alone: it may come to hold secrets."""
    try:
        if not target.parent.exists():
            target.parent.mkdir(mode=0o700, parents=True)
        draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
    except OSError as error:
        fail(f"{target} cannot be written ({error.strerror}). Name another place with --config.")
