"""Sources on loopback, and what fetches them."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from db import hashlists, list_sources
from relay.sources.run import SyncOptions, SyncTools
from relay.sources.sync import sync_source
from scanner.hashtable import HashTable

if TYPE_CHECKING:
    from pathlib import Path

    from db.list_sources import ListSource
    from db.pool import Database
    from relay.sources.model import SourceKind
    from relay.sources.run import Synced
    from relay.tools.fetching import GuardedClient
    from tests.fediverse import FrozenClock

NAME = "theirs"
EVERY = timedelta(hours=1)


def md5(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def pdq(text: str) -> bytes:
    """Chance bits, of which about half are set, as in a real one."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """What fetches, and a place for credentials.

    Attributes:
        database: Where lists go.
        client: Asks.
        clock: The time.
        directory: For files.
    """

    database: Database
    client: GuardedClient
    clock: FrozenClock
    directory: Path

    def tools(self, *, worker: str = "test", legal_problems: tuple[str, ...] = ()) -> SyncTools:
        return SyncTools(
            database=self.database,
            client=self.client,
            clock=self.clock,
            environ={},
            worker=worker,
            legal_problems=legal_problems,
            first_pause=timedelta(milliseconds=1),
        )

    def write(self, text: str, name: str = "credentials") -> str:
        """Write credentials and return their place."""
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return f"file:{path}"

    async def add(
        self,
        kind: SourceKind,
        url: str,
        *,
        credentials: str = "",
        category: str = "spam",
        purpose: str = "block",
        **options: object,
    ) -> int:
        """Add a list and its source."""
        now = self.clock.now()
        new = hashlists.NewHashList(
            name=NAME,
            version="0",
            category=category,
            distance=31,
            min_quality=50,
            is_dihedral=False,
            digest=HashTable.from_entries(()).digest(),
            purpose=purpose,
        )
        async with self.database.transaction() as conn:
            list_id = await hashlists.import_list(conn, new, {}, now=now)
            await list_sources.add_source(
                conn,
                list_sources.NewListSource(
                    list_id=list_id,
                    kind=kind.value,
                    url=url,
                    credentials=credentials,
                    options=options,
                    every=EVERY,
                    accepted_at=now,
                ),
            )
        return list_id

    async def sync(
        self,
        *,
        stop: asyncio.Event | None = None,
        options: SyncOptions | None = None,
        tools: SyncTools | None = None,
    ) -> Synced:
        """Fetch the source now, due or not."""
        tools = tools or self.tools()
        async with self.database.connection() as conn:
            claimed = await list_sources.claim_source(
                conn, worker=tools.worker, lease=timedelta(minutes=5), now=self.clock.now(), name=NAME
            )
        assert claimed is not None
        return await sync_source(claimed, tools=tools, stop=stop or asyncio.Event(), options=options)

    async def source(self) -> ListSource:
        async with self.database.connection() as conn:
            found = await list_sources.find_source(conn, NAME)
        assert found is not None
        return found

    async def listed(self) -> set[tuple[str, bytes]]:
        """Load what a scanner would."""
        async with self.database.connection() as conn:
            stored = await hashlists.find_list(conn, NAME)
            assert stored is not None
            packed = await hashlists.load_entries(conn, stored.id)
        found = {
            (kind, data[place : place + hashlists.KIND_WIDTHS[kind]])
            for kind, data in packed.items()
            for place in range(0, len(data), hashlists.KIND_WIDTHS[kind])
        }
        assert stored.entries == len(found)
        return found
