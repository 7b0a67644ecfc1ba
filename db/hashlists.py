"""Keep hash lists: their parameters, their values in packed blocks, and what was withdrawn from them.

Values of one kind are kept and handed out concatenated, sorted bytewise and each once, so that a list
of millions is a few arrays on either side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db.hash_blocks import KIND_WIDTHS, cut_blocks, find_value
from db.list_videos import prune_videos, put_videos
from db.pool import snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from db.pool import Connection

__all__ = [
    "CHANNEL",
    "KIND_WIDTHS",
    "NewHashList",
    "StoredHashList",
    "delete_list",
    "find_label",
    "find_labelled",
    "find_list",
    "import_list",
    "list_lists",
    "load_entries",
    "lock_list",
    "seal_list",
    "withdraw_entry",
    "withdraw_list",
]

# Notified with the name of a list that changed.
CHANNEL: Final = "hash_lists"

_PREFETCH_ROWS: Final = 512  # At most 16 MiB of hashes travel at a time.
_IMPORT_TIMEOUT: Final = "10min"  # Ten million values take under a minute.


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHashList:
    """The parameters of a list that is imported.

    Attributes:
        name: Unique; importing a name again replaces that list's contents.
        version: The maker's version, or the time of the import.
        category: What a match means.
        distance: The largest distance of a match, in bits, 0 to 255.
        min_quality: The least quality of media that is matched, 0 to 100.
        is_dihedral: Turned and mirrored copies are looked for too.
        digest: SHA-256 over the contents, 32 bytes.
        label: A finer word for the findings.
        is_advisory: Matches are reported without deciding.
        purpose: `block`, or `allow` for a list of what may pass.
    """

    name: str
    version: str
    category: str
    distance: int
    min_quality: int
    is_dihedral: bool
    digest: bytes
    label: str | None = None
    is_advisory: bool = False
    purpose: str = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHashList(NewHashList):
    """A list as it is kept.

    Attributes:
        id: Stays the same through later imports of the name.
        entries: How many values it has, withdrawn ones included.
        imported_at: When its contents were last imported.
        withdrawn_at: When the whole list was taken out of use; None if it was not.
    """

    id: int
    entries: int
    imported_at: datetime
    withdrawn_at: datetime | None


_PUT_LIST: Final = """-- put_hash_list
INSERT INTO hash_lists (
    name, version, category, label, is_advisory, distance, min_quality, is_dihedral, digest, entries,
    imported_at, purpose
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (name) DO UPDATE
SET version = excluded.version, category = excluded.category, label = excluded.label,
    is_advisory = excluded.is_advisory, distance = excluded.distance, min_quality = excluded.min_quality,
    is_dihedral = excluded.is_dihedral, digest = excluded.digest, entries = excluded.entries,
    imported_at = excluded.imported_at, purpose = excluded.purpose, withdrawn_at = NULL
RETURNING id
"""

_DELETE_BLOCKS: Final = """-- delete_hash_blocks
DELETE FROM hash_blocks AS b WHERE b.list_id = $1
"""

_NOTIFY_LISTS: Final = """-- notify_hash_lists
SELECT pg_notify('hash_lists', $1)
"""


async def import_list(
    conn: Connection,
    new: NewHashList,
    values: Mapping[str, bytes],
    *,
    now: datetime,
    labels: Mapping[tuple[str, bytes], str] | None = None,
    videos: Mapping[bytes, bytes] | None = None,
) -> int:
    """Put a list in place of the one of its name, in one transaction, and return its id.

    Withdrawals of single entries stay in force; the withdrawal of the whole list ends.

    Args:
        conn: The connection.
        new: The parameters.
        values: By kind, the concatenated values, sorted bytewise, each once.
        now: The time.
        labels: The maker's ids, by kind and value.
        videos: The frames of the videos that are new among the values, by name, concatenated.

    Raises:
        ValueError: A kind is unknown, or its values have another width, are unsorted or repeated.
    """
    for kind, data in values.items():
        if kind not in KIND_WIDTHS or len(data) % KIND_WIDTHS[kind] != 0:
            raise ValueError("values of an unknown kind or of another width")
    entries = sum(len(data) // KIND_WIDTHS[kind] for kind, data in values.items())
    async with conn.transaction():
        await conn.execute(f"SET LOCAL statement_timeout = '{_IMPORT_TIMEOUT}'")
        list_id: int = await conn.fetchval(
            _PUT_LIST,
            new.name,
            new.version,
            new.category,
            new.label,
            new.is_advisory,
            new.distance,
            new.min_quality,
            new.is_dihedral,
            new.digest,
            entries,
            now,
            new.purpose,
        )
        await conn.execute(_DELETE_BLOCKS, list_id)
        for kind, data in values.items():
            await conn.copy_records_to_table(
                "hash_blocks",
                columns=["list_id", "kind", "first_value", "hash_values", "labels"],
                records=cut_blocks(list_id, str(kind), data, labels or {}),
            )
        await put_videos(conn, list_id, videos or {})
        await prune_videos(conn, list_id)
        await conn.execute(_NOTIFY_LISTS, new.name)
    return list_id


_LIST_COLUMNS: Final = """
    l.id, l.name, l.version, l.category, l.label, l.is_advisory, l.distance, l.min_quality,
    l.is_dihedral, l.digest, l.entries, l.imported_at, l.withdrawn_at, l.purpose
"""


_LIST_LISTS: Final = f"""-- list_hash_lists
SELECT {_LIST_COLUMNS} FROM hash_lists AS l WHERE l.withdrawn_at IS NULL OR $1 ORDER BY l.name
"""  # noqa: S608 (the columns are a constant of this file)


async def list_lists(conn: Connection, *, include_withdrawn: bool = False) -> tuple[StoredHashList, ...]:
    """List the lists in use by name; they are few."""
    return tuple(StoredHashList(**row) for row in await conn.fetch(_LIST_LISTS, include_withdrawn))


_FIND_LIST: Final = f"""-- find_hash_list
SELECT {_LIST_COLUMNS} FROM hash_lists AS l WHERE l.name = $1
"""  # noqa: S608 (the columns are a constant of this file)


async def find_list(conn: Connection, name: str) -> StoredHashList | None:
    """Find a list by its name, withdrawn or not."""
    row = await conn.fetchrow(_FIND_LIST, name)
    return None if row is None else StoredHashList(**row)


_LOAD_WITHDRAWALS: Final = """-- load_withdrawals
SELECT w.kind, w.hash_value FROM hash_withdrawals AS w WHERE w.list_id = $1
"""

_LOAD_BLOCKS: Final = """-- load_hash_blocks
SELECT b.kind, b.hash_values FROM hash_blocks AS b WHERE b.list_id = $1 ORDER BY b.kind, b.first_value
"""


async def load_entries(
    conn: Connection, list_id: int, *, include_withdrawn: bool = False
) -> dict[str, bytes]:
    """Load the values of a list, but the withdrawn ones: by kind, concatenated, sorted, each once."""
    packed: dict[str, bytearray] = {}
    async with snapshot(conn):
        withdrawals = [] if include_withdrawn else await conn.fetch(_LOAD_WITHDRAWALS, list_id)
        async for row in conn.cursor(_LOAD_BLOCKS, list_id, prefetch=_PREFETCH_ROWS):
            packed.setdefault(row["kind"], bytearray()).extend(row["hash_values"])
    for row in withdrawals:
        kind, value = row["kind"], row["hash_value"]
        data = packed.get(kind)
        place = None if data is None else find_value(data, value)
        if data is not None and place is not None:
            del data[place * len(value) : (place + 1) * len(value)]
    return {kind: bytes(data) for kind, data in packed.items() if data}


_FIND_BLOCK: Final = """-- find_hash_block
SELECT b.hash_values, b.labels FROM hash_blocks AS b
WHERE b.list_id = $1 AND b.kind = $2 AND b.first_value <= $3
ORDER BY b.first_value DESC
LIMIT 1
"""


async def find_label(conn: Connection, list_id: int, kind: str, value: bytes) -> str | None:
    """Find the maker's id of a listed value."""
    row = await conn.fetchrow(_FIND_BLOCK, list_id, kind, value)
    place = None if row is None else find_value(row["hash_values"], value)
    if row is None or place is None or row["labels"] is None:
        return None
    label: str | None = row["labels"][place]
    return label


_FIND_LABELLED: Final = """-- find_labelled_hashes
SELECT b.kind, b.hash_values, b.labels FROM hash_blocks AS b JOIN hash_lists AS l ON l.id = b.list_id
WHERE l.name = $1 AND b.labels @> ARRAY[$2]
"""


async def find_labelled(conn: Connection, name: str, label: str) -> list[tuple[str, bytes]]:
    """Find the values of a list, with their kinds, that the maker gave an id; reads the whole list."""
    found: list[tuple[str, bytes]] = []
    for row in await conn.fetch(_FIND_LABELLED, name, label):
        width = KIND_WIDTHS[row["kind"]]
        places = [place for place, one in enumerate(row["labels"]) if one == label]
        found += [(row["kind"], row["hash_values"][place * width : (place + 1) * width]) for place in places]
    return found


_WITHDRAW_LIST: Final = """-- withdraw_list
WITH withdrawn AS (
    UPDATE hash_lists AS l SET withdrawn_at = $2
    WHERE l.name = $1 AND l.withdrawn_at IS NULL
    RETURNING l.name
)
SELECT name, pg_notify('hash_lists', name) FROM withdrawn
"""


async def withdraw_list(conn: Connection, name: str, *, at: datetime) -> bool:
    """Take a list out of use until it is imported again; False if it is not in use."""
    return await conn.fetchval(_WITHDRAW_LIST, name, at) is not None


_DELETE_LIST: Final = """-- delete_hash_list
WITH deleted AS (DELETE FROM hash_lists AS l WHERE l.name = $1 RETURNING l.name)
SELECT name, pg_notify('hash_lists', name) FROM deleted
"""


async def delete_list(conn: Connection, name: str) -> bool:
    """Forget a list with its values and withdrawals; False if it is not known."""
    return await conn.fetchval(_DELETE_LIST, name) is not None


_WITHDRAW_ENTRY: Final = """-- withdraw_entry
WITH withdrawn AS (
    INSERT INTO hash_withdrawals (list_id, kind, hash_value, withdrawn_at)
    SELECT l.id, $2, $3, $4 FROM hash_lists AS l WHERE l.name = $1
    ON CONFLICT (list_id, kind, hash_value) DO NOTHING
    RETURNING list_id
)
SELECT list_id, pg_notify('hash_lists', $1) FROM withdrawn
"""


async def withdraw_entry(conn: Connection, name: str, *, kind: str, value: bytes, at: datetime) -> bool:
    """Take one value of a list out of use for good; False if that was done or the list is not known."""
    return await conn.fetchval(_WITHDRAW_ENTRY, name, kind, value, at) is not None


_LOCK_LIST: Final = """-- lock_hash_list
SELECT l.id FROM hash_lists AS l WHERE l.id = $1 FOR UPDATE
"""


async def lock_list(conn: Connection, list_id: int) -> bool:
    """Keep others from changing a list until the transaction ends; False if it is gone."""
    return await conn.fetchval(_LOCK_LIST, list_id) is not None


_SEAL_LIST: Final = """-- seal_hash_list
WITH sealed AS (
    UPDATE hash_lists AS l
    SET version = $2, digest = $3, imported_at = $4, entries = l.entries + $5,
        withdrawn_at = CASE WHEN $6 THEN NULL ELSE l.withdrawn_at END
    WHERE l.id = $1
    RETURNING l.name
)
SELECT name, pg_notify('hash_lists', name) FROM sealed
"""


async def seal_list(
    conn: Connection,
    list_id: int,
    *,
    version: str,
    digest: bytes,
    gained: int,
    now: datetime,
    revives: bool = False,
) -> None:
    """End a change of a list's rows, and announce it.

    Args:
        conn: The connection, in the transaction that changed the rows.
        list_id: The list.
        version: What the contents are called from now on.
        digest: SHA-256 over the contents, 32 bytes.
        gained: How many values more the list has; less than 0 if it has fewer.
        now: The time.
        revives: A list that was out of use is in use again.
    """
    await conn.execute(_SEAL_LIST, list_id, version, digest, now, gained, revives)
