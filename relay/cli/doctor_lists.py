"""The checks of `breakwater doctor` on lists that are fetched from their makers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from db import list_sources
from relay.cli.diagnosis import Diagnosis, Finding
from relay.config import read_environment
from relay.sources.credentials import describe_place, is_open_to_others, read_credentials
from relay.sources.kinds import FACTS
from relay.sources.model import SourceFailure, SourceKind
from relay.sources.worker import is_overdue, is_stale

if TYPE_CHECKING:
    from datetime import datetime

    from db.list_sources import ListSource
    from db.pool import Connection


async def check_lists(conn: Connection, *, now: datetime) -> list[Diagnosis]:
    """Check that every list that is fetched is up to date, and that its credentials can be read.

    Raises:
        DatabaseError: The lists could not be read.
    """
    found: list[Diagnosis] = []
    for source in await list_sources.list_sources(conn):
        if not source.is_withdrawn:
            found += await asyncio.to_thread(_check_source, source, now=now)
    return found


def _check_source(source: ListSource, *, now: datetime) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    if is_overdue(source, now=now):
        found.append(
            _problem(
                f"the list {source.name!r} is older than you let it be, so that what no list matches is "
                "withheld, and tried again until the list was fetched",
                source.error
                or f"Run `breakwater lists sync {source.name}`; it says what stands in the way. "
                f"`breakwater lists hold {source.name} --never` lets media pass meanwhile.",
            )
        )
    elif is_stale(source, now=now):
        since = "never" if source.synced_at is None else f"last on {source.synced_at:%Y-%m-%d %H:%M} UTC"
        found.append(
            _problem(
                f"the list {source.name!r} was wholly fetched {since}: what its maker added since then is "
                "not looked for, and what was taken back since then still matches",
                source.error or f"Run `breakwater lists sync {source.name}`; it says what stands in the way.",
            )
        )
    elif source.error:
        found.append(
            Diagnosis(
                check="lists",
                finding=Finding.NOTE,
                detail=f"the last fetch of the list {source.name!r} failed: {source.error}",
                remedy=f"`breakwater lists status {source.name}` says when it is tried again.",
            )
        )
    credentials = read_credentials(
        source.credentials, FACTS[SourceKind(source.kind)].form, environ=read_environment()
    )
    if isinstance(credentials, SourceFailure):
        found.append(_problem(f"the list {source.name!r} cannot be asked for", credentials.detail))
    elif is_open_to_others(source.credentials):
        place = describe_place(source.credentials)
        found.append(
            _problem(
                f"everybody on this machine can read the credentials in {place}", f"Run `chmod o-r {place}`."
            )
        )
    return found or [
        Diagnosis(check="lists", finding=Finding.OK, detail=f"the list {source.name!r} is up to date")
    ]


def _problem(detail: str, remedy: str) -> Diagnosis:
    return Diagnosis(check="lists", finding=Finding.PROBLEM, detail=detail, remedy=remedy)
