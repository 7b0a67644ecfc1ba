"""`breakwater lists add`: have a list fetched from its maker."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from db import audit, hashlists, list_sources
from relay.cli.lists_hold import read_hold
from relay.cli.lists_tools import ListRefusedError, require_answers
from relay.cli.options import config_options, explained, fail, json_option, print_json, read_settings, run
from relay.cli.options import with_database as on_database
from relay.clock import SystemClock
from relay.config import read_environment
from relay.sources.credentials import DESCRIPTIONS, FILE_PREFIX, VARIABLE_PREFIX, read_credentials
from relay.sources.kinds import FACTS, SHORTEST_INTERVAL
from relay.sources.model import SourceFailure, SourceKind
from relay.tools.urls import MalformedUrlError, parse_url
from scanner.hashlist import DEFAULT_DISTANCE, DEFAULT_MIN_QUALITY, Purpose
from scanner.hashtable import HashTable
from scanner.labels import Category

if TYPE_CHECKING:
    from datetime import datetime

    from db.hashlists import NewHashList
    from db.pool import Database
    from relay.config import Settings

_SHA256_CHARS: Final = 64
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_RECORDS: Final = frozenset({SourceKind.NCMEC, SourceKind.STOPNCII, SourceKind.THREATEXCHANGE})
"""Kinds that give out records rather than a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A list that is to be added, with where it comes from."""

    new: NewHashList
    kind: SourceKind
    url: str
    credentials: str
    options: dict[str, Any]
    every: timedelta
    hold_after: timedelta | None


@click.command("add")
@click.argument("kind", type=click.Choice([kind.value for kind in SourceKind]))
@click.option("--name", required=True, help="What the list is called here.")
@click.option("--url", help="Where it is: https://…, or file:///… for a file that something else fetches.")
@click.option(
    "--credentials-file", type=click.Path(path_type=Path), help="The file that holds the credentials."
)
@click.option("--credentials-env", metavar="NAME", help="The environment variable that holds them instead.")
@click.option(
    "--category", type=click.Choice([category.value for category in Category]), help="What a match means."
)
@click.option("--every", type=click.FloatRange(min=0.1), metavar="HOURS", help="How often it is fetched.")
@click.option(
    "--hold-when-older-than",
    "hold_days",
    type=click.FloatRange(min=0.1),
    metavar="DAYS",
    help="Withhold what no list matches once this one was not fetched for so long; by default never.",
)
@click.option("--group", help="ThreatExchange: the number of the privacy group.")
@click.option("--tag", "tags", multiple=True, help="ThreatExchange: take only what has one of these tags.")
@click.option("--sha256", help="Files: take only the file with this digest.")
@click.option("--distance", type=click.IntRange(0, 255), default=DEFAULT_DISTANCE, show_default=True)
@click.option("--min-quality", type=click.IntRange(0, 100), default=DEFAULT_MIN_QUALITY, show_default=True)
@click.option("--turned/--no-turned", default=False, help="Also find mirrored and rotated copies.")
@click.option("--label", help="A finer word for what is found.")
@click.option("--advisory", is_flag=True, help="Report matches without deciding on them.")
@click.option(
    "--purpose",
    type=click.Choice([one.value for one in Purpose]),
    default=Purpose.BLOCK.value,
    show_default=True,
)
@click.option(
    "--accept-terms", is_flag=True, help="Say yes to the terms that are shown, without being asked."
)
@config_options
@json_option
def add_command(*, kind: str, accept_terms: bool, as_json: bool, **rest: Any) -> None:
    """Have a list fetched from its maker, and kept up to date.

    The running relay begins at once; `breakwater lists sync` does it now and shows how it goes. Of the
    credentials only the place is stored, and they are read anew every time.
    """
    place = {name: rest.pop(name) for name in ("config_path", "data_dir", "port", "admin_port")}
    chosen = SourceKind(kind)
    with explained():
        settings = read_settings(**place)
        wanted = _check(settings, chosen, **rest)
    if not accept_terms:
        click.echo(f"{FACTS[chosen].title}\n\n{FACTS[chosen].terms}\n", err=True)
        if not click.confirm("Do you say so?", err=True):
            fail("Nothing was added.")
    now = SystemClock().now()
    run(on_database(settings, lambda database: _add(database, wanted, now=now)))
    name = wanted.new.name
    if as_json:
        print_json({"name": name, "kind": kind, "added": True})
    else:
        click.echo(
            f"{name} is added. A running relay fetches it now; `breakwater lists sync {name}` does, too, and "
            "`breakwater lists status` shows how it goes."
        )


async def _add(database: Database, wanted: _Wanted, *, now: datetime) -> None:
    """Store a list without hashes, and where they are to come from.

    Raises:
        ListRefusedError: The name is taken.
    """
    name = wanted.new.name
    async with database.transaction() as conn:
        if await hashlists.find_list(conn, name) is not None:
            raise ListRefusedError(
                f"There is a list {name!r} already. Nothing was added. Choose another name, or run "
                "`breakwater lists remove` first."
            )
        list_id = await hashlists.import_list(conn, wanted.new, {}, now=now)
        source = list_sources.NewListSource(
            list_id=list_id,
            kind=wanted.kind.value,
            url=wanted.url,
            credentials=wanted.credentials,
            options=wanted.options,
            every=wanted.every,
            accepted_at=now,
            hold_after=wanted.hold_after,
        )
        await list_sources.add_source(conn, source)
        detail = {"list": name, "kind": wanted.kind.value, "terms": FACTS[wanted.kind].terms}
        await audit.append(conn, at=now, actor=getpass.getuser(), event="list_source_added", detail=detail)


def _check(settings: Settings, kind: SourceKind, **given: Any) -> _Wanted:
    """Check what an admin wants added; nothing is asked of anybody yet.

    Raises:
        ListRefusedError: Something is missing or does not fit, and what.
    """
    facts = FACTS[kind]
    category = Category(given["category"]) if given["category"] else facts.category
    if category is None:
        raise ListRefusedError("Say with --category what a match with this list means. Nothing was added.")
    require_answers(settings, category)
    url = given["url"] or facts.url
    _check_url(kind, url)
    every = timedelta(hours=given["every"]) if given["every"] else facts.every
    if every < SHORTEST_INTERVAL:
        raise ListRefusedError("No list is fetched more often than every five minutes. Nothing was added.")
    if given["purpose"] == Purpose.ALLOW.value and kind in _RECORDS:
        raise ListRefusedError(f"{facts.title} is no list of what may pass. Nothing was added.")
    decides = given["purpose"] == Purpose.BLOCK.value and not given["advisory"]
    return _Wanted(
        new=hashlists.NewHashList(
            name=given["name"],
            version="0",
            category=category.value,
            distance=given["distance"],
            min_quality=given["min_quality"],
            is_dihedral=given["turned"],
            digest=HashTable.from_entries(()).digest(),
            label=given["label"],
            is_advisory=given["advisory"],
            purpose=given["purpose"],
        ),
        kind=kind,
        url=url,
        options=_check_options(kind, given["group"] or "", given["tags"], (given["sha256"] or "").lower()),
        credentials=_check_credentials(kind, given["credentials_file"], given["credentials_env"]),
        every=every,
        hold_after=read_hold(given["hold_days"], every=every, decides=decides),
    )


def _check_options(kind: SourceKind, group: str, tags: tuple[str, ...], sha256: str) -> dict[str, Any]:
    """Check what only some kinds take."""
    if kind is SourceKind.THREATEXCHANGE:
        if not group.isdecimal():
            raise ListRefusedError(
                "Say with --group which privacy group of ThreatExchange you mean, by its number. Nothing was "
                "added."
            )
        return {"group": group, "tags": list(tags)}
    if group or tags:
        raise ListRefusedError("--group and --tag are for ThreatExchange. Nothing was added.")
    if sha256 and (kind in _RECORDS or len(sha256) != _SHA256_CHARS or set(sha256) - _HEXADECIMAL):
        raise ListRefusedError(
            "--sha256 takes 64 hexadecimal digits, and is for lists that are files. Nothing was added."
        )
    return {"sha256": sha256} if sha256 else {}


def _check_url(kind: SourceKind, url: str) -> None:
    if not url:
        raise ListRefusedError("Say with --url where the list is. Nothing was added.")
    if url.startswith("file:///") and kind not in _RECORDS:
        return
    try:
        parse_url(url)
    except MalformedUrlError as error:
        raise ListRefusedError(
            f"The list's address cannot be used: {error} Nothing was added. Give one that begins with https://."
        ) from error


def _check_credentials(kind: SourceKind, file: Path | None, variable: str | None) -> str:
    """Check that credentials are there and readable, and return their place."""
    facts = FACTS[kind]
    if file is not None and variable:
        raise ListRefusedError("Give --credentials-file or --credentials-env, not both. Nothing was added.")
    if file is None and not variable:
        if facts.needs_credentials:
            raise ListRefusedError(
                f"{facts.title} needs credentials. Nothing was added. Write {DESCRIPTIONS[facts.form]}, into "
                "a file that only the relay's user can read, and name it with --credentials-file."
            )
        return ""
    place = f"{VARIABLE_PREFIX}{variable}" if file is None else f"{FILE_PREFIX}{file.absolute()}"
    found = read_credentials(place, facts.form, environ=read_environment())
    if isinstance(found, SourceFailure):
        raise ListRefusedError(f"{found.detail} Nothing was added.")
    return place
