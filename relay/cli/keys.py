"""`breakwater keys`: see and change the relay's own keys."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from relay.cli.authority import show_authority
from relay.cli.options import config_options, explained, fail, json_option, print_json, read_settings
from relay.clock import SystemClock
from relay.tools.identity import Identity
from relay.tools.key_files import (
    find_keys,
    load_or_create_keys,
    revoke_signing_key,
    rotate_api_key,
    rotate_signing_key,
)

if TYPE_CHECKING:
    from datetime import datetime

    from relay.config import Settings
    from relay.tools.key_files import KeyFiles

_PATH: Final = click.Path(path_type=Path, dir_okay=False)


@click.group("keys")
def keys_group() -> None:
    """See and change the relay's own keys."""


@keys_group.command("show")
@config_options
@json_option
def show_command(*, as_json: bool, **place: Any) -> None:
    """Show the public halves of the keys, as others see them."""
    with explained():
        settings = read_settings(**place)
        keys = find_keys(settings.server.data_dir)
        if keys is None:
            fail(f"There are no keys in {settings.server.data_dir} yet. Make them: breakwater keys generate")
        _show(settings, keys, as_json=as_json)


@keys_group.command("generate")
@config_options
@json_option
def generate_command(*, as_json: bool, **place: Any) -> None:
    """Make the keys that are missing; those that are there stay."""
    with explained():
        settings = read_settings(**place)
        had_keys = find_keys(settings.server.data_dir) is not None
        keys = load_or_create_keys(settings.server.data_dir)
        if not as_json:
            click.echo("The keys were there already and stay." if had_keys else "Made new keys.", err=True)
        _show(settings, keys, as_json=as_json)


@keys_group.command("rotate")
@config_options
@click.option("--api", is_flag=True, help="The key for what relays ask each other, not the signing key.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def rotate_command(*, api: bool, yes: bool, as_json: bool, **place: Any) -> None:
    """Replace the signing key; attestations under the old one stay valid until they run out.

    With --api the key for what relays ask and answer each other is replaced. Peers learn the new one from the
    actor as soon as they meet it.
    """
    name = "key for peers" if api else "signing key"
    with explained():
        settings = read_settings(**place)
        if not yes and not as_json:
            click.confirm(f"Replace the {name}? A running relay has to be restarted after it.", abort=True)
        data_dir = settings.server.data_dir
        keys = rotate_api_key(data_dir) if api else rotate_signing_key(data_dir, now=SystemClock().now())
        if not as_json:
            click.echo(f"The {name} is replaced. Restart the relay so that it uses the new one.", err=True)
        _show(settings, keys, as_json=as_json)


@keys_group.command("revoke")
@config_options
@click.option(
    "--since",
    required=True,
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"]),
    help="From when on others may have had the key, in UTC, as 2026-11-22T03:00:00Z.",
)
@click.option("--key", "multikey", help="An earlier key, as `keys show` shows it; by default the one in use.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def revoke_command(*, since: datetime, multikey: str | None, yes: bool, as_json: bool, **place: Any) -> None:
    """Declare a signing key as stolen; peers then distrust what they received under it since then.

    A new key takes the place of the one in use. At its next start the relay tells its peers, and attests anew
    what the key signed. Name the earliest time that is possible; it can be made earlier, and never later.
    """
    with explained():
        settings = read_settings(**place)
        now = SystemClock().now()
        since = since.replace(tzinfo=UTC)
        if since > now:
            fail("A key cannot have been stolen in the future. Nothing was changed. Give --since in UTC.")
        if not yes and not as_json:
            click.confirm(
                f"Declare that others had the key since {since:%Y-%m-%d %H:%M:%S} UTC? This cannot be taken "
                "back. A running relay has to be restarted after it.",
                abort=True,
            )
        keys = revoke_signing_key(settings.server.data_dir, since=since, now=now, multikey=multikey)
        if not as_json:
            click.echo("The key is revoked. Restart the relay now: it then tells its peers.", err=True)
        _show(settings, keys, as_json=as_json)


@keys_group.command("ca")
@config_options
@click.option("--renew", is_flag=True, help="Make a new one; the backend has to be told to trust it.")
@click.option("--export", type=_PATH, help="Write the certificate to a file that the backend can read.")
@click.option(
    "--bundle", type=_PATH, help="Write the system's authorities and this one to a file, for SSL_CERT_FILE."
)
@json_option
def ca_command(*, renew: bool, export: Path | None, bundle: Path | None, as_json: bool, **place: Any) -> None:
    """Make the authority with which the gateway opens https, and let the backend trust it."""
    with explained():
        settings = read_settings(**place)
        show_authority(settings, renew=renew, export=export, bundle=bundle, as_json=as_json)


def _show(settings: Settings, keys: KeyFiles, *, as_json: bool) -> None:
    identity = Identity(
        base_url=settings.base_url,
        http_key=keys.http_key,
        signing_key=keys.signing_key,
        secret=keys.secret,
        api_key=keys.api_key,
    )
    shown: dict[str, Any] = {
        "actor": identity.actor,
        "signing": {
            "id": identity.verification_method,
            "publicKeyMultibase": keys.signing_key.public.to_multikey(),
            "fingerprint": keys.signing_key.public.fingerprint,
        },
        "api": None
        if keys.api_key is None
        else {
            "id": f"{identity.actor}#{keys.api_key.public.to_multikey()}",
            "publicKeyMultibase": keys.api_key.public.to_multikey(),
            "fingerprint": keys.api_key.public.fingerprint,
        },
        "http": {
            "id": identity.http_key_id,
            "publicKeyPem": keys.http_key.public.to_pem(),
            "fingerprint": keys.http_key.public.fingerprint,
        },
        "retired": [
            {
                "publicKeyMultibase": one.key.to_multikey(),
                "expires": one.expires.isoformat(timespec="seconds"),
                "revoked": None if one.revoked is None else one.revoked.isoformat(timespec="seconds"),
            }
            for one in keys.retired
        ],
    }
    if as_json:
        print_json(shown)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"actor            {shown['actor']}")
    console.print(f"signs scans      {shown['signing']['id']}")
    console.print(f"  fingerprint    {shown['signing']['fingerprint']}")
    if shown["api"] is None:
        console.print("asks peers       no key yet; it is made when the relay starts")
    else:
        console.print(f"asks peers       {shown['api']['id']}")
        console.print(f"  fingerprint    {shown['api']['fingerprint']}")
    console.print(f"signs requests   {shown['http']['id']}")
    console.print(f"  fingerprint    {shown['http']['fingerprint']}")
    for one in shown["retired"]:
        end = f"stolen at {one['revoked']}" if one["revoked"] else f"valid until {one['expires']}"
        console.print(f"retired          {one['publicKeyMultibase']}, {end}")
