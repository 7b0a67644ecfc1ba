"""Go through one source from its checkpoint on: fetch page after page, take each in, write the list.

What was taken in before something went wrong stays, and so does the place where the fetch goes on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from db.hash_blocks import Changed
from relay.sources.asking import Asking
from relay.sources.credentials import read_credentials
from relay.sources.importers import build_importer
from relay.sources.kinds import FACTS
from relay.sources.model import FailureKind, Page, Snapshot, SourceFailure, SourceKind
from relay.sources.taking import Holder, take_page, take_snapshot, write_list
from relay.tools.naps import wait_within
from scanner.hashtable import HashKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from db.list_sources import ListSource
    from db.pool import Database
    from relay.clock import Clock
    from relay.sources.credentials import Credentials
    from relay.sources.model import Checkpoint, Importer
    from relay.tools.fetching import GuardedClient

LEASE: Final = timedelta(minutes=5)
"""Prolonged by every page, and every minute besides."""
# A round of millions goes on for hours; what it brings is of use before it ends.
_WRITE_EVERY: Final = timedelta(minutes=10)
_TRIES: Final = 3
_FIRST_PAUSE: Final = timedelta(seconds=2)
# Whoever asks for more is asked again in another run.
_LONGEST_PAUSE: Final = timedelta(minutes=1)
_CSAM: Final = "csam-"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncTools:
    """What lists are fetched with.

    Attributes:
        database: Where they go.
        client: Asks their hosts.
        clock: The time.
        environ: The environment, in which credentials may stand.
        worker: Who fetches: the name of this process, with something that no other task of it has.
        legal_problems: What the admin has still to answer before lists of child abuse material may be used.
        first_pause: How long to wait before a page is asked for again.
    """

    database: Database
    client: GuardedClient
    clock: Clock
    environ: Mapping[str, str] = field(repr=False)
    worker: str
    legal_problems: tuple[str, ...]
    first_pause: timedelta = _FIRST_PAUSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a run brought.

    Attributes:
        pages: How many were taken in.
        records: How many records these had.
        changed: What became of the list.
        is_complete: Everything was fetched that there is.
        unusable: How many hashes there are of which kinds that we have no use for.
        failure: Why it ended early; None if it did not, or was told to stop.
    """

    pages: int = 0
    records: int = 0
    changed: Changed = field(default_factory=lambda: Changed(added=0, removed=0))
    is_complete: bool = False
    unusable: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    failure: SourceFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions:
    """What a person may ask for.

    Attributes:
        revives: A list that was out of use is in use again.
        accepts_loss: A file may take most of the hashes out of its list.
        on_page: Called with the number of records so far and about how many there are, if that is known.
    """

    revives: bool = False
    accepts_loss: bool = False
    on_page: Callable[[int, int | None], None] | None = None


class SyncRun:
    """One run over a source."""

    def __init__(
        self, source: ListSource, *, tools: SyncTools, stop: asyncio.Event, options: SyncOptions
    ) -> None:
        self._source = source
        self._tools = tools
        self._stop = stop
        self._options = options
        self._holder = Holder(
            list_id=source.list_id,
            worker=tools.worker,
            generation=source.generation,
            unusable=source.unusable,
        )
        self._checkpoint: Checkpoint = source.checkpoint or {}
        self._synced = Synced()
        self._total: int | None = None

    async def carry_out(self) -> Synced:
        """Fetch and take in; what was taken in is written whatever happened then."""
        importer = await self._prepare()
        failure = importer if isinstance(importer, SourceFailure) else await self._fetch_all(importer)
        await self._write(is_last=True)
        return replace(self._synced, unusable=self._holder.unusable, failure=failure)

    async def _prepare(self) -> Importer | SourceFailure:
        source, tools = self._source, self._tools
        if source.category.startswith(_CSAM) and tools.legal_problems:
            return SourceFailure(
                kind=FailureKind.LEGAL,
                detail="Lists of child abuse material cannot be used until the section [legal] says under "
                "which law: " + " ".join(tools.legal_problems),
            )
        kind = SourceKind(source.kind)
        credentials: Credentials | SourceFailure = await asyncio.to_thread(
            read_credentials, source.credentials, FACTS[kind].form, environ=tools.environ
        )
        if isinstance(credentials, SourceFailure):
            return credentials
        return build_importer(
            kind, url=source.url, options=source.options, asking=Asking(tools.client, credentials)
        )

    async def _fetch_all(self, importer: Importer) -> SourceFailure | None:
        """Fetch until there is nothing more, something goes wrong, or it is time to stop."""
        asked: set[str] = set()
        written_at = self._tools.clock.monotonic()
        restarts = 0
        while not self._stop.is_set():
            result = await self._fetch(importer)
            if isinstance(result, SourceFailure):
                if result.kind is not FailureKind.CURSOR or restarts:
                    return result
                restarts += 1
                await self._restart(importer)
                continue
            if isinstance(result, Snapshot):
                return await self._take_snapshot(result)
            failure = await self._take_page(result)
            if failure is not None:
                return failure
            if result.is_last:
                self._synced = replace(self._synced, is_complete=True)
                return None
            if result.cursor in asked:
                await self._restart(importer)
                return _LOOP
            asked.add(result.cursor)
            if self._tools.clock.monotonic() - written_at > _WRITE_EVERY.total_seconds():
                await self._write(is_last=False)
                written_at = self._tools.clock.monotonic()
        return None

    async def _fetch(self, importer: Importer) -> Page | Snapshot | SourceFailure:
        """Fetch a page, and again where that may help."""
        pause = self._tools.first_pause
        for left in range(_TRIES - 1, -1, -1):
            result = await importer.fetch(self._checkpoint, now=self._tools.clock.now())
            if not isinstance(result, SourceFailure) or not result.may_pass or not left:
                return result
            wait = max(pause, result.retry_after or timedelta())
            if wait > _LONGEST_PAUSE or await self._is_stopped_within(wait):
                return result
            pause *= 2
        raise AssertionError("unreachable")  # pragma: no cover

    async def _is_stopped_within(self, wait: timedelta) -> bool:
        await wait_within(self._stop, wait)
        return self._stop.is_set()

    async def _take_page(self, page: Page) -> SourceFailure | None:
        holder = await take_page(self._tools.database, self._holder, page, lease_until=self._lease_until())
        if isinstance(holder, SourceFailure):
            return holder
        self._holder = holder
        self._checkpoint = page.checkpoint
        self._synced = replace(
            self._synced,
            pages=self._synced.pages + 1,
            records=self._synced.records + len(page.records),
        )
        self._total = page.total if self._total is None else self._total
        if self._options.on_page is not None:
            self._options.on_page(self._synced.records, self._total)
        return None

    async def _take_snapshot(self, snapshot: Snapshot) -> SourceFailure | None:
        if self._source.purpose == "allow" and set(snapshot.parsed.listed.rows) - {HashKind.SHA256}:
            return _NOT_EXACT
        now = self._tools.clock.now()
        changed = await take_snapshot(
            self._tools.database,
            self._holder,
            snapshot,
            version=_version(now),
            lease_until=self._lease_until(),
            now=now,
            accepts_loss=self._options.accepts_loss,
        )
        if isinstance(changed, SourceFailure):
            return changed
        records = len(snapshot.parsed.listed)
        self._holder = replace(self._holder, unusable=dict(snapshot.unusable))
        self._synced = Synced(pages=1, records=records, changed=changed, is_complete=True)
        if self._options.on_page is not None:
            self._options.on_page(records, records)
        return None

    async def _restart(self, importer: Importer) -> None:
        """Go back to where the round began, for the page that was named does not lead on."""
        self._checkpoint = importer.restart(self._checkpoint)
        await self._take_page(Page(records=(), checkpoint=self._checkpoint, is_last=False))

    async def _write(self, *, is_last: bool) -> None:
        now = self._tools.clock.now()
        changed = await write_list(
            self._tools.database,
            self._source.list_id,
            version=_version(now),
            now=now,
            revives=is_last and self._options.revives and self._synced.is_complete,
        )
        before = self._synced.changed
        total = Changed(added=before.added + changed.added, removed=before.removed + changed.removed)
        self._synced = replace(self._synced, changed=total)

    def _lease_until(self) -> datetime:
        return self._tools.clock.now() + LEASE


def _version(now: datetime) -> str:
    return now.isoformat(timespec="seconds")


_LOOP: Final = SourceFailure(
    kind=FailureKind.LOOP,
    detail="The list's server names a page as the next one that it named before, so that there is no end. "
    "What came is kept. It is asked again from the beginning of this round; if it stays so, tell its maker.",
)
_NOT_EXACT: Final = SourceFailure(
    kind=FailureKind.MALFORMED,
    detail="A list of what may pass can hold SHA-256 digests alone, and this file has others, so that it was "
    "not taken. The list stays as it is.",
)
