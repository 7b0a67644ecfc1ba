"""Read the settings of the services, and open those that are switched on."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from relay.config.services import Arachnid, Google, Hma, PhotoDna
from relay.errors import StartupError
from relay.services import arachnid, google, hma, photodna
from relay.services.breaker import Breaker
from relay.services.budget import Budget
from relay.services.desk import Desk, Window
from relay.services.http import Address, open_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from db.pool import Database
    from relay.clock import Clock
    from relay.config.services import Service as ServiceSettings
    from relay.config.services import Services
    from relay.metrics import Metrics
    from relay.services.answers import Facts, Service
    from signatures.strictjson import JsonObject

_MAX_CREDENTIALS_BYTES: Final = 4_096
"""A name and a password, or a key."""


def list_documents(settings: Services) -> tuple[JsonObject, ...]:
    """Say what others may know of the services that are switched on, as of any detector."""
    return tuple(
        {
            "name": facts.name,
            "version": facts.version,
            "essential": facts.essential,
            "advisory": facts.advisory,
            # So that whoever compares descriptions knows that equal ones may know unequal things.
            "state": {"is_hosted": True, **facts.state},
        }
        for facts in (describe(one) for one in settings.by_name.values() if one.enabled)
    )


@asynccontextmanager
async def open_desk(
    settings: Services, *, database: Database, metrics: Metrics, clock: Clock
) -> AsyncIterator[Desk | None]:
    """Open the services that are switched on; None where none is.

    Raises:
        StartupError: The credentials of one cannot be read.
    """
    switched_on = [one for one in settings.by_name.values() if one.enabled]
    if not switched_on:
        yield None
        return
    async with AsyncExitStack() as stack:
        windows = []
        for one in switched_on:
            service = await stack.enter_async_context(open_service(one))
            name = service.facts.name
            budget = Budget(service=name, daily_limit=one.daily_limit, database=database, clock=clock)
            metrics.set_service_budget(service=name, left=await budget.find_left())
            metrics.set_service_breaker(service=name, is_open=False)
            windows.append(Window(service=service, asks=one.asks, breaker=Breaker(clock), budget=budget))
        yield Desk(windows, sends=settings.sends, metrics=metrics, clock=clock)


@asynccontextmanager
async def open_service(settings: ServiceSettings) -> AsyncIterator[Service]:
    """Open the client of one service.

    Raises:
        StartupError: Its credentials cannot be read.
    """
    secret = await asyncio.to_thread(read_credentials, settings.credentials_file)
    match settings:
        case Arachnid():
            name, _, password = secret.partition(":")
            address = Address(url=settings.url, timeout_s=settings.timeout_s, auth=(name, password))
            async with open_http(address) as http:
                yield arachnid.ArachnidShield(http, settings)
        case PhotoDna():
            address = _with_header(settings, settings.url, photodna.KEY_HEADER, secret)
            async with open_http(address) as http:
                yield photodna.PhotoDnaCloud(http, settings)
        case Hma():
            bearer = f"Bearer {secret}" if secret else ""
            async with open_http(_with_header(settings, settings.url, "Authorization", bearer)) as http:
                yield hma.HmaServer(http, settings)
        case Google():
            address = _with_header(settings, settings.url, google.KEY_HEADER, secret)
            async with open_http(address) as http:
                yield google.ContentSafety(http, settings)
        case _:
            raise TypeError(type(settings).__name__)


def read_credentials(path: Path | None) -> str:
    """Read what a service gave to sign in; empty where no file is named.

    Raises:
        StartupError: There is none in the file, or it cannot be read.
    """
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            secret = file.read(_MAX_CREDENTIALS_BYTES + 1).decode("utf-8").strip()
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise StartupError(f"{path}, a service's credentials, cannot be read: {reason}.") from error
    except UnicodeDecodeError as error:
        raise StartupError(f"{path}, a service's credentials, is no UTF-8 text.") from error
    if not secret or len(secret) > _MAX_CREDENTIALS_BYTES or not secret.isprintable():
        raise StartupError(f"{path} does not hold a service's credentials on one line; write them there.")
    return secret


def _with_header(settings: ServiceSettings, url: str, name: str, value: str) -> Address:
    return Address(url=url, timeout_s=settings.timeout_s, headers={name: value} if value else {})


def describe(settings: ServiceSettings) -> Facts:
    """Say what others may know of a service."""
    match settings:
        case Arachnid():
            return arachnid.describe(settings)
        case PhotoDna():
            return photodna.describe(settings)
        case Hma():
            return hma.describe(settings)
        case Google():
            return google.describe(settings)
        case _:
            raise TypeError(type(settings).__name__)
