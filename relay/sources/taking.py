"""Take in what was fetched: records and checkpoint in one transaction, then the list itself.

Records are noted page by page, so that a fetch that breaks off goes on where it stopped. The list, which is
what scanners load, is written when a round ends or has gone on for a while: every change of it makes all
relays load it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db import hashlists, list_records, list_sources, list_videos
from db.hash_blocks import Changed, change_blocks
from relay.sources.model import FailureKind, SourceFailure
from scanner.hashlist import build_update
from scanner.hashtable import HashKind, HashTable, unpack_rows
from scanner.listvideos import MAX_LIST_FRAMES

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection, Database
    from relay.sources.model import Page, Snapshot
    from scanner.hashlist import ParsedList

_FEW: Final = 1_000
"""A list of fewer hashes may lose most of them from one day to the next."""


class LeaseLostError(Exception):
    """Somebody else fetches this source now; nothing of this step was stored."""


class _UnfitError(Exception):
    """A file or a page must not become the list; the transaction is undone."""

    def __init__(self, failure: SourceFailure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who fetches a source, and what is known of it.

    Attributes:
        list_id: The list.
        worker: Who fetches it.
        generation: The fetch from the beginning that is under way, or was last.
        unusable: What was counted in it.
    """

    list_id: int
    worker: str
    generation: int
    unusable: dict[str, int]


async def take_page(
    database: Database, holder: Holder, page: Page, *, lease_until: datetime
) -> Holder | SourceFailure:
    """Store the records of a page and move the checkpoint on, both or neither.

    Raises:
        LeaseLostError: It is somebody else's turn.
        DatabaseError: Nothing of it was stored.
    """
    generation = holder.generation + page.begins_anew
    unusable = {} if page.begins_anew else dict(holder.unusable)
    for word, count in page.unusable.items():
        unusable[word] = unusable.get(word, 0) + count
    try:
        async with database.transaction() as conn:
            is_ours = await list_sources.advance_source(
                conn,
                holder.list_id,
                worker=holder.worker,
                checkpoint=page.checkpoint,
                generation=generation,
                unusable=unusable,
                lease_until=lease_until,
            )
            if not is_ours:
                raise LeaseLostError
            await list_records.put_records(conn, holder.list_id, page.records, generation=generation)
            if page.ends_anew:
                await list_records.prune_records(conn, holder.list_id, generation=generation)
            if any(one.videos for one in page.records):
                await _check_frames(conn, holder.list_id)
    except _UnfitError as error:
        return error.failure
    return Holder(list_id=holder.list_id, worker=holder.worker, generation=generation, unusable=unusable)


async def write_list(
    database: Database, list_id: int, *, version: str, now: datetime, revives: bool = False
) -> Changed:
    """Bring what was stored into the list, and announce it if anything changed.

    Args:
        database: Where it is.
        list_id: The list.
        version: What the new contents are called.
        now: The time.
        revives: A list that was out of use is in use again.

    Raises:
        DatabaseError: The list is as it was.
    """
    async with database.transaction() as conn:
        if not await hashlists.lock_list(conn, list_id):
            return Changed(added=0, removed=0)
        changed = await list_records.write_changes(conn, list_id)
        if changed.added or changed.removed or revives:
            await _seal(conn, list_id, changed, version=version, now=now, revives=revives)
    return changed


async def take_snapshot(
    database: Database,
    holder: Holder,
    snapshot: Snapshot,
    *,
    version: str,
    lease_until: datetime,
    now: datetime,
    accepts_loss: bool = False,
) -> Changed | SourceFailure:
    """Make a list what a file says, writing only what differs, and move the checkpoint on.

    Args:
        database: Where it is.
        holder: Who fetches it.
        snapshot: The whole list.
        version: What the new contents are called.
        lease_until: How long the lease is prolonged.
        now: The time.
        accepts_loss: The list may lose more than half of its hashes.

    Raises:
        LeaseLostError: It is somebody else's turn.
        DatabaseError: Nothing of it was stored.
    """
    try:
        async with database.transaction() as conn:
            is_ours = await list_sources.advance_source(
                conn,
                holder.list_id,
                worker=holder.worker,
                checkpoint=snapshot.checkpoint,
                generation=holder.generation + 1,
                unusable=dict(snapshot.unusable),
                lease_until=lease_until,
            )
            if not is_ours or not await hashlists.lock_list(conn, holder.list_id):
                raise LeaseLostError
            changed = await _change(conn, holder.list_id, snapshot.parsed, accepts_loss=accepts_loss)
            if changed.added or changed.removed:
                await _seal(conn, holder.list_id, changed, version=version, now=now, revives=False)
    except _UnfitError as error:
        return error.failure
    return changed


async def _change(conn: Connection, list_id: int, parsed: ParsedList, *, accepts_loss: bool) -> Changed:
    """Write what differs between the list and a file.

    Raises:
        _UnfitError: The list would lose most of its hashes.
    """
    current = await _load_table(conn, list_id)
    # Comparing millions takes seconds, during which the doors go on answering.
    update = await asyncio.to_thread(
        build_update, current, listed=parsed.listed, withdrawn=parsed.withdrawn, is_complete=True
    )
    if len(current) >= _FEW and update.withdrawn * 2 > len(current) and not accepts_loss:
        raise _UnfitError(_describe_loss(update.withdrawn, len(current)))
    added = await asyncio.to_thread(update.table.minus, current)
    removed = await asyncio.to_thread(current.minus, update.table)
    total = Changed(added=0, removed=0)
    for kind in HashKind:
        news = [row.tobytes() for row in added.get_rows(kind)]
        done = await change_blocks(
            conn,
            list_id,
            kind.value,
            added={value: parsed.ids.get((kind, value)) for value in news},
            removed=[row.tobytes() for row in removed.get_rows(kind)],
        )
        total = Changed(added=total.added + done.added, removed=total.removed + done.removed)
    names = {row.tobytes() for row in added.get_rows(HashKind.VPDQ)}
    await list_videos.put_videos(conn, list_id, {name: parsed.videos[name] for name in names})
    await list_videos.prune_videos(conn, list_id)
    return total


async def _check_frames(conn: Connection, list_id: int) -> None:
    """Bound what the videos of a list take in every process.

    Raises:
        _UnfitError: They have too many frames together.
    """
    if await list_videos.count_frames(conn, list_id) > MAX_LIST_FRAMES:
        raise _UnfitError(_TOO_MANY_FRAMES)


_TOO_MANY_FRAMES: Final = SourceFailure(
    kind=FailureKind.TOO_LARGE,
    detail=f"The videos of the list have more than {MAX_LIST_FRAMES:,} frames together, which is more "
    "than can be held in memory. What came before is kept and matched; nothing more is fetched. Take a part "
    "of the list, by a tag for instance, under another name.",
)


def _describe_loss(lost: int, known: int) -> SourceFailure:
    return SourceFailure(
        kind=FailureKind.SHRUNK,
        detail=f"The new file leaves out {lost:,} of the {known:,} hashes of the list. It may have been cut "
        "off, so it was not taken, and the list stays as it is. If it is right, run `breakwater lists sync` "
        "with the name of the list and --accept-loss.",
    )


async def _seal(
    conn: Connection, list_id: int, changed: Changed, *, version: str, now: datetime, revives: bool
) -> None:
    table = await _load_table(conn, list_id)
    digest = await asyncio.to_thread(table.digest)
    await hashlists.seal_list(
        conn,
        list_id,
        version=version,
        digest=digest,
        gained=changed.added - changed.removed,
        now=now,
        revives=revives,
    )


async def _load_table(conn: Connection, list_id: int) -> HashTable:
    # With what this instance took out itself: that is not the maker's, and comes and goes by other ways.
    packed = await hashlists.load_entries(conn, list_id, include_withdrawn=True)
    # The database keeps them sorted and each once, which is all that a table asks for.
    return HashTable(
        rows={HashKind(kind): unpack_rows(HashKind(kind), data) for kind, data in packed.items()}
    )
