"""`breakwater doctor`: check everything, and say how to mend it."""

from __future__ import annotations

import asyncio
import stat
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import httpx

from db import audit, cases, delivery_lists, hashlists
from db.errors import AuditChainError, DatabaseError
from relay import assembly
from relay.cli.diagnosis import Diagnosis, Finding
from relay.cli.doctor_backend import check_coverage, check_gateway, check_token
from relay.cli.doctor_errands import check_acting, check_errands, check_uploads
from relay.cli.doctor_front import check_front
from relay.cli.doctor_lists import check_lists
from relay.cli.doctor_services import check_services
from relay.config import csam_handling_problems, loosened_policies
from relay.errors import BreakwaterError
from relay.lifecycle import State
from relay.tools.database import open_relay_database
from relay.tools.key_files import find_keys
from scanner.canary import draw_canary
from scanner.errors import ScannerError
from scanner.report import Verdict
from scanner.scan import open_scanner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.clock import Clock
    from relay.config import Settings

_ANSWER_TIMEOUT_S: Final = 5.0

# Beyond this no attestation can be issued or used: times are signed to the second and windows are minutes.
_MAX_CLOCK_ERROR: Final = timedelta(seconds=30)


async def examine_install(settings: Settings, *, clock: Clock) -> list[Diagnosis]:
    """Check an installation; no check stops the others."""
    checks: list[tuple[str, Callable[[], Awaitable[list[Diagnosis]]]]] = [
        ("configuration", lambda: _check_configuration(settings)),
        ("data directory", lambda: _check_data_dir(settings)),
        ("keys", lambda: _check_keys(settings)),
        ("database", lambda: _check_database(settings, clock)),
        ("scanner", lambda: _check_scanner(settings)),
        ("relay", lambda: _check_relay(settings)),
        ("backend", lambda: _check_backend(settings, clock)),
        ("backend token", lambda: check_token(settings)),
        ("acting", lambda: check_acting(settings)),
        ("uploads", lambda: check_uploads(settings)),
        ("media front", lambda: check_front(settings)),
        ("gateway", lambda: check_gateway(settings, now=clock.now())),
        ("coverage", lambda: check_coverage(settings)),
        ("services", lambda: check_services(settings)),
    ]
    found: list[Diagnosis] = []
    for name, check in checks:
        try:
            found += await check()
        except (BreakwaterError, DatabaseError, ScannerError, OSError) as error:
            found.append(Diagnosis(check=name, finding=Finding.PROBLEM, detail=str(error)))
    return found


async def _check_configuration(settings: Settings) -> list[Diagnosis]:
    found = [
        Diagnosis(check="policy", finding=Finding.NOTE, detail=sentence)
        for sentence in loosened_policies(settings)
    ]
    found += [
        Diagnosis(
            check="legal",
            finding=Finding.NOTE,
            detail=problem,
            remedy="Needed only before lists of child abuse material are imported.",
        )
        for problem in csam_handling_problems(settings)
    ]
    if not settings.identity.base_url:
        found.append(
            Diagnosis(
                check="identity",
                finding=Finding.NOTE,
                detail="identity.base_url is not set: other servers cannot read the relay's actor, so "
                "those that demand signed fetches will refuse it, and nobody can verify its attestations.",
                remedy="Set it to the public address of this relay, such as https://social.example/breakwater.",
            )
        )
    return found or [
        Diagnosis(check="configuration", finding=Finding.OK, detail="complete, and nothing is loosened")
    ]


async def _check_data_dir(settings: Settings) -> list[Diagnosis]:
    directory = settings.server.data_dir
    if not directory.exists():
        return [
            Diagnosis(
                check="data directory",
                finding=Finding.NOTE,
                detail=f"{directory} does not exist yet",
                remedy="The first `breakwater serve` makes it.",
            )
        ]
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & stat.S_IWOTH:
        return [
            Diagnosis(
                check="data directory",
                finding=Finding.PROBLEM,
                detail=f"everybody on this machine may write to {directory}",
                remedy=f"Run `chmod o-w {directory}`.",
            )
        ]
    return [Diagnosis(check="data directory", finding=Finding.OK, detail=str(directory))]


async def _check_keys(settings: Settings) -> list[Diagnosis]:
    keys = await asyncio.to_thread(find_keys, settings.server.data_dir)
    if keys is None:
        return [
            Diagnosis(
                check="keys",
                finding=Finding.NOTE,
                detail="there are none yet",
                remedy="The first `breakwater serve` makes them; `breakwater keys generate` does it now.",
            )
        ]
    return [Diagnosis(check="keys", finding=Finding.OK, detail="both are there, and only we can read them")]


async def _check_database(settings: Settings, clock: Clock) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    async with open_relay_database(settings) as opened, opened.database.connection() as conn:
        found.append(Diagnosis(check="database", finding=Finding.OK, detail=opened.place))
        counts = await delivery_lists.count_by_state(conn)
        open_cases = (await cases.count_cases(conn))[cases.CaseState.OPEN]
        lists = await hashlists.list_lists(conn)
        failed = [*await check_errands(conn), *await check_lists(conn, now=clock.now())]
        try:
            entries = await audit.verify_chain(conn)
            found.append(
                Diagnosis(check="audit log", finding=Finding.OK, detail=f"{entries} entries, unbroken")
            )
        except AuditChainError as error:
            found.append(
                Diagnosis(
                    check="audit log",
                    finding=Finding.PROBLEM,
                    detail=str(error),
                    remedy="Somebody changed the log behind the relay's back. Compare it with a backup.",
                )
            )
    found += failed
    if counts[State.DEAD]:
        found.append(
            Diagnosis(
                check="dead letters",
                finding=Finding.NOTE,
                detail=f"{counts[State.DEAD]} deliveries were given up",
                remedy="`breakwater cases dead` lists them with their reasons.",
            )
        )
    found.append(
        Diagnosis(
            check="cases",
            finding=Finding.NOTE if open_cases else Finding.OK,
            detail=f"{open_cases} open",
            remedy="`breakwater cases list` shows them." if open_cases else "",
        )
    )
    found.append(
        Diagnosis(
            check="hash lists",
            finding=Finding.OK if lists else Finding.NOTE,
            detail=f"{len(lists)} imported, besides the built-in canary",
            remedy=""
            if lists
            else "Without a list only the classifier looks for anything: `breakwater lists import`.",
        )
    )
    return found


async def _check_scanner(settings: Settings) -> list[Diagnosis]:
    return await asyncio.to_thread(_try_scanner, settings)


def _try_scanner(settings: Settings) -> list[Diagnosis]:
    with open_scanner(assembly.build_scanner_settings(settings)) as scanner:
        report = scanner.scan(draw_canary(), declared_type="image/png")
        health = scanner.health()
    found: list[Diagnosis] = []
    missing = sorted(health.pool.missing)
    if missing:
        found.append(
            Diagnosis(
                check="sandbox",
                finding=Finding.PROBLEM,
                detail=f"hostile pictures are decoded without: {', '.join(missing)}",
                remedy="Use a kernel that has it, or accept the risk with scanner.accept_weaker_sandbox.",
            )
        )
    else:
        found.append(Diagnosis(check="sandbox", finding=Finding.OK, detail="every layer is in force"))
    for name, why in health.failing.items():
        found.append(
            Diagnosis(
                check="detector",
                finding=Finding.PROBLEM,
                detail=f"{name} fails ({why}); what it has to look at is withheld",
                remedy="Look at the relay's log at start-up.",
            )
        )
    if settings.scanner.canary:
        is_found = report.verdict is Verdict.MATCH
        found.append(
            Diagnosis(
                check="canary",
                finding=Finding.OK if is_found else Finding.PROBLEM,
                detail="the scanner finds it"
                if is_found
                else "the scanner does not find its own test picture",
                remedy="" if is_found else "Do not rely on this installation; install it afresh.",
            )
        )
    return found


async def _check_relay(settings: Settings) -> list[Diagnosis]:
    url = f"{assembly.local_url(settings.server.admin_host, settings.server.admin_port)}/readyz"
    try:
        async with httpx.AsyncClient(timeout=_ANSWER_TIMEOUT_S, trust_env=False) as http:
            answer = await http.get(url)
    except httpx.HTTPError:
        return [
            Diagnosis(
                check="relay",
                finding=Finding.NOTE,
                detail="it does not run, or not with this configuration",
                remedy="Start it with `breakwater serve`.",
            )
        ]
    if answer.status_code == httpx.codes.OK:
        return [Diagnosis(check="relay", finding=Finding.OK, detail="it runs and accepts deliveries")]
    return [
        Diagnosis(
            check="relay",
            finding=Finding.PROBLEM,
            detail=str(answer.json().get("because", "it is not ready")),
            remedy="Look at the relay's log.",
        )
    ]


async def _check_backend(settings: Settings, clock: Clock) -> list[Diagnosis]:
    if not settings.backend.url:
        return [
            Diagnosis(
                check="backend",
                finding=Finding.NOTE,
                detail="none is named; the built-in stand-in records what arrives",
                remedy="Set backend.url to the server behind the relay.",
            )
        ]
    try:
        async with httpx.AsyncClient(timeout=_ANSWER_TIMEOUT_S, trust_env=False) as http:
            answer = await http.get(settings.backend.url)
    except httpx.HTTPError as error:
        return [
            Diagnosis(
                check="backend",
                finding=Finding.PROBLEM,
                detail=f"{settings.backend.url} does not answer ({type(error).__name__}). Deliveries are "
                "kept and forwarded when it does.",
                remedy="Start it, or correct backend.url.",
            )
        ]
    found = [Diagnosis(check="backend", finding=Finding.OK, detail=f"{settings.backend.url} answers")]
    said = answer.headers.get("date")
    if said:
        off = abs(parsedate_to_datetime(said).astimezone(UTC) - clock.now())
        if off > _MAX_CLOCK_ERROR:
            found.append(
                Diagnosis(
                    check="clock",
                    finding=Finding.PROBLEM,
                    detail=f"ours and the backend's differ by {off.total_seconds():.0f} s; one of them is "
                    "wrong, and signatures carry times",
                    remedy="Set both by NTP.",
                )
            )
    return found
