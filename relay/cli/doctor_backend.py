"""The checks of `breakwater doctor` on the server behind the relay: its token, and what is covered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from relay.backends.abilities import Ability, ApiFailure, TokenCheck
from relay.backends.adapters import ADAPTERS, open_adapter
from relay.backends.coverage import Cover, GatewayMode, OpenDoors, state_coverage
from relay.cli.diagnosis import Diagnosis, Finding
from relay.model import MediaDecision
from relay.tools.authority import find_authority, require_authority

if TYPE_CHECKING:
    from datetime import datetime

    from relay.backends.abilities import BackendApi
    from relay.config import Settings

_WORK: Final = {
    Ability.RESOLVE: "fetch a post from its origin, to release it late",
    Ability.REPORT: "report to your moderators",
    Ability.REMOVE: "take posts down",
    Ability.PURGE: "delete posts for good",
    Ability.PURGE_MEDIA: "delete stored files for good",
    Ability.ACCOUNT_ACTION: "act on accounts",
}


async def check_token(settings: Settings) -> list[Diagnosis]:
    """Check the token for the backend's API, and say what does not work for want of what."""
    backend = settings.backend
    if not backend.token.get_secret_value():
        return [
            Diagnosis(
                check="backend token",
                finding=Finding.NOTE,
                detail="there is none: the relay only withholds; it reports, removes and looks up nothing",
                remedy="To switch that on, give a bot account's token as backend.token_file.",
            )
        ]
    if backend.software not in ADAPTERS:
        known = ", ".join(sorted(software.value for software in ADAPTERS))
        return [
            Diagnosis(
                check="backend token",
                finding=Finding.NOTE,
                detail=f"it is of no use: of the APIs only those of {known} are known, and backend.software "
                f"is {backend.software.value}",
                remedy="Correct backend.software, or leave backend.token out.",
            )
        ]
    async with open_adapter(backend, domain=settings.domain) as api:
        return [] if api is None else await _try_token(api, settings)


async def _try_token(api: BackendApi, settings: Settings) -> list[Diagnosis]:
    check = await api.check_token()
    if isinstance(check, ApiFailure):
        return [
            Diagnosis(
                check="backend token",
                finding=Finding.PROBLEM,
                detail=f"it could not be checked: {check.detail}",
                remedy="Until it works the relay withholds, but reports and removes nothing.",
            )
        ]
    return [
        _describe_token(check),
        *_describe_lacks(check),
        *_describe_limits(api, settings),
        *_describe_cautions(check, settings),
    ]


def _describe_token(check: TokenCheck) -> Diagnosis:
    whose = f"that of {check.account}" if check.account else "it does not say whose it is"
    works = "; ".join(_WORK[ability] for ability in Ability if ability in check.usable)
    return Diagnosis(
        check="backend token",
        finding=Finding.OK if check.usable else Finding.PROBLEM,
        detail=f"{whose}; with it the relay can {works}"
        if works
        else f"{whose}; it lets the relay do nothing",
    )


def _describe_lacks(check: TokenCheck) -> list[Diagnosis]:
    return [
        Diagnosis(
            check="backend token",
            finding=Finding.NOTE,
            detail=f"the relay cannot {_WORK[ability]}: {lack}",
            remedy="Give it to the token or its account, if the relay is to do that.",
        )
        for ability, lack in check.missing.items()
    ]


def _describe_limits(api: BackendApi, settings: Settings) -> list[Diagnosis]:
    statements = ADAPTERS[settings.backend.software].statements
    return [
        Diagnosis(
            check="backend API",
            finding=Finding.NOTE,
            detail=f"the relay cannot {_WORK[ability]}: {statements[ability].text}",
        )
        for ability in Ability
        if ability not in api.abilities
    ]


def _describe_cautions(check: TokenCheck, settings: Settings) -> list[Diagnosis]:
    statements = ADAPTERS[settings.backend.software].statements
    return [
        Diagnosis(
            check="backend API",
            finding=Finding.NOTE,
            detail=f"before the relay is to {_WORK[ability]}: {statements[ability].caution}",
        )
        for ability in Ability
        if ability in check.usable and statements[ability].caution
    ]


async def check_gateway(settings: Settings, *, now: datetime) -> list[Diagnosis]:
    """Check that the gateway can open what it is to look into.

    Raises:
        StartupError: Its authority is missing or cannot be used.
    """
    if not settings.gateway.enabled:
        return []
    if not settings.gateway.opens_tls:
        return [
            Diagnosis(
                check="gateway",
                finding=Finding.NOTE,
                detail="gateway.opens_tls is off: it can block hosts, and sees no file that comes by https",
                remedy="To have files examined, switch it on and run `breakwater keys ca`.",
            )
        ]
    authority = await asyncio.to_thread(require_authority, settings.server.data_dir)
    ends = authority.ends.date().isoformat()
    if authority.is_nearly_over(now):
        return [
            Diagnosis(
                check="gateway",
                finding=Finding.PROBLEM,
                detail=f"its authority ends on {ends}; after that your server fetches nothing by https",
                remedy="Run `breakwater keys ca --renew`, and let your server trust the new one.",
            )
        ]
    return [Diagnosis(check="gateway", finding=Finding.OK, detail=f"its authority is good until {ends}")]


async def check_coverage(settings: Settings) -> list[Diagnosis]:
    """State what is examined and what is not, with the doors that are open."""
    doors = await find_open_doors(settings)
    found = [
        Diagnosis(check="coverage", finding=Finding.NOTE, detail=statement)
        for statement in _state_deliveries(settings)
    ]
    found += [
        Diagnosis(
            check="coverage",
            finding=Finding.OK if one.cover in {Cover.COVERED, Cover.NOTHING_THERE} else Finding.NOTE,
            detail=one.line,
        )
        for one in state_coverage(settings.backend.software, doors)
    ]
    is_enforced = doors.validator or doors.gateway is GatewayMode.OPEN
    if settings.backend.enforces_media and not is_enforced:
        found.append(
            Diagnosis(
                check="coverage",
                finding=Finding.PROBLEM,
                detail="backend.enforces_media is on, so that posts are passed on while their media are "
                "withheld, but no door is open that would withhold them: your server fetches them anyway",
                remedy="Open the gateway with its authority, or the validator; or switch the setting off.",
            )
        )
    return found


async def find_open_doors(settings: Settings) -> OpenDoors:
    """Find out which doors are open, and what they can see.

    Raises:
        StartupError: The gateway's authority is there and cannot be read.
    """
    storage, backend = settings.storage, settings.backend
    mode = GatewayMode.CLOSED
    if settings.gateway.enabled:
        has_authority = await asyncio.to_thread(find_authority, settings.server.data_dir) is not None
        opens = settings.gateway.opens_tls and has_authority
        mode = GatewayMode.OPEN if opens else GatewayMode.TUNNEL
    has_pictrs = bool(backend.pictrs_url and backend.pictrs_key.get_secret_value())
    return OpenDoors(
        gateway=mode,
        validator=settings.doors.validator,
        hash_endpoint=settings.doors.hash_endpoint,
        uploads=settings.uploads.enabled,
        sweep=storage.path is not None or bool(storage.s3_bucket) or has_pictrs,
    )


def _state_deliveries(settings: Settings) -> list[str]:
    """State what the inbox door does with what is delivered to it."""
    restricted = (
        "followers-only and direct posts: examined"
        if settings.legal.scan_restricted
        else "followers-only and direct posts: NOT examined (legal.scan_restricted is off)"
    )
    links = (
        "posts with plain links that refuse to be looked at: held (policy.conditions.link_unreachable)"
        if settings.policy.conditions.link_unreachable is not MediaDecision.RELEASE
        else "posts with plain links that refuse to be looked at: passed on"
    )
    return [
        "public posts delivered to the inbox, with all their pictures: examined before your server sees them",
        "boosts that only name a post: the post is fetched at its origin and examined",
        restricted,
        links,
        "video and audio: NOT decoded yet; exact digests are checked, the rest is withheld for a ruling",
    ]
