"""Hold the contents of the hash lists, and bring them up to date with as little reading as possible.

A version that lies in the cache is mapped. Of a version that is not, the database is asked for the digests
of its blocks, and only blocks that differ from those of an older version are read. Where there is no older
version, everything is read once, in order, straight into files.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from db import block_digests, hashlists, list_sources, list_videos, noisy
from db.errors import DatabaseError
from db.noisy import NoiseState
from db.pool import snapshot
from scanner.hashlist import PDQ_BYTES, HashList, Purpose, VideoHashes
from scanner.hashtable import EMPTY_TABLE, HashKind, HashTable, unpack_rows
from scanner.indexfile import Base, BaseWriter
from scanner.labels import Category
from scanner.listcache import MAX_CHANGES, Contents, ListCache

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from db.block_digests import BlockDigest
    from db.hashlists import StoredHashList
    from db.pool import Connection, Database

_log = logging.getLogger(__name__)

MIN_KEPT_ENTRIES: Final = 65_536
"""Smaller lists are read from the database each time, which takes milliseconds, and leave no files."""
_MAX_DIFFERENCE: Final = 8 * MAX_CHANGES
"""Beyond so many changes at once, reading the list anew is the quicker way."""
_MAX_CHANGED_SHARE: Final = 0.75
"""Of a list's blocks, for the same reason."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Held:
    """One list as it was last loaded.

    Attributes:
        version: What the database calls these contents.
        contents: Everything in the list.
        withdrawn: What this instance does not want of it.
        effective: What is left.
        videos: Those among what is left, with their frames.
        is_kept: The contents lie in the cache.
    """

    version: bytes
    contents: Contents
    withdrawn: tuple[tuple[str, bytes], ...]
    effective: Contents
    videos: tuple[VideoHashes, ...] = ()
    is_kept: bool


class ListShelf:
    """Load the lists in use; remembers what it loaded.

    Args:
        cache: The files; None reads everything from the database.
        min_kept_entries: Lists below this size are not kept in files.
        prunes: Whether files of versions that are not in use are removed: a matter of the relay itself, not
            of a command that runs beside it.
    """

    def __init__(
        self,
        cache: ListCache | None = None,
        *,
        min_kept_entries: int = MIN_KEPT_ENTRIES,
        prunes: bool = True,
    ) -> None:
        self._cache = cache
        self._prunes = prunes
        self._min_kept_entries = min_kept_entries
        self._held: dict[int, _Held] = {}
        self._overdue: frozenset[int] = frozenset()

    @property
    def overdue(self) -> frozenset[int]:
        """The lists that were older than they may be when they were last loaded."""
        return self._overdue

    async def load(self, database: Database, *, now: datetime) -> tuple[HashList, ...]:
        """Load every list in use; of those that did not change nothing is read.

        Args:
            database: Where they are.
            now: The time, which decides whether they are as new as they have to be.

        Raises:
            DatabaseError: They could not be read.
        """
        held: dict[int, _Held] = {}
        async with database.connection() as conn, snapshot(conn):
            stored = await hashlists.list_lists(conn)
            suspended = await _find_suspended(conn)
            overdue = (await list_sources.find_overdue(conn, now=now)).lists
            for one in stored:
                held[one.id] = await self._add_videos(conn, one.id, await self._load_one(conn, one))
        is_changed = self._versions(self._held) != self._versions(held)
        self._held = held
        self._overdue = overdue
        if is_changed:
            await self._prune()
        return tuple(
            _build_list(
                one,
                held[one.id],
                suspended=suspended.get(one.name, frozenset()),
                is_overdue=one.id in overdue,
            )
            for one in stored
        )

    async def compact(self) -> bool:
        """Make new bases of lists with many changes, and say whether there are any to load.

        The lists in use stay in use meanwhile.
        """
        is_changed = False
        for list_id, one in list(self._held.items()):
            if self._cache is None or not one.is_kept or one.contents.changes <= MAX_CHANGES:
                continue
            contents = await asyncio.to_thread(self._cache.rebase, one.contents)
            held = await self._hold(list_id, one.version, contents, one.withdrawn)
            self._held[list_id] = replace(held, videos=one.videos)
            is_changed = True
        if is_changed:
            await self._prune()
        return is_changed

    async def _load_one(self, conn: Connection, stored: StoredHashList) -> _Held:
        withdrawn = await block_digests.list_withdrawals(conn, stored.id)
        before = self._held.get(stored.id)
        if before is not None and before.version == stored.digest:
            if before.withdrawn == withdrawn:
                return before
            return await self._hold(
                stored.id, stored.digest, before.contents, withdrawn, is_kept=before.is_kept
            )
        if self._cache is None or stored.entries < self._min_kept_entries:
            contents = Contents.of(
                await asyncio.to_thread(Base.in_memory, await _read_table(conn, stored.id))
            )
            return await self._hold(stored.id, stored.digest, contents, withdrawn, is_kept=False)
        known = [one.contents.base for one in self._held.values()]
        found = await asyncio.to_thread(self._cache.find, _name(stored.id), stored.digest, known=known)
        if found is not None:
            return await self._hold(stored.id, stored.digest, found, withdrawn, is_kept=True)
        older = before.contents if before is not None and before.is_kept else None
        if older is None:
            older = await asyncio.to_thread(self._cache.find_older, _name(stored.id))
        current = None if older is None else await _catch_up(conn, stored.id, older)
        if current is None:
            try:
                current = Contents.of(await _read_into_files(conn, stored.id, self._cache.root))
            except (OSError, ValueError) as error:
                # A full or read-only disk costs the sharing of memory, not the matching.
                _log.warning("hash_list_not_cached error=%s", type(error).__name__)
                table = await _read_table(conn, stored.id)
                contents = Contents.of(await asyncio.to_thread(Base.in_memory, table))
                return await self._hold(stored.id, stored.digest, contents, withdrawn, is_kept=False)
        return await self._hold(stored.id, stored.digest, current, withdrawn)

    async def _hold(
        self,
        list_id: int,
        version: bytes,
        contents: Contents,
        withdrawn: tuple[tuple[str, bytes], ...],
        *,
        is_kept: bool | None = None,
    ) -> _Held:
        """Keep a version in the cache, unless that is known to be done or not wanted."""
        if is_kept is None:
            is_kept = True
            try:
                await asyncio.to_thread(_require(self._cache).keep, _name(list_id), version, contents)
            except OSError as error:
                _log.warning("hash_list_not_cached error=%s", type(error).__name__)
        effective = contents
        if withdrawn:
            effective = await asyncio.to_thread(
                contents.change, added=EMPTY_TABLE, removed=_build_table(withdrawn)
            )
        return _Held(
            version=version, contents=contents, withdrawn=withdrawn, effective=effective, is_kept=is_kept
        )

    async def _add_videos(self, conn: Connection, list_id: int, held: _Held) -> _Held:
        """Put the frames of its videos to a version; what the one before has is not read again.

        Raises:
            DatabaseError: The frames of a video are not there.
        """
        before = self._held.get(list_id)
        if before is held:
            return held
        known = {} if before is None else {one.id: one for one in before.videos}
        names = [row.tobytes() for row in held.effective.rows_between(HashKind.VPDQ, b"", None)]
        fresh = [name for name in names if name.hex() not in known]
        async for name, frames in list_videos.read_videos(conn, list_id, fresh):
            rows = np.frombuffer(frames, np.uint8).reshape(-1, PDQ_BYTES)
            known[name.hex()] = VideoHashes(id=name.hex(), frames=rows)
        if any(name.hex() not in known for name in names):
            # A list without some of its videos would look whole.
            raise DatabaseError("the frames of a listed video are not there")
        return replace(held, videos=tuple(known[name.hex()] for name in names))

    async def _prune(self) -> None:
        if self._cache is None or not self._prunes:
            return
        kept = {list_id: one for list_id, one in self._held.items() if one.is_kept}
        versions = [(_name(list_id), one.version) for list_id, one in kept.items()]
        await asyncio.to_thread(self._cache.prune, versions, [one.contents.base for one in kept.values()])

    @staticmethod
    def _versions(held: dict[int, _Held]) -> set[tuple[int, bytes]]:
        return {(list_id, one.version) for list_id, one in held.items()}


def open_shelf(data_dir: Path, *, prunes: bool) -> ListShelf:
    """Open the shelf whose files lie in the relay's data directory."""
    return ListShelf(ListCache(data_dir / "lists"), prunes=prunes)


def _require(cache: ListCache | None) -> ListCache:
    if cache is None:
        raise ValueError("without a cache nothing is kept")
    return cache


def _name(list_id: int) -> str:
    return str(list_id)


async def _find_suspended(conn: Connection) -> dict[str, frozenset[str]]:
    """Find what is not matched for the time being, by the name of its list."""
    entries: dict[str, set[str]] = {}
    for one in await noisy.list_noisy(conn):
        if one.state is NoiseState.SUSPENDED:
            entries.setdefault(one.list_name, set()).add(one.entry)
    return {name: frozenset(found) for name, found in entries.items()}


def _build_list(
    stored: StoredHashList, held: _Held, *, suspended: frozenset[str], is_overdue: bool
) -> HashList:
    contents = held.effective
    return HashList(
        name=stored.name,
        version=stored.version,
        category=Category(stored.category),
        table=_without_videos(contents.base.table),
        added=_without_videos(contents.added),
        removed=_without_videos(contents.removed),
        index=contents.base.index,
        distance=stored.distance,
        min_quality=stored.min_quality,
        dihedral=stored.is_dihedral,
        label=stored.label,
        advisory=stored.is_advisory,
        purpose=Purpose(stored.purpose),
        digest=contents.digest,
        suspended=suspended,
        videos=held.videos,
        is_overdue=is_overdue,
    )


def _without_videos(table: HashTable) -> HashTable:
    """Leave the names of videos out, which are nothing to compare with."""
    if HashKind.VPDQ not in table.rows:
        return table
    return HashTable(rows={kind: rows for kind, rows in table.rows.items() if kind is not HashKind.VPDQ})


def _build_table(values: Iterable[tuple[str, bytes]]) -> HashTable:
    packed: dict[HashKind, bytearray] = {}
    for kind, data in values:
        packed.setdefault(HashKind(kind), bytearray()).extend(data)
    return HashTable.from_rows({kind: unpack_rows(kind, data) for kind, data in packed.items()})


async def _read_table(conn: Connection, list_id: int) -> HashTable:
    blocks = [(kind, data) async for kind, _, data in block_digests.read_blocks(conn, list_id)]
    return await asyncio.to_thread(_build_table, blocks)


async def _read_into_files(conn: Connection, list_id: int, root: Path) -> Base:
    """Write a list to files while it is read.

    Raises:
        OSError: The files could not be written.
        ValueError: The values were not in order.
    """
    writer = await asyncio.to_thread(BaseWriter, root)
    with writer:
        async for kind, _, data in block_digests.read_blocks(conn, list_id):
            named = HashKind(kind)
            await asyncio.to_thread(writer.write, named, unpack_rows(named, data))
        return await asyncio.to_thread(writer.finish)


async def _catch_up(conn: Connection, list_id: int, older: Contents) -> Contents | None:
    """Read what changed since an older version; None where that is so much that all may as well be read."""
    blocks = await block_digests.list_block_digests(conn, list_id)
    spans = _find_spans(blocks)
    changed = await asyncio.to_thread(_find_changed, spans, older)
    if len(changed) > _MAX_CHANGED_SHARE * len(blocks):
        return None
    added: list[tuple[str, bytes]] = []
    removed: list[tuple[str, bytes]] = _find_dropped_kinds(blocks, older)
    limits = {(one.kind, one.first_value): span for one, span in changed}
    count = sum(len(data) // HashKind(kind).width for kind, data in removed)
    async for name, first, data in block_digests.read_blocks(conn, list_id, [one for one, _ in changed]):
        kind = HashKind(name)
        start, stop = limits[name, first]
        now = HashTable.from_rows({kind: unpack_rows(kind, data)})
        then = HashTable.from_rows({kind: older.rows_between(kind, start, stop)})
        new, gone = now.minus(then).get_rows(kind), then.minus(now).get_rows(kind)
        added.append((name, new.tobytes()))
        removed.append((name, gone.tobytes()))
        count += len(new) + len(gone)
        if count > _MAX_DIFFERENCE:
            return None
    return await asyncio.to_thread(older.change, added=_build_table(added), removed=_build_table(removed))


_Span = tuple[bytes, bytes | None]


def _find_spans(blocks: Sequence[BlockDigest]) -> list[tuple[BlockDigest, _Span]]:
    """Say for every block which values belong into it: from its first one to the next block's."""
    spans: list[tuple[BlockDigest, _Span]] = []
    for kind in dict.fromkeys(one.kind for one in blocks):
        own = [one for one in blocks if one.kind == kind]
        edges = [b"", *(one.first_value for one in own[1:]), None]
        for one, (start, stop) in zip(own, pairwise(edges), strict=True):
            spans.append((one, (start or b"", stop)))
    return spans


def _find_changed(
    spans: Sequence[tuple[BlockDigest, _Span]], older: Contents
) -> list[tuple[BlockDigest, _Span]]:
    changed: list[tuple[BlockDigest, _Span]] = []
    for one, span in spans:
        rows = np.ascontiguousarray(older.rows_between(HashKind(one.kind), *span))
        if hashlib.sha256(rows.data).digest() != one.digest:
            changed.append((one, span))
    return changed


def _find_dropped_kinds(blocks: Sequence[BlockDigest], older: Contents) -> list[tuple[str, bytes]]:
    """List the values of kinds that the list no longer holds at all."""
    kinds = {one.kind for one in blocks}
    return [
        (kind.value, older.rows_between(kind, b"", None).tobytes())
        for kind in HashKind
        if kind.value not in kinds
    ]
