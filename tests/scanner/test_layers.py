"""A table with changes answers as the changed table would, whatever came and went."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.degenerate import is_degenerate
from scanner.hashtable import HashKind, HashTable
from scanner.index import PdqIndex, pack_hashes
from scanner.indexfile import Base
from scanner.layers import PdqLayers
from scanner.listcache import Contents
from tests.scanner.hashes import brute_force, chance, evenly, flip, random_hashes

PDQ = HashKind.PDQ


def table(rows: np.ndarray) -> HashTable:
    return HashTable.from_rows({PDQ: rows})


def layers_of(contents: Contents) -> PdqLayers:
    rows = contents.base.table.get_rows(PDQ)
    return PdqLayers.of(
        rows,
        removed=contents.removed.get_rows(PDQ),
        added=contents.added.get_rows(PDQ),
        index=PdqIndex.build(rows),
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), changes=st.lists(st.integers(0, 59), min_size=1, max_size=6))
def test_any_row_of_changes_leaves_what_a_plain_set_would_hold(seed: int, changes: list[int]) -> None:
    dice = chance(seed)
    query = dice.integers(0, 256, 32, dtype=np.uint8).tobytes()
    pool = [flip(query, evenly(int(dice.integers(0, 40)), number + seed)) for number in range(60)]
    listed = set(pool[::2])
    contents = Contents.of(Base.in_memory(table(pack_hashes(sorted(listed)))))
    for size in changes:
        new = {pool[number] for number in dice.integers(0, 60, size)}
        gone = {pool[number] for number in dice.integers(0, 60, size // 2)} - new
        listed = (listed | new) - gone
        contents = contents.change(
            added=table(pack_hashes(sorted(new))), removed=table(pack_hashes(sorted(gone)))
        )
        expected = table(pack_hashes(sorted(listed)))
        assert len(contents) == len(listed)
        assert contents.digest == expected.digest()
        merged = b"".join(rows.tobytes() for _, rows in contents.pieces())
        assert merged == expected.get_rows(PDQ).tobytes()
        for limit in (0, 20, 31):
            near = layers_of(contents).search(pack_hashes([query]), limit)
            found = sorted(zip(near.distances.tolist(), (row.tobytes() for row in near.values), strict=True))
            rows = expected.get_rows(PDQ)
            wanted = [(far, rows[row].tobytes()) for row, far in brute_force(rows, query, limit)]
            assert found == sorted(wanted)


def test_what_was_removed_never_matches_and_what_was_added_always_does() -> None:
    hashes = table(random_hashes(1, 6_000)).get_rows(PDQ)
    gone, stays = hashes[100:200], hashes[200:300]
    new = random_hashes(2, 100)
    layers = PdqLayers.of(hashes, removed=gone, added=new)
    assert len(layers) == 6_000
    for rows, is_found in ((gone, False), (stays, True), (new, True)):
        queries = pack_hashes([flip(row.tobytes(), evenly(31, place)) for place, row in enumerate(rows)])
        near = layers.search(queries, 31)
        assert near.queries.tolist() == (list(range(100)) if is_found else [])
        assert near.distances.tolist() == ([31] * 100 if is_found else [])


def test_flat_striped_and_alternating_hashes_are_told_from_those_of_pictures() -> None:
    column = bytes.fromhex("f00f") * 16
    placeholders = [
        bytes(32),
        b"\xff" * 32,
        b"\xaa" * 32,
        b"\x55\xaa" * 16,
        b"\xff\xff\x00\x00" * 8,
        b"\xaa\xaa\x55\x55" * 8,
        column,
        bytes([1]) + bytes(31),
    ]
    assert [is_degenerate(one) for one in placeholders] == [True] * len(placeholders)
    assert not any(is_degenerate(row.tobytes()) for row in random_hashes(3, 2_000))
