"""What `breakwater keys ca` does: the authority of the gateway, and how a backend comes to trust it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from relay.cli.options import fail, print_json
from relay.clock import SystemClock
from relay.tools.authority import (
    create_authority,
    find_authority,
    load_or_create_authority,
    replace_authority,
)

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.tools.authority import Authority

# Where distributions keep what the system trusts; after them comes where OpenSSL was built to look.
_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_READABLE: Final = 0o644
_CREDENTIALS: Final = "breakwater:PASSWORD@"


def show_authority(
    settings: Settings, *, renew: bool, export: Path | None, bundle: Path | None, as_json: bool
) -> None:
    """Make the authority if there is none, write what was asked for, and say what to do with it.

    Raises:
        StartupError: The authority cannot be kept or read.
    """
    data_dir = settings.server.data_dir
    now = SystemClock().now()
    existing = find_authority(data_dir)
    if existing is None or renew:
        made = create_authority(domain=settings.domain, allowed=settings.fetch.private_targets, now=now)
        authority = replace_authority(data_dir, made) if renew else load_or_create_authority(data_dir, made)
    else:
        authority = existing
    if export is not None:
        _write(export, authority.certificate_pem)
    if bundle is not None:
        _write(bundle, _read_system_bundle(authority) + authority.certificate_pem)
    shown: dict[str, Any] = {
        "made": authority is not existing,
        "fingerprint": authority.fingerprint,
        "ends": authority.ends.isoformat(timespec="seconds"),
        "nearly_over": authority.is_nearly_over(now),
        "certificate": authority.certificate_pem,
        "export": None if export is None else str(export.absolute()),
        "bundle": None if bundle is None else str(bundle.absolute()),
        "environment": _environment(settings, export=export, bundle=bundle),
    }
    if as_json:
        print_json(shown)
    else:
        _print(shown)


def _environment(
    settings: Settings, *, export: Path | None, bundle: Path | None
) -> dict[str, dict[str, str]]:
    """Name for each kind of server what its environment needs."""
    gateway = settings.gateway
    password = _CREDENTIALS if gateway.password.get_secret_value() else ""
    proxy = f"http://{password}{gateway.host}:{settings.gateway_port}"
    own = settings.domain.partition(":")[0]
    certificate = str(export.absolute()) if export is not None else "FILE of --export"
    everything = str(bundle.absolute()) if bundle is not None else "FILE of --bundle"
    proxies = {
        "http_proxy": proxy,
        "https_proxy": proxy,
        "no_proxy": ",".join(dict.fromkeys(("localhost", "127.0.0.1", "::1", own))),
    }
    upper = {name.upper(): value for name, value in proxies.items()}
    return {
        "mastodon": {"http_proxy": proxy, "SSL_CERT_FILE": everything},
        "gotosocial": {**upper, "SSL_CERT_FILE": everything},
        "piefed": {**upper, "SSL_CERT_FILE": everything, "REQUESTS_CA_BUNDLE": everything},
        "misskey": {"NODE_EXTRA_CA_CERTS": certificate},
    }


_HINTS: Final = {
    "mastodon": "in .env.production, for web and sidekiq alike",
    "gotosocial": "and every other server written in Go",
    "piefed": "and every other server written in Python",
    "misskey": "and every other server on Node; besides, proxy: in .config/default.yml",
}


def _print(shown: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print("Made a new authority." if shown["made"] else "The authority was there already and stays.")
    console.print(f"fingerprint      {shown['fingerprint']}")
    console.print(f"valid until      {shown['ends']}")
    for name in ("export", "bundle"):
        if shown[name] is not None:
            console.print(f"{name:<16} {shown[name]}")
    if shown["nearly_over"]:
        console.print("It ends soon. Renew it: breakwater keys ca --renew")
    console.print(
        "\nOnly your own server may trust it: whoever has its key can pretend to be any other server towards "
        "it.\nThe key stays in the data directory. Give your server these, then restart it and the relay:"
    )
    for server, variables in shown["environment"].items():
        console.print(f"\n{server} ({_HINTS[server]})")
        for name, value in variables.items():
            console.print(f"    {name}={value}")


def _read_system_bundle(authority: Authority) -> str:
    paths = (*_SYSTEM_BUNDLES, ssl.get_default_verify_paths().cafile)
    found = next((Path(path) for path in paths if path is not None and Path(path).is_file()), None)
    if found is None:
        fail("No file with the system's authorities was found. Use --export, and add it to what is trusted.")
    try:
        text = found.read_text(encoding="utf-8", errors="replace").rstrip() + "\n"
    except OSError as error:
        fail(f"{found} cannot be read ({error.strerror}). Use --export, and add it to what is trusted.")
    # The environment may point at the bundle of last time already.
    return text.replace(authority.certificate_pem, "")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
        path.chmod(_READABLE)
    except OSError as error:
        fail(f"{path} cannot be written ({error.strerror}). Choose another place.")
