"""The index finds everything within the distance, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scanner.hashlist import HashEntry, HashKind, HashTable
from scanner.index import SLOT_BITS, SLOTS, DigestIndex, PdqIndex
from scanner.indexfile import find_saved, open_pdq_index, prune, save

CROWD = 5_000


def chance(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def random_hashes(seed: int, rows: int = CROWD) -> NDArray[np.uint8]:
    return chance(seed).integers(0, 256, (rows, 32), dtype=np.uint8)


def flip(bits: bytes, positions: list[int]) -> bytes:
    value = int.from_bytes(bits, "big")
    for position in positions:
        value ^= 1 << (255 - position)
    return value.to_bytes(32, "big")


def evenly(distance: int, seed: int) -> list[int]:
    """Choose `distance` bits, spread over the slots as evenly as possible: the hardest to find."""
    dice = chance(seed)
    slots = dice.permutation(SLOTS)
    offsets = [dice.permutation(SLOT_BITS) for _ in range(SLOTS)]
    return [
        int(slots[i % SLOTS]) * SLOT_BITS + int(offsets[slots[i % SLOTS]][i // SLOTS])
        for i in range(distance)
    ]


def brute_force(hashes: NDArray[np.uint8], query: bytes, distance: int) -> list[tuple[int, int]]:
    distances = np.bitwise_count(hashes ^ np.frombuffer(query, dtype=np.uint8)).sum(axis=1, dtype=int)
    return sorted(
        ((row, int(found)) for row, found in enumerate(distances) if found <= distance),
        key=lambda pair: (pair[1], pair[0]),
    )


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


def test_a_saved_index_is_mapped_and_answers_alike(tmp_path: Path) -> None:
    hashes = random_hashes(6, 400)
    built = open_pdq_index(hashes, digest=b"one", cache_dir=tmp_path)
    mapped = find_saved(tmp_path / f"pdq2-{b'one'.hex()}", hashes)
    assert isinstance(mapped, PdqIndex)
    assert isinstance(mapped.order, np.memmap)
    for row in range(0, 400, 13):
        query = flip(hashes[row].tobytes(), evenly(31, row))
        assert mapped.query(query, 31) == built.query(query, 31) == brute_force(hashes, query, 31)
    assert [path.name for path in tmp_path.iterdir()] == [f"pdq2-{b'one'.hex()}"]


@pytest.mark.parametrize(
    "damage", ["missing", "truncated", "another list", "another order", "other neighbours", "not an array"]
)
def test_a_damaged_cache_is_built_anew(tmp_path: Path, damage: str) -> None:
    hashes = random_hashes(7, 100)
    place = tmp_path / f"pdq2-{b'one'.hex()}"
    save(PdqIndex.build(random_hashes(8, 100) if damage == "another list" else hashes), place)
    order = place / "order.npy"
    if damage == "missing":
        order.unlink()
    elif damage == "truncated":
        order.write_bytes(order.read_bytes()[:-100])
    elif damage == "another order":
        np.save(order, np.zeros(1600, dtype=np.uint32))
    elif damage == "other neighbours":
        np.save(place / "following.npy", np.zeros(1600, dtype=np.uint16))
    elif damage == "not an array":
        order.write_bytes(b"garbage")
    assert find_saved(place, hashes) is None
    index = open_pdq_index(hashes, digest=b"one", cache_dir=tmp_path)
    assert index.query(hashes[42].tobytes(), 31) == [(42, 0)]
    assert find_saved(place, hashes) is not None


def test_a_cache_that_cannot_be_written_costs_no_match(tmp_path: Path) -> None:
    hashes = random_hashes(11, 30)
    (tmp_path / "file").write_bytes(b"")
    index = open_pdq_index(hashes, digest=b"one", cache_dir=tmp_path / "file")
    assert index.query(hashes[3].tobytes(), 31) == [(3, 0)]


def test_pruning_keeps_the_lists_in_use(tmp_path: Path) -> None:
    hashes = random_hashes(12, 30)
    used = open_pdq_index(hashes, digest=b"one", cache_dir=tmp_path)
    old = open_pdq_index(hashes[:9], digest=b"two", cache_dir=tmp_path)
    assert prune(tmp_path, [b"one"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == [f"pdq2-{b'one'.hex()}"]
    assert used.query(hashes[3].tobytes(), 31) == [(3, 0)]
    # Pages that are mapped stay readable.
    assert old.query(hashes[3].tobytes(), 31) == [(3, 0)]


@pytest.mark.parametrize("kind", [HashKind.SHA256, HashKind.SHA1, HashKind.MD5])
def test_a_digest_is_found_exactly_where_it_is_listed(kind: HashKind) -> None:
    values = random_hashes(9, 2_000)[:, : kind.width]
    # The same first eight bytes: the comparison must look at the rest.
    values[1_000:1_020, :8] = 7
    table = HashTable.from_rows({kind: np.ascontiguousarray(values)})
    rows = table.get_rows(kind)
    index = DigestIndex.build(rows)
    for row in range(len(rows)):
        value = rows[row].tobytes()
        assert index.find(value) == row
        assert index.find(value[:-1] + bytes([value[-1] ^ 1])) is None
        assert index.find(value[:-1]) is None
    assert index.find(b"\x00" * kind.width) is None
    assert index.find(b"\xff" * kind.width) is None


def test_unsorted_digests_are_refused_rather_than_missed() -> None:
    with pytest.raises(ValueError, match="sorted"):
        DigestIndex.build(random_hashes(10, 50))
    empty = HashTable.from_entries([HashEntry(kind=HashKind.MD5, value=bytes(16))]).get_rows(HashKind.SHA1)
    assert DigestIndex.build(empty).find(bytes(20)) is None
