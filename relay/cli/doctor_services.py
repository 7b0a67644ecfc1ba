"""The checks of `breakwater doctor` on the services of others: whether they answer, and what they get."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING, Final

from relay.cli.diagnosis import Diagnosis, Finding
from relay.config.services import Arachnid, Sends
from relay.errors import StartupError
from relay.services.answers import FailureKind
from relay.services.opening import describe, open_service

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relay.config import Settings
    from relay.config.services import Service

REMEDIES: Final[Mapping[FailureKind, str]] = {
    FailureKind.TIMEOUT: "It took too long; try again later, or give it a longer timeout_s.",
    FailureKind.UNREACHABLE: "Check its url, and whether this machine may reach it.",
    FailureKind.UNAUTHORIZED: "It does not accept what stands in credentials_file; ask its makers.",
    FailureKind.RATE_LIMITED: "It asks to wait; lower daily_limit, or ask its makers for more.",
    FailureKind.SERVER_ERROR: "It has trouble of its own; try again later.",
    FailureKind.MALFORMED: "Something else than the service answers there; check its url.",
    FailureKind.REFUSED: "It does not want what it is asked; check its url and what stands in "
    "credentials_file.",
    FailureKind.BREAKER_OPEN: "It failed again and again, and is tried again after a minute.",
    FailureKind.OVER_BUDGET: "Its daily_limit is used up; it is asked again after midnight UTC.",
    FailureKind.UNCOUNTED: "The database does not answer.",
    FailureKind.BUSY: "More is asked than it answers in time.",
    FailureKind.NO_COPY: "It does not take such a file, and no copy could be made; `breakwater doctor` says "
    "how the decoder is.",
}
"""What an admin can do about each failure."""

_UNITED_STATES: Final = "US"


async def check_services(settings: Settings) -> list[Diagnosis]:
    """Check each service that is switched on."""
    switched_on = [one for one in settings.services.by_name.values() if one.enabled]
    if not switched_on:
        return [
            Diagnosis(check="services", finding=Finding.OK, detail="none is on; nothing is sent to anyone")
        ]
    found = [diagnosis for one in switched_on for diagnosis in await _check(one)]
    return [*found, *_describe_reach(settings), *_describe_law(settings)]


async def _check(service: Service) -> list[Diagnosis]:
    name = describe(service).name
    found: list[Diagnosis] = []
    path = service.credentials_file
    if path is not None and await asyncio.to_thread(_is_readable_by_all, path):
        found.append(
            Diagnosis(
                check="services",
                finding=Finding.PROBLEM,
                detail=f"everybody on this machine may read {path}, with which one signs in to {name}",
                remedy=f"Run `chmod o-rwx {path}`.",
            )
        )
    try:
        async with open_service(service) as opened:
            failure = await opened.probe()
    except StartupError as error:
        return [Diagnosis(check="services", finding=Finding.PROBLEM, detail=str(error)), *found]
    if failure is None:
        found.append(Diagnosis(check="services", finding=Finding.OK, detail=f"{name} answers us"))
    else:
        means = "media stay withheld until it does" if service.essential else "media pass without its word"
        found.append(
            Diagnosis(
                check="services",
                finding=Finding.PROBLEM if service.essential else Finding.NOTE,
                detail=f"{name} does not answer us ({failure.kind.value}); {means}",
                remedy=REMEDIES[failure.kind],
            )
        )
    return found


def _is_readable_by_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False  # That it cannot be read is said elsewhere.


def _describe_reach(settings: Settings) -> list[Diagnosis]:
    """Say what no service hears of although a door brings it in."""
    is_open = settings.gateway.enabled or settings.doors.validator
    if settings.services.sends is not Sends.PUBLIC or not is_open:
        return []
    return [
        Diagnosis(
            check="services",
            finding=Finding.NOTE,
            detail="what comes in by the gateway or the validator, and no public post is known to show, is "
            "examined without the services",
            remedy='To let it be sent, too, set services.sends = "unstated": media of followers-only posts '
            "may be among it.",
        )
    ]


def _describe_law(settings: Settings) -> list[Diagnosis]:
    services, jurisdiction = settings.services, settings.legal.jurisdiction
    if not services.arachnid.enabled or jurisdiction.partition("-")[0] != _UNITED_STATES:
        return []
    return [
        Diagnosis(
            check="services",
            finding=Finding.NOTE,
            detail=f"{describe(Arachnid()).name} is offered to providers outside of the United States above "
            "all, and legal.jurisdiction is there",
            remedy="Make sure that your agreement with the Canadian Centre for Child Protection covers you.",
        )
    ]
