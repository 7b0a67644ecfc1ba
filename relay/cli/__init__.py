"""The `breakwater` command; nothing else in the project prints."""

import click

from relay.cli.running import COMMANDS

__all__ = ["main"]


@click.group()
@click.version_option(package_name="breakwater")
def main() -> None:
    """Scan inbound fediverse media in front of one server."""


for command in COMMANDS:
    main.add_command(command)
