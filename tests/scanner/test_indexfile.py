"""Files that hold lists are shared and verified; one that is not as it was written is never used."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from scanner import indexfile
from scanner.hashtable import HashKind, HashTable
from scanner.indexfile import MIN_INDEXED_ROWS, Base, BaseWriter, find_base, prune_bases, write_base
from scanner.listcache import Contents, ListCache
from tests.scanner.hashes import brute_force, evenly, flip, random_hashes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = MIN_INDEXED_ROWS + 100
TABLE = HashTable.from_rows(
    {
        HashKind.PDQ: random_hashes(1, ROWS),
        HashKind.SHA256: random_hashes(2, 500),
        HashKind.MD5: np.ascontiguousarray(random_hashes(3, 300)[:, :16]),
    }
)


def keep(root: Path, table: HashTable = TABLE) -> Base:
    return write_base(root, Contents.of(Base.in_memory(table)).pieces())


def directory(root: Path) -> Path:
    return root / f"base3-{TABLE.digest().hex()}"


def test_a_base_is_mapped_and_answers_like_one_in_memory(tmp_path: Path) -> None:
    kept = keep(tmp_path)
    found = find_base(tmp_path, TABLE.digest())
    assert found is not None
    assert found.index is not None
    assert kept.digest == found.digest == found.table.digest() == TABLE.digest()
    assert isinstance(found.index.following.base, np.memmap)
    rows = TABLE.get_rows(HashKind.PDQ)
    for row in range(0, ROWS, 311):
        query = flip(rows[row].tobytes(), evenly(31, row))
        assert found.index.query(query, 31) == brute_force(rows, query, 31)
    assert found.table.has(HashKind.MD5, TABLE.get_rows(HashKind.MD5)[7].tobytes())
    assert [path.name for path in tmp_path.iterdir()] == [directory(tmp_path).name]


def test_all_that_is_written_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "lists"
    keep(root)
    modes = {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (root, directory(root))} == {0o700}


def _overwrite(name: str) -> Callable[[Path], object]:
    def damage(place: Path) -> None:
        data = bytearray((place / name).read_bytes())
        data[len(data) // 2] ^= 1
        (place / name).write_bytes(data)

    return damage


def _swap(place: Path) -> None:
    (place / "low").rename(place / "x")
    (place / "following").rename(place / "low")
    (place / "x").rename(place / "following")


def _link(place: Path) -> None:
    (place / "low").rename(place.parent / "elsewhere")
    (place / "low").symlink_to(place.parent / "elsewhere")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one bit of a hash": _overwrite("pdq.rows"),
    "one bit of a digest": _overwrite("sha256.rows"),
    "one bit of a row number": _overwrite("low"),
    "one bit of a neighbour": _overwrite("following"),
    "one bit of a bucket": _overwrite("starts"),
    "one bit of the manifest": _overwrite("manifest"),
    "a file cut short": lambda place: os.truncate(place / "low", 1_000),
    "a file grown": lambda place: os.truncate(place / "high", 1_000_000),
    "a file gone": lambda place: (place / "high").unlink(),
    "a kind of hash gone": lambda place: (place / "md5.rows").unlink(),
    "a file more": lambda place: (place / "sha1.rows").write_bytes(bytes(20)),
    "no manifest": lambda place: (place / "manifest").unlink(),
    "a manifest of nothing": lambda place: (place / "manifest").write_bytes(b""),
    "two files exchanged": _swap,
    "a link": _link,
    "a file that others may write": lambda place: (place / "low").chmod(0o620),
    "a file that others may read": lambda place: (place / "pdq.rows").chmod(0o604),
    "a directory that others may write": lambda place: place.chmod(0o770),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_base_is_not_used_and_is_replaced(tmp_path: Path, damage: str) -> None:
    keep(tmp_path)
    DAMAGES[damage](directory(tmp_path))
    assert find_base(tmp_path, TABLE.digest()) is None
    keep(tmp_path)
    assert find_base(tmp_path, TABLE.digest()) is not None


def test_a_base_under_the_name_of_another_is_not_used(tmp_path: Path) -> None:
    other = keep(tmp_path, HashTable.from_rows({HashKind.SHA256: random_hashes(4, 10)}))
    (tmp_path / f"base3-{other.digest.hex()}").rename(directory(tmp_path))
    assert find_base(tmp_path, TABLE.digest()) is None


def test_a_mapped_base_outlives_its_files(tmp_path: Path) -> None:
    kept = keep(tmp_path)
    assert prune_bases(tmp_path, []) == 1
    assert list(tmp_path.iterdir()) == []
    rows = TABLE.get_rows(HashKind.PDQ)
    assert kept.index is not None
    assert kept.index.query(rows[9].tobytes(), 31) == [(9, 0)]


def test_pruning_keeps_what_is_used_and_what_others_are_writing(tmp_path: Path) -> None:
    kept = keep(tmp_path)
    keep(tmp_path, HashTable.from_rows({HashKind.MD5: TABLE.get_rows(HashKind.MD5)}))
    gone = multiprocessing.get_context("fork").Process(target=int)
    gone.start()
    gone.join()
    (tmp_path / f".new-{gone.pid}-abandoned").mkdir()
    with BaseWriter(tmp_path) as writer:
        assert prune_bases(tmp_path, [kept.digest]) == 1
        names = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
        assert names == {"base3", ".new"}
        assert len(list(tmp_path.iterdir())) == 2
        writer.write(HashKind.MD5, TABLE.get_rows(HashKind.MD5))
        assert len(writer.finish().table) == 300


@pytest.mark.parametrize("wrong", ["unsorted", "repeated", "repeated in the next piece"])
def test_hashes_out_of_order_are_refused_rather_than_missed(tmp_path: Path, wrong: str) -> None:
    rows = TABLE.get_rows(HashKind.SHA256)[:10]
    pieces = {
        "unsorted": [rows[::-1]],
        "repeated": [rows[[0, 1, 1]]],
        "repeated in the next piece": [rows[:3], rows[2:]],
    }[wrong]
    with pytest.raises(ValueError, match="sorted"):
        write_base(tmp_path, [(HashKind.SHA256, piece) for piece in pieces])
    assert list(tmp_path.iterdir()) == []


def test_hashes_that_end_in_zeros_keep_their_order(tmp_path: Path) -> None:
    rows = np.zeros((3, 16), dtype=np.uint8)
    rows[1, 15], rows[2, 14] = 1, 1
    rows[:, 0] = 5
    table = HashTable.from_rows({HashKind.MD5: rows})
    assert keep(tmp_path, table).table.get_rows(HashKind.MD5).tobytes() == rows.tobytes()


def test_a_version_with_its_changes_comes_back_from_the_cache(tmp_path: Path) -> None:
    cache = ListCache(tmp_path)
    contents = Contents.of(keep(tmp_path)).change(
        added=HashTable.from_rows({HashKind.PDQ: random_hashes(5, 20)}),
        removed=HashTable.from_rows({HashKind.PDQ: TABLE.get_rows(HashKind.PDQ)[5:9]}),
    )
    cache.keep("7", b"v1", contents)
    found = cache.find("7", b"v1")
    assert found is not None
    assert (found.digest, found.changes, len(found)) == (contents.digest, 24, len(TABLE) + 16)
    assert cache.find("7", b"v2") is None
    assert cache.find("8", b"v1") is None
    older = cache.find_older("7")
    assert older is not None
    assert older.digest == contents.digest
    assert cache.find_older("8") is None
    path = tmp_path / f"list3-7-{b'v1'.hex()}"
    path.write_bytes(path.read_bytes().replace(b'"added"', b'"addle"'))
    assert cache.find("7", b"v1") is None


def test_a_new_base_holds_what_the_old_one_held_with_its_changes(tmp_path: Path) -> None:
    cache = ListCache(tmp_path)
    contents = Contents.of(keep(tmp_path)).change(
        added=HashTable.from_rows(
            {HashKind.PDQ: random_hashes(6, 50), HashKind.SHA1: np.ones((1, 20), np.uint8)}
        ),
        removed=HashTable.from_rows({HashKind.SHA256: TABLE.get_rows(HashKind.SHA256)[::2]}),
    )
    rebased = cache.rebase(contents)
    assert rebased.changes == 0
    assert rebased.digest == rebased.base.table.digest() == contents.digest
    cache.keep("1", b"new", rebased)
    assert cache.prune([("1", b"new")], [rebased.base]) == 1
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["base3", "list3"]
    assert cache.find("1", b"new") is not None


def test_a_base_that_another_process_removes_while_it_is_opened_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path)
    describe = indexfile._describe

    def describe_and_lose(path: Path) -> dict[str, object]:
        seen = describe(path)
        if path.name == "md5.rows":
            path.unlink()
        return seen

    monkeypatch.setattr(indexfile, "_describe", describe_and_lose)
    assert find_base(tmp_path, TABLE.digest()) is None


def test_a_base_that_lost_hashes_while_it_was_written_is_not_kept(tmp_path: Path) -> None:
    with BaseWriter(tmp_path) as writer:
        for kind, rows in Contents.of(Base.in_memory(TABLE)).pieces():
            writer.write(kind, rows)
        next(tmp_path.glob("*/md5.rows")).write_bytes(bytes(16))
        with pytest.raises(OSError, match="no longer there"):
            writer.finish()
    assert not list(tmp_path.iterdir())
