"""The checks of `breakwater doctor` on what is done on the server, and on the uploads door."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from db import errands
from db.errands import ErrandState
from relay import assembly
from relay.backends.abilities import Ability
from relay.backends.adapters import open_adapter
from relay.cli.diagnosis import Diagnosis, Finding
from relay.config import BackendAction, Software
from relay.model import MediaDecision
from relay.tools.addresses import classify
from relay.tools.policy import HTTPS_PORT
from relay.tools.urls import MalformedUrlError, parse_url

if TYPE_CHECKING:
    from db.pool import Connection
    from relay.config import Settings
    from relay.tools.addresses import AddressRules

# The system's resolver itself gives up after as long, in most configurations.
_RESOLVE_WITHIN_S: Final = 10.0


async def check_errands(conn: Connection) -> list[Diagnosis]:
    """Count what was to be done on the server and was not.

    Raises:
        DatabaseError: It could not be counted.
    """
    failed = (await errands.count_by_state(conn))[ErrandState.FAILED]
    if not failed:
        return []
    return [
        Diagnosis(
            check="errands",
            finding=Finding.PROBLEM,
            detail=f"{failed} errands failed: what was to be done or looked at on your server was not",
            remedy="`breakwater errands list` says why; `breakwater errands retry` tries one again.",
        )
    ]


async def check_acting(settings: Settings) -> list[Diagnosis]:
    """Say where the policy wants something done on the server that is not going to be done."""
    found: list[Diagnosis] = []
    async with open_adapter(settings.backend, domain=settings.domain) as api:
        abilities = frozenset() if api is None else api.abilities
    for category, policy in settings.policy.categories.items():
        if policy.act is BackendAction.NONE:
            continue
        name = f"policy.{category.value}"
        if policy.media is MediaDecision.RELEASE:
            found.append(
                _caution(
                    f"{name}.act is {policy.act.value}, but {name}.media is release: nothing is done about "
                    "what is released",
                    f"Set {name}.media to withhold or block, or {name}.act to none.",
                )
            )
        elif not abilities:
            found.append(
                _caution(
                    f"{name}.act is {policy.act.value}, but there is no API to act through: nothing is done "
                    "on your server",
                    "Set backend.software and backend.token, or act by hand where `breakwater cases posts` "
                    "says.",
                )
            )
        elif policy.act is BackendAction.REMOVE and Ability.REMOVE not in abilities:
            found.append(
                _caution(f"{name}.act is remove, which your server has no way for: posts are reported", "")
            )
    return found


def _caution(detail: str, remedy: str) -> Diagnosis:
    return Diagnosis(check="acting", finding=Finding.NOTE, detail=detail, remedy=remedy)


async def check_uploads(settings: Settings) -> list[Diagnosis]:
    """Check that what the server's own people upload can be fetched, and say what this door can do."""
    if not settings.uploads.enabled:
        return []
    found = [
        Diagnosis(
            check="uploads",
            finding=Finding.NOTE,
            detail=f"Mastodon has to post status.created and status.updated to {settings.base_url}"
            "/webhooks/mastodon. Posts are examined after they are published: they are attested, reported or "
            "brought to a person, and cannot be held back. Avatars, headers and custom emoji are NOT seen.",
        )
    ]
    if settings.backend.software is not Software.MASTODON:
        found.append(
            Diagnosis(
                check="uploads",
                finding=Finding.PROBLEM,
                detail=f"only Mastodon has this webhook, and backend.software is "
                f"{settings.backend.software.value}",
                remedy="Correct backend.software, or switch uploads.enabled off.",
            )
        )
    rules = assembly.build_fetch_policy(settings, own=()).rules
    for place in settings.uploads.media_hosts or (settings.domain,):
        found += await _check_host(place, rules)
    return found


async def _check_host(place: str, rules: AddressRules) -> list[Diagnosis]:
    """Check that the guarded client may fetch from a host of the server's media."""
    try:
        host = parse_url(f"https://{place}/").host
    except MalformedUrlError:
        remedy = "Correct uploads.media_hosts and identity.domain."
        return [_unusable(f"{place} is no name of a host", remedy)]
    addresses = await _resolve(host)
    if not addresses:
        return [
            _unusable(f"the media host {host} has no address", "Correct uploads.media_hosts, or its DNS.")
        ]
    refused = [one for one in addresses if classify(ip_address(one), HTTPS_PORT, rules) is not None]
    if len(refused) < len(addresses):
        return [Diagnosis(check="uploads", finding=Finding.OK, detail=f"media are fetched from {host}")]
    named = " and ".join(f"`{_endpoint(one)}`" for one in refused)
    return [
        _unusable(
            f"the media host {host} resolves to {', '.join(refused)}, which is private or the relay's own: "
            "no upload can be fetched, and none is examined",
            f"Name {named} in fetch.allow_private.",
        )
    ]


async def _resolve(host: str) -> list[str]:
    """List the addresses of a host; none where it has none or nobody says so in time."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_WITHIN_S):
            known = await loop.getaddrinfo(host, HTTPS_PORT, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return []
    return sorted({str(entry[4][0]) for entry in known})


def _unusable(detail: str, remedy: str) -> Diagnosis:
    return Diagnosis(check="uploads", finding=Finding.PROBLEM, detail=detail, remedy=remedy)


def _endpoint(address: str) -> str:
    return f"[{address}]:{HTTPS_PORT}" if ":" in address else f"{address}:{HTTPS_PORT}"
