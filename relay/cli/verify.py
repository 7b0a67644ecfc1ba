"""`breakwater verify`: verify an attestation as a receiver would, and say which rule holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from relay.cli.options import config_options, explained, fail, json_option, print_json, read_settings
from relay.cli.verification import NoKeyError, StepOutcome, Verification, find_key_in_document, verify_steps
from relay.clock import SystemClock
from relay.tools.identity import Identity
from relay.tools.key_files import find_keys
from signatures.digests import digest_multibase
from signatures.errors import Reason, VerificationError
from signatures.keys import parse_multikey
from signatures.objects import MAX_OBJECT_BYTES, IssuerKey
from signatures.times import parse_json_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import Settings
    from signatures.attestation import Attestation

    FindKey = Callable[[Attestation], IssuerKey]

EXIT_NOT_VERIFIED: Final = 1

_MAX_MEDIA_BYTES: Final = 134_217_728
"""What the relay scans at most."""

_COLOURS: Final = {
    StepOutcome.OK: "green",
    StepOutcome.FAILED: "red",
    StepOutcome.NOT_REACHED: "dim",
    StepOutcome.NOT_CHECKED: "yellow",
}


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--actor-document",
    type=click.Path(path_type=Path),
    help="The issuer's actor as JSON, fetched from its id; it names the key.",
)
@click.option(
    "--key", "multikey", help="The issuer's key as multikey (z6Mk…), where you have it from elsewhere."
)
@click.option("--media", type=click.Path(path_type=Path), help="The media that it should speak of.")
@click.option("--at", "at_time", help="Verify as of this time (2026-11-22T02:30:00Z) and not as of now.")
@click.option("--allow-http", is_flag=True, help="Admit an issuer without TLS, in a test set-up.")
@config_options
@json_option
def verify_command(
    *,
    file: Path,
    actor_document: Path | None,
    multikey: str | None,
    media: Path | None,
    at_time: str | None,
    allow_http: bool,
    as_json: bool,
    **place: Any,
) -> None:
    """Verify the attestation in FILE (`-` is standard input) step by step.

    Its issuer's key comes from --actor-document or --key, otherwise from this relay's own keys. Exit status:
    0 where it is verified, 1 where it is not, 2 where it could not be looked at.
    """
    with explained():
        data = _read(file, MAX_OBJECT_BYTES + 1)
        if actor_document is not None:
            find_key = _key_of_document(_read(actor_document, _MAX_MEDIA_BYTES))
        elif multikey is not None:
            find_key = _given_key(multikey)
        else:
            settings = read_settings(**place)
            find_key = _own_keys(settings)
            allow_http = allow_http or settings.base_url.startswith("http://")
        allow_http = allow_http or _is_of_this_machine(data)
        result = verify_steps(
            data,
            find_issuer_key=find_key,
            now=SystemClock().now() if at_time is None else parse_json_time(at_time),
            media=None if media is None else _read(media, _MAX_MEDIA_BYTES),
            allow_http=allow_http,
        )
    if as_json:
        print_json(_to_json(result))
    else:
        _print(result)
    sys.exit(0 if result.is_verified else EXIT_NOT_VERIFIED)


def _is_of_this_machine(data: bytes) -> bool:
    """Tell whether an attestation comes from a relay on this machine, which may do without TLS."""
    try:
        identifier = json.loads(data)["id"]
        return urlsplit(identifier).hostname in {"localhost", "127.0.0.1", "::1"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False  # What is wrong with it is said by the verification itself.


def _key_of_document(document: bytes) -> FindKey:
    def find(attestation: Attestation) -> IssuerKey:
        return find_key_in_document(document, attestation)

    return find


def _given_key(multikey: str) -> FindKey:
    key = parse_multikey(multikey)

    def find(attestation: Attestation) -> IssuerKey:
        signed = attestation.signed
        return IssuerKey(actor=signed.issuer, key_id=signed.verification_method, key=key)

    return find


def _own_keys(settings: Settings) -> FindKey:
    """Find the key among this relay's own, earlier ones included.

    Raises:
        NoKeyError: This relay has no keys.
    """
    keys = find_keys(settings.server.data_dir)
    if keys is None:
        raise NoKeyError(
            f"There is no key to verify with: this relay has none of its own in {settings.server.data_dir}. "
            "Give the issuer's with --actor-document or --key."
        )
    identity = Identity(
        base_url=settings.base_url, http_key=keys.http_key, signing_key=keys.signing_key, secret=keys.secret
    )
    known = {
        f"{identity.actor}#{one.key.to_multikey()}": IssuerKey(
            actor=identity.actor,
            key_id=f"{identity.actor}#{one.key.to_multikey()}",
            key=one.key,
            expires=one.expires,
        )
        for one in keys.retired
    }
    known[identity.verification_method] = IssuerKey(
        actor=identity.actor, key_id=identity.verification_method, key=keys.signing_key.public
    )

    def find(attestation: Attestation) -> IssuerKey:
        found = known.get(attestation.verification_method)
        if found is None:
            raise VerificationError(
                Reason.UNKNOWN_ISSUER,
                "not signed by this relay; give the issuer's key with --actor-document or --key",
            )
        return found

    return find


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        if str(path) == "-":
            return sys.stdin.buffer.read(max_bytes)
        with path.open("rb") as file:
            return file.read(max_bytes)
    except OSError as error:
        fail(f"{path} cannot be read ({error.strerror}).")


def _to_json(result: Verification) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "verified": result.is_verified,
        "steps": [
            {"name": step.name, "outcome": step.outcome.value, "detail": step.detail} for step in result.steps
        ],
        "attestation": None,
    }
    if result.attestation is not None:
        body = result.attestation.body
        shown["attestation"] = {
            "id": body.id,
            "issuer": body.issuer,
            "published": body.published.isoformat(),
            "endTime": body.end_time.isoformat(),
            "digestMultibase": digest_multibase(body.sha256),
            "size": body.size,
            "mediaType": body.media_type,
            "profile": body.profile,
        }
    return shown


def _print(result: Verification) -> None:
    console = Console(highlight=False)
    table = Table(show_edge=False)
    for column in ("step", "result"):
        table.add_column(column, no_wrap=True)
    table.add_column("rule", overflow="fold")
    for step in result.steps:
        table.add_row(step.name, Text(step.outcome.value, _COLOURS[step.outcome]), Text(step.detail))
    console.print(table)
    console.print()
    if not result.is_verified or result.attestation is None:
        console.print(
            "[red]Not verified.[/red] Treat these bytes as never scanned; it says nothing against them."
        )
        return
    body = result.attestation.body
    console.print(
        f"[green]Verified.[/green] {body.issuer} states that its scanner looked at these {body.size:,} bytes "
        f"of {body.media_type} on {body.published:%d %B %Y at %H:%M} UTC and that no check under "
        f"{body.profile} fired. It counts until {body.end_time:%d %B %Y, %H:%M} UTC.",
        soft_wrap=True,
    )
