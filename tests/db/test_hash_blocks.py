"""Changing some values of a list without writing all of it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from db import hashlists
from db.hash_blocks import BLOCK_VALUES, change_blocks
from tests.db.builders import NOW
from tests.db.test_hashlists import NEW, make_values

if TYPE_CHECKING:
    from db.pool import Connection, Database

ROWS = """
SELECT b.first_value, b.xmin::text AS written FROM hash_blocks AS b
WHERE b.list_id = $1 ORDER BY b.first_value
"""


async def rows_of(conn: Connection, list_id: int) -> dict[bytes, str]:
    return {row["first_value"]: row["written"] for row in await conn.fetch(ROWS, list_id)}


async def test_a_change_of_a_few_values_leaves_the_other_rows_alone(database: Database) -> None:
    values = make_values(20 * BLOCK_VALUES)
    fresh = make_values(3, seed=2)
    async with database.connection() as conn:
        list_id = await hashlists.import_list(conn, NEW, {"pdq": b"".join(values)}, now=NOW)
        before = await rows_of(conn, list_id)
        async with conn.transaction():
            changed = await change_blocks(
                conn, list_id, "pdq", added=dict.fromkeys(fresh), removed=[values[0], values[-1]]
            )
        after = await rows_of(conn, list_id)
        assert (changed.added, changed.removed) == (3, 2)
        left = sorted({*values[1:-1], *fresh})
        assert (await hashlists.load_entries(conn, list_id))["pdq"] == b"".join(left)
        rewritten = [first for first, written in after.items() if before.get(first) != written]
        assert len(before) == 20
        assert len(rewritten) <= 5


async def test_any_series_of_changes_comes_to_the_set_that_it_says(database: Database) -> None:
    chance = random.Random(7)
    pool = make_values(4_000, "sha1", seed=3)
    listed: set[bytes] = set()
    async with database.connection() as conn:
        list_id = await hashlists.import_list(conn, NEW, {}, now=NOW)
        for _ in range(12):
            added = set(chance.sample(pool, chance.randrange(2_500)))
            removed = set(chance.sample(pool, chance.randrange(2_500)))
            async with conn.transaction():
                changed = await change_blocks(
                    conn, list_id, "sha1", added=dict.fromkeys(added), removed=removed
                )
            wanted = (listed | added) - (removed - added)
            assert changed.added == len(wanted - listed)
            assert changed.removed == len(listed - wanted)
            listed = wanted
            packed = await hashlists.load_entries(conn, list_id)
            assert packed.get("sha1", b"") == b"".join(sorted(listed))


async def test_labels_stay_with_their_values_through_a_change(database: Database) -> None:
    values = make_values(3 * BLOCK_VALUES, "md5")
    labels = {("md5", value): f"id-{number}" for number, value in enumerate(values)}
    fresh = make_values(2, "md5", seed=5)
    async with database.connection() as conn:
        list_id = await hashlists.import_list(conn, NEW, {"md5": b"".join(values)}, now=NOW, labels=labels)
        async with conn.transaction():
            added = {fresh[0]: "new", fresh[1]: None}
            await change_blocks(conn, list_id, "md5", added=added, removed=values[10:20])
        for number in (0, 9, 20, len(values) - 1):
            assert await hashlists.find_label(conn, list_id, "md5", values[number]) == f"id-{number}"
        assert await hashlists.find_label(conn, list_id, "md5", values[10]) is None
        assert await hashlists.find_label(conn, list_id, "md5", fresh[0]) == "new"


async def test_a_change_that_was_made_before_changes_nothing(database: Database) -> None:
    values = make_values(100)
    async with database.connection() as conn:
        list_id = await hashlists.import_list(conn, NEW, {"pdq": b"".join(values)}, now=NOW)
        before = await rows_of(conn, list_id)
        async with conn.transaction():
            changed = await change_blocks(
                conn, list_id, "pdq", added=dict.fromkeys(values[:50]), removed=make_values(9, seed=4)
            )
        assert (changed.added, changed.removed) == (0, 0)
        assert await rows_of(conn, list_id) == before


async def test_a_value_of_another_width_is_refused(database: Database) -> None:
    async with database.connection() as conn:
        list_id = await hashlists.import_list(conn, NEW, {}, now=NOW)
        with pytest.raises(ValueError, match="width"):
            await change_blocks(conn, list_id, "pdq", added={bytes(16): None}, removed=())
