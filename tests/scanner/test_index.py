"""The index finds everything within the distance, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.digestindex import find_row
from scanner.hashlist import HashKind, HashTable
from scanner.index import SLOT_BITS, SLOTS, PdqIndex, pack_hashes
from tests.scanner.hashes import brute_force, chance, evenly, flip, random_hashes

CROWD = 5_000


@pytest.mark.parametrize("limit", [0, 7, 15, 16, 20, 31, 32, 40, 47, 48, 55, 62, 63, 90])
def test_neighbours_spread_evenly_over_the_slots_are_all_found(limit: int) -> None:
    query = random_hashes(0, 1)[0].tobytes()
    plants = [flip(query, evenly(distance, seed)) for distance in range(limit + 2) for seed in range(3)]
    hashes = np.concatenate([random_hashes(1), np.frombuffer(b"".join(plants), np.uint8).reshape(-1, 32)])
    found = dict(PdqIndex.build(hashes).query(query, limit))
    for row, plant in enumerate(plants, start=CROWD):
        distance = row - CROWD
        assert found.get(row) == (distance // 3 if distance // 3 <= limit else None), plant


def test_thirty_one_bits_in_every_slot_but_one_twice_is_found_and_thirty_two_is_not() -> None:
    query = bytes(32)
    # Two bits in each of fifteen slots hide the plant from all of them; the sixteenth holds the last bit.
    tight = flip(query, [slot * SLOT_BITS + bit for slot in range(15) for bit in (0, 9)] + [15 * SLOT_BITS])
    thirty = flip(query, [slot * SLOT_BITS + bit for slot in range(15) for bit in (3, 7)])
    beyond = flip(query, [slot * SLOT_BITS + bit for slot in range(16) for bit in (0, 9)])
    hashes = np.frombuffer(tight + thirty + beyond, dtype=np.uint8).reshape(-1, 32)
    assert PdqIndex.build(hashes).query(query, 31) == [(1, 30), (0, 31)]


@pytest.mark.parametrize("limit", [20, 31, 40, 55, 62])
def test_neighbours_are_found_however_their_bits_lie(limit: int) -> None:
    query = random_hashes(13, 1)[0].tobytes()
    dice = chance(14)
    plants = []
    for number in range(600):
        # From all bits in a few slots to the same number in each.
        weights = dice.gamma(0.05 + number / 60, size=SLOTS) + 1e-9
        order = np.argsort(dice.exponential(size=256) / np.repeat(weights, SLOT_BITS))
        plants.append(flip(query, order[:limit].tolist()))
    hashes = np.frombuffer(b"".join(plants), dtype=np.uint8).reshape(-1, 32)
    assert PdqIndex.build(hashes).query(query, limit) == [(row, limit) for row in range(len(plants))]
    assert PdqIndex.build(hashes).query(query, limit - 1) == []


@pytest.mark.parametrize("spread", ["first half", "last half", "one slot"])
def test_neighbours_whose_bits_are_bunched_are_found(spread: str) -> None:
    query = random_hashes(5, 1)[0].tobytes()
    pool = {"first half": range(128), "last half": range(128, 256), "one slot": range(64, 80)}[spread]
    plants = [
        flip(query, chance(count).choice(pool, count, replace=False).tolist())
        for count in range(min(31, len(pool)) + 1)
    ]
    hashes = np.frombuffer(b"".join(plants), dtype=np.uint8).reshape(-1, 32)
    assert PdqIndex.build(hashes).query(query, 31) == [(count, count) for count in range(len(plants))]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 300),
    distance=st.integers(0, 130),
    weight=st.integers(0, 60),
)
def test_the_answer_is_that_of_comparing_with_every_row(
    seed: int, rows: int, distance: int, weight: int
) -> None:
    dice = chance(seed)
    hashes = random_hashes(seed, rows)
    # Half of the rows are brought near the query, so that the distances around the limit really occur.
    query = dice.integers(0, 256, 32, dtype=np.uint8).tobytes()
    for row in range(0, rows, 2):
        near = flip(query, dice.choice(256, weight, replace=False).tolist())
        hashes[row] = np.frombuffer(near, dtype=np.uint8)
    assert PdqIndex.build(hashes).query(query, distance) == brute_force(hashes, query, distance)


def test_equal_rows_are_each_answered_once() -> None:
    hashes = np.repeat(random_hashes(2, 1), 4, axis=0)
    assert PdqIndex.build(hashes).query(hashes[0].tobytes(), 31) == [(row, 0) for row in range(4)]


def test_many_queries_give_each_row_its_smallest_distance() -> None:
    hashes = random_hashes(3, 50)
    index = PdqIndex.build(hashes)
    near, far = flip(hashes[7].tobytes(), [1, 2]), flip(hashes[7].tobytes(), [1, 2, 3, 40])
    assert index.query_many([far, near, far, bytes(32)], 31) == [(7, 2)]


def test_an_empty_index_answers_nothing() -> None:
    index = PdqIndex.build(np.empty((0, 32), dtype=np.uint8))
    assert len(index) == 0
    assert index.query(bytes(32), 31) == []


def test_wrong_shapes_and_distances_are_refused() -> None:
    for shape in ((3, 31), (32,), (2, 2, 32)):
        with pytest.raises(ValueError, match="uint8"):
            PdqIndex.build(np.zeros(shape, dtype=np.uint8))
    index = PdqIndex.build(random_hashes(4, 3))
    with pytest.raises(ValueError, match="32 bytes"):
        index.query(bytes(31), 31)
    for distance in (-1, 256):
        with pytest.raises(ValueError, match="255"):
            index.query(bytes(32), distance)


def test_a_batch_answers_each_query_as_if_it_came_alone() -> None:
    hashes = random_hashes(15, 20_000)
    index = PdqIndex.build(hashes)
    queries = [flip(hashes[row].tobytes(), evenly(row % 40, row)) for row in range(0, 20_000, 251)]
    for distance in (0, 20, 31, 45, 62, 70):
        hits = index.search(pack_hashes(queries), distance)
        found = zip(hits.queries.tolist(), hits.distances.tolist(), hits.rows.tolist(), strict=True)
        one_by_one = [
            (number, near, row)
            for number, query in enumerate(queries)
            for row, near in brute_force(hashes, query, distance)
        ]
        assert sorted(found) == sorted(one_by_one)


def test_a_list_whose_hashes_share_their_slots_is_searched_exactly_too() -> None:
    hashes = random_hashes(16, 9_000)
    # All fall into one bucket of fifteen slots, more than a batch would gather.
    hashes[:, :30] = hashes[0, :30]
    query = flip(hashes[5].tobytes(), evenly(31, 1))
    assert PdqIndex.build(hashes).query(query, 31) == brute_force(hashes, query, 31)


def test_the_opposite_of_a_listed_hash_is_as_far_away_as_can_be() -> None:
    hashes = random_hashes(17, 10)
    opposite = bytes(255 - byte for byte in hashes[3].tobytes())
    assert 3 not in dict(PdqIndex.build(hashes).query(opposite, 255))
    assert len(PdqIndex.build(hashes).query(opposite, 255)) == 9


@pytest.mark.parametrize("kind", [HashKind.SHA256, HashKind.SHA1, HashKind.MD5])
def test_a_digest_is_found_exactly_where_it_is_listed(kind: HashKind) -> None:
    values = random_hashes(9, 2_000)[:, : kind.width]
    # The same first eight bytes: the comparison must look at the rest.
    values[1_000:1_020, :8] = 7
    rows = HashTable.from_rows({kind: np.ascontiguousarray(values)}).get_rows(kind)
    for row in range(len(rows)):
        value = rows[row].tobytes()
        assert find_row(rows, value) == row
        assert find_row(rows, value[:-1] + bytes([value[-1] ^ 1])) is None
        assert find_row(rows, value[:-1]) is None
    assert find_row(rows, b"\x00" * kind.width) is None
    assert find_row(rows, b"\xff" * kind.width) is None
    assert find_row(rows[:0], b"\xff" * kind.width) is None
