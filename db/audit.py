"""Keep a log that is only ever added to, each entry bound to the one before it by a hash.

The chain shows any change within it. That the newest entries were cut off shows only against a head
that was noted elsewhere: `find_head` returns it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from db.errors import AuditChainError
from db.pool import snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    import asyncpg

    from db.pool import Connection

_CONTEXT: Final = b"breakwater audit log v1"
_GENESIS: Final = bytes(32)
# Any constant of our own; the two-number form keeps it apart from the locks on chains.
_LOCK_CLASS: Final = 0x425741  # "BWA"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PREFETCH_ROWS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One event.

    Attributes:
        seq: Its number, from 1 without gaps.
        at: When it happened.
        actor: Who did it.
        event: What was done.
        detail: More about it, never a URL, a digest, a file name or a score of flagged media.
        prev_hash: The hash of the entry before, zeros for the first.
        hash: SHA-256 over all of the above, 32 bytes.
    """

    seq: int
    at: datetime
    actor: str
    event: str
    detail: dict[str, Any]
    prev_hash: bytes
    hash: bytes


_LOCK_LOG: Final = """-- lock_audit_log
SELECT pg_advisory_xact_lock($1, 0)
"""

_FIND_LAST: Final = """-- find_last_audit_entry
SELECT e.seq, e.hash FROM audit_log AS e ORDER BY e.seq DESC LIMIT 1
"""

_APPEND: Final = """-- append_audit_entry
INSERT INTO audit_log (seq, at, actor, event, detail, prev_hash, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def append(
    conn: Connection, *, at: datetime, actor: str, event: str, detail: Mapping[str, object] | None = None
) -> AuditEntry:
    """Add an entry; inside the caller's transaction it is undone with it.

    Others who append wait until that transaction ends, so that it should end soon.

    Raises:
        ValueError: The detail holds a float or another value without one exact form.
    """
    content = dict(detail or {})
    _check_exact(content)
    async with conn.transaction():
        await conn.execute(_LOCK_LOG, _LOCK_CLASS)
        last = await conn.fetchrow(_FIND_LAST)
        seq, prev_hash = (1, _GENESIS) if last is None else (last["seq"] + 1, last["hash"])
        digest = _hash_entry(seq, at, actor, event, detail=content, prev_hash=prev_hash)
        await conn.execute(_APPEND, seq, at, actor, event, content, prev_hash, digest)
    return AuditEntry(
        seq=seq, at=at, actor=actor, event=event, detail=content, prev_hash=prev_hash, hash=digest
    )


async def find_head(conn: Connection) -> tuple[int, bytes] | None:
    """Find the number and hash of the newest entry, to be noted elsewhere; None if there is no entry."""
    row = await conn.fetchrow(_FIND_LAST)
    return None if row is None else (row["seq"], row["hash"])


_READ_LOG: Final = """-- read_audit_log
SELECT e.seq, e.at, e.actor, e.event, e.detail, e.prev_hash, e.hash FROM audit_log AS e ORDER BY e.seq
"""


async def verify_chain(conn: Connection, *, head: tuple[int, bytes] | None = None) -> int:
    """Verify every entry and return how many there are.

    Args:
        conn: The connection.
        head: A head that was noted elsewhere and must be part of the chain.

    Raises:
        AuditChainError: An entry was changed, removed or put in between; it names the first such place.
    """
    count, previous, head_seen = 0, _GENESIS, head is None
    async with snapshot(conn):
        async for row in conn.cursor(_READ_LOG, prefetch=_PREFETCH_ROWS):
            seq = count + 1
            expected = _hash_entry(
                seq, row["at"], row["actor"], row["event"], detail=row["detail"], prev_hash=previous
            )
            if row["seq"] != seq or row["prev_hash"] != previous or row["hash"] != expected:
                raise AuditChainError(seq)
            count, previous = seq, expected
            if head is not None and head[0] == seq:
                if head[1] != expected:
                    raise AuditChainError(seq)
                head_seen = True
    if not head_seen:
        raise AuditChainError(count + 1)
    return count


_LIST_ENTRIES: Final = """-- list_audit_entries
SELECT e.seq, e.at, e.actor, e.event, e.detail, e.prev_hash, e.hash
FROM audit_log AS e
WHERE $1::bigint IS NULL OR e.seq < $1
ORDER BY e.seq DESC
LIMIT $2
"""


async def list_entries(
    conn: Connection, *, limit: int, before_seq: int | None = None
) -> tuple[AuditEntry, ...]:
    """List entries, newest first, from before a number on."""
    return tuple(_build_entry(row) for row in await conn.fetch(_LIST_ENTRIES, before_seq, limit))


_LIST_ABOUT_PEER: Final = """-- list_audit_entries_about_peer
SELECT e.seq, e.at, e.actor, e.event, e.detail, e.prev_hash, e.hash
FROM audit_log AS e
WHERE e.detail ->> 'peer' = $1
ORDER BY e.seq DESC
LIMIT $2
"""


async def list_about_peer(conn: Connection, domain: str, *, limit: int) -> tuple[AuditEntry, ...]:
    """List what was done about a peer, newest first: the entries whose detail names its domain as `peer`."""
    return tuple(_build_entry(row) for row in await conn.fetch(_LIST_ABOUT_PEER, domain, limit))


def _hash_entry(seq: int, at: datetime, actor: str, event: str, *, detail: object, prev_hash: bytes) -> bytes:
    """Hash the fields, each preceded by its length, so that no two entries read the same."""
    fields = (
        _CONTEXT,
        str(seq).encode(),
        str((at - _EPOCH) // timedelta(microseconds=1)).encode(),
        actor.encode(),
        event.encode(),
        json.dumps(detail, sort_keys=True, separators=(",", ":")).encode(),
        prev_hash,
    )
    return hashlib.sha256(b"".join(len(field).to_bytes(8, "big") + field for field in fields)).digest()


def _check_exact(value: object) -> None:
    """Refuse floats, which the database may write another way than it read them."""
    match value:
        case None | bool() | int() | str():
            pass
        case list():
            for item in value:
                _check_exact(item)
        case dict() if all(isinstance(key, str) for key in value):
            for item in value.values():
                _check_exact(item)
        case _:
            raise ValueError("a detail holds only texts, whole numbers, booleans, None, lists and objects")


def _build_entry(row: asyncpg.Record) -> AuditEntry:
    return AuditEntry(**row)
