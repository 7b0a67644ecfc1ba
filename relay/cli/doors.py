"""`breakwater doors`: the addresses that pict-rs, PieFed and others have to be told, secret included."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from relay.assembly import local_url
from relay.cli.options import config_options, explained, json_option, print_json, read_settings
from relay.tools.door_secret import build_addresses, find_door_secret
from relay.tools.key_files import load_or_create_keys

if TYPE_CHECKING:
    from relay.config import Settings

# What pict-rs waits unless it is told otherwise, and what our answer may take on its way.
_PICTRS_PATIENCE_S: Final = 30
_TO_ANSWER_S: Final = 5


@click.command("doors")
@config_options
@json_option
def doors_command(*, as_json: bool, **place: Any) -> None:
    """Print the addresses of the doors for pict-rs and PieFed, and the lines that tell them.

    Whoever knows an address may ask there: hand it to nobody else. To replace it, set doors.secret.
    """
    with explained():
        settings = read_settings(**place)
        shown = _list(settings)
    if as_json:
        print_json(shown)
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for one in shown:
        console.print(f"{one['door']} ({'on' if one['on'] else 'off'}), for {one['for']}")
        console.print(f"  address  {one['address']}")
        for line in one["lines"]:
            console.print(f"  setting  {line}")
        if not one["on"]:
            console.print(f"  It is not answered yet. Set {one['setting']} = true and restart the relay.")
    console.print(
        "Where the other program runs on another machine or in another container, set doors.host to an "
        "address of this machine's that only it can reach, and put that address in place of this one."
    )


def _list(settings: Settings) -> list[dict[str, Any]]:
    keys = load_or_create_keys(settings.server.data_dir)
    secret = find_door_secret(settings, installation_secret=keys.secret)
    addresses = build_addresses(local_url(settings.doors.host, settings.doors_port), secret)
    return [
        {
            "door": "validator",
            "for": "pict-rs",
            "on": settings.doors.validator,
            "setting": "doors.validator",
            "address": addresses.validator,
            "lines": _pictrs_lines(addresses.validator, within_s=settings.doors.validate_within_s),
        },
        {
            "door": "hash endpoint",
            "for": "PieFed",
            "on": settings.doors.hash_endpoint,
            "setting": "doors.hash_endpoint",
            "address": addresses.hash_endpoint,
            "lines": [f"IMAGE_HASHING_ENDPOINT={addresses.hash_endpoint}"],
        },
        {
            "door": "look-up",
            "for": "programs of your own",
            "on": settings.doors.lookup,
            "setting": "doors.lookup",
            "address": addresses.lookup,
            "lines": [],
        },
    ]


def _pictrs_lines(address: str, *, within_s: float) -> list[str]:
    """Say what pict-rs has to be told: the address, and its patience where its own would end before ours."""
    lines = [f"PICTRS__MEDIA__EXTERNAL_VALIDATION={address}"]
    patience_s = math.ceil(within_s) + _TO_ANSWER_S
    if patience_s > _PICTRS_PATIENCE_S:
        lines.append(f"PICTRS__MEDIA__EXTERNAL_VALIDATION_TIMEOUT={patience_s}")
    return lines
