"""Make the instance's own hash lists of what its moderators upheld.

A ruling speaks of exactly the bytes that a person saw, at once and by itself. What an own list adds is their
looks: copies that were resized or cropped open a case of the same category, which a person rules on again.
There is one list a category, `own-` and its name; it is made anew once a day at the most, since with every
change of a list all verdicts of before are out of date. Whatever is overruled leaves it the same way, and a
list that the admin withdraws stays withdrawn.

Only still pictures are listed by their looks. A film has frames that thousands of others have, too.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final

from db import hashlists, upheld
from db.errors import DatabaseError
from db.hashlists import NewHashList
from db.upheld import Upheld
from relay.tools.naps import wait_within
from scanner import canary
from scanner.errors import MalformedError
from scanner.hashlist import DEFAULT_DISTANCE, DEFAULT_MIN_QUALITY
from scanner.hashtable import HashEntry, HashKind, HashTable
from scanner.keeping import unpack_pictures
from scanner.labels import Category

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from db.pool import Connection, Database
    from db.upheld import NewlyUpheld
    from relay.clock import Clock

_log = logging.getLogger(__name__)

PREFIX: Final = "own-"

EVERY: Final = timedelta(days=1)
"""How often lists change at the most: each change makes verdicts and attestations of before out of date."""

# When a day has passed is looked at this often.
_LOOK_EVERY: Final = timedelta(minutes=30)
_AFTER_ERROR: Final = timedelta(minutes=1)
_BATCH: Final = 500
_PDQ_BYTES: Final = 32

_CATEGORIES: Final = frozenset(category.value for category in Category)
_CSAM: Final = "csam-"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnListTools:
    """What own lists are made with.

    Attributes:
        database: Where rulings and lists are.
        clock: The time.
        handles_csam: Whether the admin has said under which law lists of child abuse material are used; until
            then none is made.
    """

    database: Database
    clock: Clock
    handles_csam: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What became of the own lists.

    Attributes:
        listed: How many files they hold.
        added: How many of them are new.
        dropped: How many were overruled.
        changed: The names of the lists that changed.
    """

    listed: int
    added: int
    dropped: int
    changed: tuple[str, ...]


async def fold(tools: OwnListTools) -> Folded:
    """Bring the own lists up to date with what people ruled.

    Raises:
        DatabaseError: Nothing was changed.
    """
    now = tools.clock.now()
    async with tools.database.transaction() as conn:
        dropped = await upheld.drop_overruled(conn)
        await upheld.follow_cases(conn)
        added = await _add(conn, now=now)
        found = [one for one in await upheld.list_all(conn) if _is_listed(one.category, tools)]
        groups = {name: tuple(group) for name, group in groupby(found, key=lambda one: one.category)}
        stored = await hashlists.list_lists(conn, include_withdrawn=True)
        # A list from which the last file was overruled is made empty, not forgotten.
        emptied = (one.category for one in stored if one.name == PREFIX + one.category)
        changed = [
            PREFIX + category
            for category in sorted({*groups, *emptied})
            if await _replace(conn, category, groups.get(category, ()), now=now)
        ]
    return Folded(listed=len(found), added=added, dropped=dropped, changed=tuple(changed))


async def _add(conn: Connection, *, now: datetime) -> int:
    added = 0
    while new := await upheld.list_new(conn, limit=_BATCH):
        for one in new:
            kept = Upheld(sha256=one.sha256, category=one.category, pdq=_find_looks(one))
            await upheld.put(conn, kept, now=now)
        added += len(new)
    return added


def _find_looks(new: NewlyUpheld) -> bytes:
    """Find the hashes by which copies of a still picture are known; none of anything that moves."""
    try:
        pictures = unpack_pictures(new.pictures or b"")
    except MalformedError:
        return b""
    shown = [one for one in pictures if one.frame >= 0]
    if any(one.frame > 0 for one in shown):
        return b""
    # The canary is known to everybody, and drawn to be harmless: what looks like it is no copy of anything.
    good = {
        one.dihedral[0]
        for one in shown
        if one.quality >= DEFAULT_MIN_QUALITY and not _is_canary(one.dihedral[0])
    }
    return b"".join(sorted(good))


def _is_canary(bits: bytes) -> bool:
    return (int.from_bytes(bits) ^ int.from_bytes(canary.PDQ)).bit_count() <= DEFAULT_DISTANCE


def _is_listed(category: str, tools: OwnListTools) -> bool:
    # What nobody could look at has no category, and is known by its bytes alone.
    return category in _CATEGORIES and (tools.handles_csam or not category.startswith(_CSAM))


async def _replace(conn: Connection, category: str, listed: Iterable[Upheld], *, now: datetime) -> bool:
    """Put a list in the place of that of before; return whether it changed."""
    name = PREFIX + category
    table = HashTable.from_entries(entry for one in listed for entry in _entries(one))
    before = await hashlists.find_list(conn, name)
    if before is not None and await hashlists.lock_list(conn, before.id):
        # To put a list in the place of one that the admin is just withdrawing would bring it back.
        before = await hashlists.find_list(conn, name)
    if before is not None and (before.withdrawn_at is not None or before.digest == table.digest()):
        return False
    new = NewHashList(
        name=name,
        version=now.isoformat(timespec="seconds"),
        category=category,
        distance=DEFAULT_DISTANCE,
        min_quality=DEFAULT_MIN_QUALITY,
        is_dihedral=True,
        digest=table.digest(),
    )
    values = {kind.value: array.tobytes() for kind, array in table.rows.items()}
    await hashlists.import_list(conn, new, values, now=now)
    return True


def _entries(one: Upheld) -> Iterable[HashEntry]:
    yield HashEntry(kind=HashKind.SHA256, value=one.sha256)
    for start in range(0, len(one.pdq), _PDQ_BYTES):
        yield HashEntry(kind=HashKind.PDQ, value=one.pdq[start : start + _PDQ_BYTES])


class OwnListKeeper:
    """Brings the own lists up to date once a day."""

    def __init__(self, tools: OwnListTools) -> None:
        self._tools = tools
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Do nothing more; the next start does."""
        self._stopping.set()

    async def run(self) -> None:
        """Look now and then whether a day has passed, until stopped."""
        while not self._stopping.is_set():
            pause = _LOOK_EVERY
            try:
                if await self._is_due():
                    folded = await fold(self._tools)
                    if folded.changed:
                        _log.info("own_lists_changed lists=%d files=%d", len(folded.changed), folded.listed)
            except DatabaseError as error:
                _log.error("own_lists_not_made error=%s", type(error).__name__)
                pause = _AFTER_ERROR
            await wait_within(self._stopping, pause)

    async def _is_due(self) -> bool:
        async with self._tools.database.connection() as conn:
            stored = await hashlists.list_lists(conn, include_withdrawn=True)
        times = [one.imported_at for one in stored if one.name.startswith(PREFIX)]
        return not times or self._tools.clock.now() - max(times) >= EVERY
