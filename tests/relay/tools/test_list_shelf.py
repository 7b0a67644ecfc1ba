"""Lists come from files where they can, and from the database as far as they changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from db import block_digests, hash_blocks, hashlists
from db.hashlists import NewHashList
from relay.tools import list_shelf
from relay.tools.list_shelf import ListShelf
from scanner.hashlist import HashKind, Purpose
from scanner.hashtable import HashTable
from scanner.listcache import ListCache
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from pathlib import Path

    from db.pool import Database
    from scanner.hashlist import HashList

MANY = 30_000
NEW = NewHashList(
    name="drawn",
    version="1",
    category="spam",
    distance=31,
    min_quality=50,
    is_dihedral=True,
    digest=b"1" * 32,
)


def rows_of(seed: int, count: int, kind: HashKind = HashKind.PDQ) -> list[bytes]:
    dice = np.random.default_rng(seed)
    return sorted(dice.bytes(kind.width) for _ in range(count))


LISTED = {HashKind.PDQ: rows_of(1, MANY), HashKind.SHA256: rows_of(2, 6_000, HashKind.SHA256)}


async def put(database: Database, listed: dict[HashKind, list[bytes]], digest: bytes, **other: Any) -> int:
    values = {kind.value: b"".join(rows) for kind, rows in listed.items()}
    async with database.connection() as conn:
        return await hashlists.import_list(conn, replace(NEW, digest=digest, **other), values, now=START)


def contents(one: HashList) -> dict[HashKind, set[bytes]]:
    table = one.table.minus(one.removed).union(one.added)
    return {kind: {row.tobytes() for row in rows} for kind, rows in table.rows.items()}


class Reading:
    """Counts the blocks that were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.blocks = 0
        self._real = block_digests.read_blocks
        monkeypatch.setattr(block_digests, "read_blocks", self._read)

    async def _read(self, *arguments: Any) -> Any:
        async for block in self._real(*arguments):
            self.blocks += 1
            yield block

    def reset(self) -> int:
        count, self.blocks = self.blocks, 0
        return count


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    return Reading(monkeypatch)


async def count_blocks(database: Database) -> int:
    async with database.connection() as conn:
        (listed,) = await hashlists.list_lists(conn)
        return len(await block_digests.list_block_digests(conn, listed.id))


def open_shelf(tmp_path: Path) -> ListShelf:
    return ListShelf(ListCache(tmp_path / "lists"), min_kept_entries=10_000)


async def test_a_start_after_the_first_reads_no_value_from_the_database(
    database: Database, tmp_path: Path, reading: Reading
) -> None:
    await put(database, LISTED, b"1" * 32)
    (first,) = await open_shelf(tmp_path).load(database, now=START)
    assert reading.reset() == await count_blocks(database)
    (second,) = await open_shelf(tmp_path).load(database, now=START)
    assert reading.reset() == 0
    assert contents(first) == contents(second) == {kind: set(rows) for kind, rows in LISTED.items()}
    assert first.state == second.state
    assert second.digest == first.table.digest()
    assert second.index is not None


async def test_of_a_change_only_the_touched_blocks_are_read_and_the_base_stays(
    database: Database, tmp_path: Path, reading: Reading
) -> None:
    shelf = open_shelf(tmp_path)
    list_id = await put(database, LISTED, b"1" * 32)
    (before,) = await shelf.load(database, now=START)
    reading.reset()
    # All in one block, as they would be among ten million after a hundred changes.
    low = LISTED[HashKind.PDQ][:50]
    new = [bytes([*value[:31], value[31] ^ 1]) for value in low[:20]]
    async with database.transaction() as conn:
        await hash_blocks.change_blocks(conn, list_id, "pdq", added=dict.fromkeys(new), removed=low[30:])
        await hashlists.seal_list(conn, list_id, version="2", digest=b"2" * 32, gained=0, now=START)
    (after,) = await shelf.load(database, now=START)
    assert 1 <= reading.reset() <= 2
    assert after.table is before.table
    assert (len(after.added), len(after.removed)) == (20, 20)
    wanted = (set(LISTED[HashKind.PDQ]) | set(new)) - set(low[30:])
    assert contents(after)[HashKind.PDQ] == wanted
    assert len(after) == sum(map(len, contents(after).values()))
    # Another process that knows only the older version, or starts with this one, gets the same.
    (again,) = await open_shelf(tmp_path).load(database, now=START)
    assert reading.reset() == 0
    assert again.state == after.state
    assert contents(again) == contents(after)


async def test_a_start_after_a_change_goes_on_from_the_older_version(
    database: Database, tmp_path: Path, reading: Reading
) -> None:
    await put(database, LISTED, b"1" * 32)
    await open_shelf(tmp_path).load(database, now=START)
    changed = {HashKind.PDQ: LISTED[HashKind.PDQ][:-3], HashKind.SHA1: rows_of(3, 5, HashKind.SHA1)}
    await put(database, changed, b"2" * 32, version="2")
    reading.reset()
    (found,) = await open_shelf(tmp_path).load(database, now=START)
    # The last block of the PDQ hashes and the only one of the SHA-1.
    assert reading.reset() == 2
    assert contents(found) == {kind: set(rows) for kind, rows in changed.items()}
    expected = HashTable.from_rows(
        {
            kind: np.frombuffer(b"".join(rows), np.uint8).reshape(-1, kind.width)
            for kind, rows in changed.items()
        }
    )
    assert found.digest == expected.digest()


async def test_another_list_altogether_is_read_anew(
    database: Database, tmp_path: Path, reading: Reading
) -> None:
    shelf = open_shelf(tmp_path)
    await put(database, LISTED, b"1" * 32)
    (before,) = await shelf.load(database, now=START)
    other = {HashKind.PDQ: rows_of(9, MANY)}
    await put(database, other, b"2" * 32)
    (found,) = await shelf.load(database, now=START)
    assert found.table is not before.table
    assert contents(found) == {HashKind.PDQ: set(other[HashKind.PDQ])}
    # What nobody needs any more is gone.
    assert len(list((tmp_path / "lists").glob("base3-*"))) == 1


async def test_withdrawn_entries_do_not_match_whatever_the_files_hold(
    database: Database, tmp_path: Path, reading: Reading
) -> None:
    shelf = open_shelf(tmp_path)
    await put(database, LISTED, b"1" * 32)
    (before,) = await shelf.load(database, now=START)
    gone = LISTED[HashKind.PDQ][77]
    async with database.connection() as conn:
        assert await hashlists.withdraw_entry(conn, NEW.name, kind="pdq", value=gone, at=START)
        # One that the list does not hold changes nothing.
        assert await hashlists.withdraw_entry(conn, NEW.name, kind="md5", value=bytes(16), at=START)
    reading.reset()
    for each in (shelf, open_shelf(tmp_path)):
        (after,) = await each.load(database, now=START)
        assert reading.reset() == 0
        assert not after.has(HashKind.PDQ, gone)
        assert after.has(HashKind.PDQ, LISTED[HashKind.PDQ][78])
        assert len(after) == len(before) - 1
        assert after.digest == before.table.minus(after.removed).digest() != before.digest


async def test_damaged_files_are_read_anew(database: Database, tmp_path: Path, reading: Reading) -> None:
    await put(database, LISTED, b"1" * 32)
    (first,) = await open_shelf(tmp_path).load(database, now=START)
    reading.reset()
    (rows,) = (tmp_path / "lists").glob("base3-*/pdq.rows")
    data = bytearray(rows.read_bytes())
    data[32 * 500] ^= 1
    rows.write_bytes(data)
    (second,) = await open_shelf(tmp_path).load(database, now=START)
    assert reading.reset() == await count_blocks(database)
    assert second.digest == first.digest
    assert contents(second) == {kind: set(each) for kind, each in LISTED.items()}


async def test_a_disk_that_takes_no_files_costs_no_match(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lists").write_bytes(b"")
    await put(database, LISTED, b"1" * 32)
    (found,) = await open_shelf(tmp_path).load(database, now=START)
    assert contents(found) == {kind: set(rows) for kind, rows in LISTED.items()}
    assert found.index is not None
    assert [record.getMessage() for record in caplog.records if record.name == list_shelf.__name__] == [
        "hash_list_not_cached error=FileExistsError"
    ]


async def test_a_list_with_many_changes_gets_a_new_base_and_the_same_state(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_shelf, "MAX_CHANGES", 5)
    shelf = open_shelf(tmp_path)
    await put(database, LISTED, b"1" * 32)
    await shelf.load(database, now=START)
    assert not await shelf.compact()
    changed = {**LISTED, HashKind.PDQ: LISTED[HashKind.PDQ][10:]}
    await put(database, changed, b"2" * 32)
    (before,) = await shelf.load(database, now=START)
    assert len(before.removed) == 10
    assert await shelf.compact()
    (after,) = await shelf.load(database, now=START)
    assert len(after.removed) == 0
    assert after.state == before.state
    assert contents(after) == contents(before)
    assert not await shelf.compact()
    assert len(list((tmp_path / "lists").glob("base3-*"))) == 1


async def test_small_lists_leave_no_files_and_keep_their_purpose(database: Database, tmp_path: Path) -> None:
    allowed = {HashKind.SHA256: rows_of(4, 3, HashKind.SHA256)}
    await put(database, allowed, b"1" * 32, purpose="allow")
    (found,) = await open_shelf(tmp_path).load(database, now=START)
    assert contents(found) == {HashKind.SHA256: set(allowed[HashKind.SHA256])}
    assert found.purpose is Purpose.ALLOW
    assert not (tmp_path / "lists").exists()
