"""The `breakwater` command; nothing else in the project prints.

One module a command, imported only when its command is used, so that the small ones answer at once. To add a
command, write its module and add its line to `COMMANDS`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from relay.tools.identity import SOFTWARE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["main"]

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "init": ("relay.cli.init:init_command", "Write a configuration, asking what it needs to know."),
    "serve": ("relay.cli.running:serve_command", "Run the relay until SIGTERM or Ctrl-C."),
    "doctor": ("relay.cli.running:doctor_command", "Check the whole installation and say how to mend it."),
    "selftest": ("relay.cli.running:selftest_command", "Send test pictures through the running relay."),
    "cases": ("relay.cli.running:cases_group", "See what waits for a person, and rule on it."),
    "deliveries": ("relay.cli.deliveries:deliveries_group", "See, explain, replay or drop dead letters."),
    "errands": ("relay.cli.errands:errands_group", "See what is done on your server, and retry what failed."),
    "attestations": ("relay.cli.running:attestations_group", "See what this relay has signed."),
    "scan": ("relay.cli.scan:scan_command", "Scan files as the relay would scan media."),
    "sweep": ("relay.cli.sweep:sweep_group", "Examine what your server has already stored."),
    "lists": ("relay.cli.lists:lists_group", "Import and see hash lists of known content."),
    "services": ("relay.cli.services:services_group", "See and try the services that know pictures."),
    "classifier": ("relay.cli.classifier:classifier_group", "Bring, measure and try out classifiers."),
    "doors": ("relay.cli.doors:doors_command", "Print what pict-rs and PieFed have to be told."),
    "peers": ("relay.cli.peers:peers_group", "Choose with which relays attestations are exchanged."),
    "keys": ("relay.cli.keys:keys_group", "See and change the relay's own keys."),
    "verify": ("relay.cli.verify:verify_command", "Verify an attestation step by step."),
    "config": ("relay.cli.config:config_group", "Check and see the configuration."),
}
"""By name: where the command is, and its line in the help."""


class LazyGroup(click.Group):
    """A group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order in which a newcomer meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version=SOFTWARE_VERSION, prog_name="breakwater")
def main() -> None:
    """Scan inbound fediverse media in front of one server."""
