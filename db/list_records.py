"""Keep which hashes stand in which record of a list's maker, so that each record can be taken back.

Makers publish records with several hashes each, change them, and withdraw them by their ids alone. A hash is
listed as long as one record holds it. What changed is noted here with the checkpoint and in its transaction;
`write_changes` then brings it into the list itself, which is what scanners load.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from db.hash_blocks import Changed, change_blocks
from db.list_videos import KIND, prune_videos, put_videos

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from db.pool import Connection

RECORD_BYTES: Final = 16

# The first contents of a list of millions are written at once; so long, other statements may not take.
_WRITE_TIMEOUT: Final = timedelta(minutes=30)
# Values between two rounds of writing: a few MiB, in the order of the rows that they go to.
_VALUES_AT_ONCE: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The state of one record of the maker's.

    Attributes:
        id: The first 16 bytes of SHA-256 over the maker's id.
        changed_at: When it came to be in this state, by the maker's clock.
        hashes: Its hashes that we have a use for, by kind and value; none if it was taken back.
        is_removed: The maker took it back.
        label: The maker's own words for it, for moderators.
        videos: The frames of the videos among its hashes, by name, concatenated.
    """

    id: bytes
    changed_at: datetime
    hashes: frozenset[tuple[str, bytes]]
    is_removed: bool = False
    label: str | None = None
    videos: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)


_LOAD_HOLDINGS: Final = """-- load_list_holdings
SELECT h.record, h.kind, h.hash_value, h.changed_at FROM list_holdings AS h
WHERE h.list_id = $1 AND h.record = ANY ($2::bytea[])
"""

_LOAD_TOMBSTONES: Final = """-- load_list_tombstones
SELECT t.record, t.removed_at FROM list_tombstones AS t
WHERE t.list_id = $1 AND t.record = ANY ($2::bytea[])
"""

_DELETE_HOLDINGS: Final = """-- delete_list_holdings
DELETE FROM list_holdings AS h
USING unnest($2::bytea[], $3::text[], $4::bytea[]) AS gone (record, kind, hash_value)
WHERE h.list_id = $1 AND h.record = gone.record AND h.kind = gone.kind AND h.hash_value = gone.hash_value
"""

_PUT_HOLDINGS: Final = """-- put_list_holdings
INSERT INTO list_holdings AS h (list_id, record, kind, hash_value, changed_at, generation, label)
SELECT $1, n.record, n.kind, n.hash_value, n.changed_at, $2, n.label
FROM unnest($3::bytea[], $4::text[], $5::bytea[], $6::timestamptz[], $7::text[])
AS n (record, kind, hash_value, changed_at, label)
ON CONFLICT (list_id, record, kind, hash_value) DO UPDATE
SET changed_at = excluded.changed_at, generation = excluded.generation, label = excluded.label
"""

_PUT_TOMBSTONES: Final = """-- put_list_tombstones
INSERT INTO list_tombstones AS t (list_id, record, removed_at)
SELECT $1, n.record, n.removed_at FROM unnest($2::bytea[], $3::timestamptz[]) AS n (record, removed_at)
ON CONFLICT (list_id, record) DO UPDATE SET removed_at = greatest(t.removed_at, excluded.removed_at)
"""

_DELETE_TOMBSTONES: Final = """-- delete_list_tombstones
DELETE FROM list_tombstones AS t WHERE t.list_id = $1 AND t.record = ANY ($2::bytea[])
"""

_NOTE_CHANGES: Final = """-- note_list_changes
INSERT INTO list_changes (list_id, kind, hash_value)
SELECT $1, n.kind, n.hash_value FROM unnest($2::text[], $3::bytea[]) AS n (kind, hash_value)
ON CONFLICT (list_id, kind, hash_value) DO NOTHING
"""


async def put_records(conn: Connection, list_id: int, records: Sequence[Record], *, generation: int) -> int:
    """Take in the states of records, and return how many were news; older states than the known are not.

    Of two states of the same time the removal holds.

    Args:
        conn: The connection, in the transaction that moves the checkpoint on.
        list_id: The list.
        records: The states, in the maker's order; of one record the newest counts.
        generation: The fetch from the beginning that they belong to.
    """
    newest: dict[bytes, Record] = {}
    for record in records:
        known = newest.get(record.id)
        if known is None or _age(known) <= _age(record):
            newest[record.id] = record
    ids = list(newest)
    held: dict[bytes, dict[tuple[str, bytes], datetime]] = {}
    for row in await conn.fetch(_LOAD_HOLDINGS, list_id, ids):
        held.setdefault(row["record"], {})[row["kind"], row["hash_value"]] = row["changed_at"]
    rows = await conn.fetch(_LOAD_TOMBSTONES, list_id, ids)
    tombstones: dict[bytes, datetime] = {row["record"]: row["removed_at"] for row in rows}
    plan = _Plan()
    for record in newest.values():
        plan.take(record, held.get(record.id, {}), tombstones.get(record.id))
    await plan.carry_out(conn, list_id, generation=generation)
    return plan.news


def _age(record: Record) -> tuple[datetime, bool]:
    return record.changed_at, record.is_removed


class _Plan:
    """What has to be written for some records."""

    def __init__(self) -> None:
        self.news = 0
        self._gone: list[tuple[bytes, str, bytes]] = []
        self._held: list[tuple[bytes, str, bytes, datetime, str | None]] = []
        self._changed: set[tuple[str, bytes]] = set()
        self._buried: list[tuple[bytes, datetime]] = []
        self._risen: list[bytes] = []
        self._videos: dict[bytes, bytes] = {}

    def take(
        self, record: Record, held: Mapping[tuple[str, bytes], datetime], removed_at: datetime | None
    ) -> None:
        """Compare a record with what is known of it."""
        if removed_at is not None and record.changed_at <= removed_at:
            return
        if any(known > record.changed_at for known in held.values()):
            # The newer state stays; that the maker still has the record is all that this one says.
            self._held += [(record.id, *one, known, record.label) for one, known in held.items()]
            return
        hashes = frozenset[tuple[str, bytes]]() if record.is_removed else record.hashes
        gone, new = held.keys() - hashes, hashes - held.keys()
        self._gone += [(record.id, kind, value) for kind, value in gone]
        # Those that stay are written again, too: they now belong to this time and this fetch.
        self._held += [(record.id, kind, value, record.changed_at, record.label) for kind, value in hashes]
        self._changed |= gone | new
        self._videos |= {value: record.videos[value] for kind, value in new if kind == KIND}
        if record.is_removed or (held and not hashes):
            self._buried.append((record.id, record.changed_at))
        elif removed_at is not None:
            self._risen.append(record.id)
        self.news += bool(gone or new)

    async def carry_out(self, conn: Connection, list_id: int, *, generation: int) -> None:
        """Write it."""
        if self._gone:
            await conn.execute(_DELETE_HOLDINGS, list_id, *_columns(self._gone, 3))
        if self._held:
            await conn.execute(_PUT_HOLDINGS, list_id, generation, *_columns(self._held, 5))
        await put_videos(conn, list_id, self._videos)
        if self._buried:
            await conn.execute(_PUT_TOMBSTONES, list_id, *_columns(self._buried, 2))
        if self._risen:
            await conn.execute(_DELETE_TOMBSTONES, list_id, self._risen)
        if self._changed:
            await conn.execute(_NOTE_CHANGES, list_id, *_columns(sorted(self._changed), 2))


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [[row[place] for row in rows] for place in range(width)]


_PRUNE: Final = """-- prune_list_holdings
WITH gone AS (
    DELETE FROM list_holdings AS h WHERE h.list_id = $1 AND h.generation < $2
    RETURNING h.record, h.kind, h.hash_value
),
noted AS (
    INSERT INTO list_changes (list_id, kind, hash_value)
    SELECT DISTINCT $1::bigint, g.kind, g.hash_value FROM gone AS g
    ON CONFLICT (list_id, kind, hash_value) DO NOTHING
)
SELECT count(DISTINCT g.record) FROM gone AS g
"""


async def prune_records(conn: Connection, list_id: int, *, generation: int) -> int:
    """Drop the records that a fetch from the beginning did not name, and return how many those were.

    Only for a fetch that has come to its end: the maker no longer has these, and has forgotten to say so.
    """
    await conn.execute(_set_timeout())
    return int(await conn.fetchval(_PRUNE, list_id, generation))


_LOAD_CHANGES: Final = """-- load_list_changes
SELECT c.kind, c.hash_value,
    (SELECT count(*) FROM list_holdings AS h
        WHERE h.list_id = c.list_id AND h.kind = c.kind AND h.hash_value = c.hash_value) > 0 AS is_held,
    (SELECT min(h.label) FROM list_holdings AS h
        WHERE h.list_id = c.list_id AND h.kind = c.kind AND h.hash_value = c.hash_value) AS label
FROM list_changes AS c
WHERE c.list_id = $1 AND (c.kind, c.hash_value) > ($2, $3)
ORDER BY c.kind, c.hash_value
LIMIT $4
"""

_FORGET_CHANGES: Final = """-- forget_list_changes
DELETE FROM list_changes AS c WHERE c.list_id = $1
"""


async def write_changes(conn: Connection, list_id: int) -> Changed:
    """Bring what records gained and lost into the list itself.

    Args:
        conn: The connection, in a transaction that holds the lock of the list.
        list_id: The list.
    """
    await conn.execute(_set_timeout())
    kind, value = "", b""
    added = removed = 0
    has_videos = False
    while True:
        rows = await conn.fetch(_LOAD_CHANGES, list_id, kind, value, _VALUES_AT_ONCE)
        if not rows:
            break
        for one in sorted({row["kind"] for row in rows}):
            concerned = [row for row in rows if row["kind"] == one]
            changed = await change_blocks(
                conn,
                list_id,
                one,
                added={row["hash_value"]: row["label"] for row in concerned if row["is_held"]},
                removed=[row["hash_value"] for row in concerned if not row["is_held"]],
            )
            added, removed = added + changed.added, removed + changed.removed
            has_videos = has_videos or one == KIND
        kind, value = rows[-1]["kind"], rows[-1]["hash_value"]
    await conn.execute(_FORGET_CHANGES, list_id)
    if has_videos:
        await prune_videos(conn, list_id)
    return Changed(added=added, removed=removed)


_HAS_CHANGES: Final = """-- has_list_changes
SELECT EXISTS (SELECT FROM list_changes AS c WHERE c.list_id = $1)
"""


async def has_changes(conn: Connection, list_id: int) -> bool:
    """Tell whether there is something to bring into the list."""
    return bool(await conn.fetchval(_HAS_CHANGES, list_id))


def _set_timeout() -> str:
    return f"SET LOCAL statement_timeout = '{_WRITE_TIMEOUT // timedelta(milliseconds=1)}ms'"
