"""`breakwater services`: which services of others are asked, what they get today, and a try of each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from db import service_usage
from relay.assembly import build_scanner_settings
from relay.cli.doctor_services import REMEDIES
from relay.cli.options import (
    config_options,
    explained,
    fail,
    json_option,
    print_json,
    read_settings,
    run,
    with_database,
)
from relay.clock import SystemClock
from relay.config.services import CONSENTS
from relay.services.answers import Answered, Failed, NotTaken, Question
from relay.services.opening import describe, open_service
from scanner.canary import draw_canary
from scanner.scan import open_scanner

if TYPE_CHECKING:
    from db.pool import Database
    from relay.config import Settings
    from relay.config.services import Service
    from relay.services.answers import Answer
    from scanner.report import Report


@click.group("services")
def services_group() -> None:
    """See and try the services of others that know pictures."""


@services_group.command("list")
@config_options
@json_option
def list_command(*, as_json: bool, **place: Any) -> None:
    """List the services: what is sent to which, what they may get yet today, and how to consent."""
    with explained():
        settings = read_settings(**place)
    shown = run(with_database(settings, lambda database: _list(settings, database)))
    if as_json:
        print_json({"sends": settings.services.sends.value, "services": shown})
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for one in shown:
        console.print(f"{one['name']} ({'on' if one['on'] else 'off'}), at {one['url'] or 'no address yet'}")
        if one["on"]:
            must = "withheld while it cannot be asked" if one["essential"] else "not withheld without it"
            console.print(f"  today    {one['used']} of {one['daily_limit']} requests; media are {must}")
        else:
            console.print(f"  To switch it on, set services.{one['section']}.enabled and consent:")
            console.print(f"  consent  {one['consent']}")


async def _list(settings: Settings, database: Database) -> list[dict[str, Any]]:
    today = SystemClock().now().date()
    shown: list[dict[str, Any]] = []
    async with database.connection() as conn:
        for section, service in settings.services.by_name.items():
            name = describe(service).name
            shown.append(
                {
                    "section": section,
                    "name": name,
                    "on": service.enabled,
                    "url": service.url,
                    "essential": service.essential,
                    "used": await service_usage.find_used(conn, name, today),
                    "daily_limit": service.daily_limit,
                    "consent": CONSENTS[section],
                }
            )
    return shown


@services_group.command("test")
@click.argument("section", type=click.Choice(sorted(CONSENTS)))
@config_options
@json_option
def test_command(*, section: str, as_json: bool, **place: Any) -> None:
    """Send our own drawn test picture to the service of SECTION, and say what comes back.

    Exit status: 0 where it answers, 1 where it does not. It counts at the service, and not in our budget.
    """
    with explained():
        settings = read_settings(**place)
    service = settings.services.by_name[section]
    if not service.enabled:
        fail(
            f"services.{section} is off, so that nothing was sent. `breakwater services list` says how to "
            "switch it on."
        )
    picture = draw_canary()
    with explained(), open_scanner(build_scanner_settings(settings)) as scanner:
        report = scanner.scan(picture, declared_type="image/png")
    answer = run(_try(service, picture, report))
    word, sentence = _describe(answer)
    if as_json:
        print_json({"section": section, "answered": not isinstance(answer, Failed), "outcome": word})
    else:
        click.echo(f"{describe(service).name}: {sentence}")
    sys.exit(1 if isinstance(answer, Failed) else 0)


async def _try(service: Service, picture: bytes, report: Report) -> Answer:
    async with open_service(service) as opened:
        return await opened.ask(Question(data=picture, report=report))


def _describe(answer: Answer) -> tuple[str, str]:
    match answer:
        case Answered(findings=()):
            return "nothing_known", "it answers, and knows nothing of the drawn test picture, as it should."
        case Answered():
            return "known", (
                "it answers, and claims to know the drawn test picture. If it is not a test server, ask its "
                "makers: what it says would be withheld."
            )
        case NotTaken():
            return "not_taken", "it answers, and does not take this kind of picture."
        case Failed(kind=kind):
            return kind.value, f"it gives no answer ({kind.value}). {REMEDIES[kind]}"
