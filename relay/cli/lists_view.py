"""Show how the fetching of lists goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from relay.sources.worker import is_overdue, is_stale

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from db.list_sources import ListSource
    from relay.sources.run import Synced

_MINUTE_S = 60
_HOUR_S = 3_600
_DAY_S = 86_400
_OVERDUE = (
    "older than you let it be, so that what no list matches is withheld until it is fetched. `breakwater "
    "lists sync NAME` fetches it now, and `breakwater lists hold NAME --never` lets media pass."
)


def describe_source(source: ListSource, *, now: datetime) -> dict[str, Any]:
    """Describe a source as JSON values; of its credentials only the place."""
    return {
        "name": source.name,
        "kind": source.kind,
        "url": source.url,
        "credentials": source.credentials,
        "category": source.category,
        "purpose": source.purpose,
        "entries": source.entries,
        "every_s": int(source.every.total_seconds()),
        "synced": _stamp(source.synced_at),
        "stale": is_stale(source, now=now),
        "hold_after_s": None if source.hold_after is None else int(source.hold_after.total_seconds()),
        "holds": is_overdue(source, now=now),
        "next": _stamp(source.due_at),
        "is_fetched_now": source.lease_until is not None and source.lease_until > now,
        "withdrawn": source.is_withdrawn,
        "failures": source.tries,
        "error_kind": source.error_kind,
        "error": source.error,
        "unusable": source.unusable,
    }


def print_status(sources: Sequence[ListSource], *, now: datetime) -> None:
    """Print a table, and below it what went wrong and what cannot be used."""
    if not sources:
        click.echo("No list is fetched. `breakwater lists add --help` says from whom lists can be.")
        return
    console = Console(soft_wrap=True, highlight=False)
    table = Table("name", "kind", "category", "hashes", "last fetched", "next", "state", show_edge=False)
    for one in sources:
        table.add_row(
            one.name,
            one.kind,
            one.category,
            f"{one.entries:,}",
            "never" if one.synced_at is None else f"{_words(now - one.synced_at)} ago",
            _next(one, now=now),
            _state(one, now=now),
        )
    console.print(table)
    for one in sources:
        if is_overdue(one, now=now):
            console.print(f"{one.name}: {_OVERDUE}", markup=False)
        if one.error:
            console.print(f"{one.name}: {one.error}", markup=False)
        if one.unusable:
            console.print(f"{one.name}: {_list_unusable(one.unusable)}", markup=False)


def synced_to_json(name: str, synced: Synced | None) -> dict[str, Any]:
    """Describe what a fetch brought."""
    if synced is None:
        return {"name": name, "outcome": "busy"}
    return {
        "name": name,
        "outcome": _outcome(synced),
        "pages": synced.pages,
        "records": synced.records,
        "added": synced.changed.added,
        "removed": synced.changed.removed,
        "unusable": dict(synced.unusable),
        "error": None if synced.failure is None else synced.failure.detail,
    }


def print_synced(results: Sequence[tuple[str, Synced | None]]) -> None:
    """Print a line for each list."""
    if not results:
        click.echo("No list is fetched. `breakwater lists add --help` says from whom lists can be.")
    for name, synced in results:
        if synced is None:
            click.echo(
                f"{name}: somebody else fetches it at the moment. `breakwater lists status` shows how."
            )
            continue
        counts = f"{synced.changed.added:,} hashes came, {synced.changed.removed:,} went"
        if synced.failure is not None:
            click.echo(f"{name}: {synced.failure.detail} ({counts})", err=True)
        elif synced.is_complete:
            click.echo(f"{name} is up to date: {counts}.")
        else:
            click.echo(f"{name}: stopped between two pages, the next fetch goes on from there ({counts}).")
        if synced.unusable:
            click.echo(f"{name}: {_list_unusable(synced.unusable)}")


def _list_unusable(unusable: dict[str, int] | Any) -> str:
    counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(unusable.items()))
    return f"hashes that Breakwater has no use for: {counts}"


def _outcome(synced: Synced) -> str:
    if synced.failure is not None:
        return synced.failure.kind.value
    return "done" if synced.is_complete else "stopped"


def _next(source: ListSource, *, now: datetime) -> str:
    if source.is_withdrawn:
        return "never"
    return "now" if source.due_at <= now else f"in {_words(source.due_at - now)}"


def _state(source: ListSource, *, now: datetime) -> str:
    if source.is_withdrawn:
        return "out of use"
    if source.lease_until is not None and source.lease_until > now:
        return "being fetched"
    words = [source.error_kind] if source.error_kind else []
    if is_overdue(source, now=now):
        words.append("holds")
    return ", ".join([*words, "stale"] if is_stale(source, now=now) else words) or "ok"


def _words(span: timedelta) -> str:
    seconds = max(int(span.total_seconds()), 0)
    for size, word in ((_DAY_S, "days"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{seconds} s"


def _stamp(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat(timespec="seconds")
