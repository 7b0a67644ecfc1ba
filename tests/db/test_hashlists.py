"""Hash lists in packed blocks."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from db import hashlists
from db.hashlists import KIND_WIDTHS, NewHashList
from tests.db.builders import NOW, sha256

if TYPE_CHECKING:
    from db.pool import Database

NEW = NewHashList(
    name="drawn",
    version="1",
    category="spam",
    distance=31,
    min_quality=50,
    is_dihedral=True,
    digest=sha256("contents"),
    label="canary",
    is_advisory=True,
)


def make_values(count: int, kind: str = "pdq", seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    return sorted({chance.randbytes(KIND_WIDTHS[kind]) for _ in range(count)})


async def test_a_list_comes_back_as_it_was_imported(database: Database) -> None:
    values = {kind: b"".join(make_values(5, kind)) for kind in KIND_WIDTHS}
    async with database.connection() as conn:
        list_id = await hashlists.import_list(conn, NEW, values, now=NOW)
        stored = await hashlists.find_list(conn, NEW.name)
        assert stored is not None
        assert (stored.id, stored.entries, stored.imported_at, stored.withdrawn_at) == (
            list_id,
            5 * len(KIND_WIDTHS),
            NOW,
            None,
        )
        for name in NEW.__dataclass_fields__:
            assert getattr(stored, name) == getattr(NEW, name)
        assert await hashlists.load_entries(conn, list_id) == values
        assert await hashlists.find_list(conn, "other") is None


async def test_a_list_of_many_blocks_is_whole_and_every_label_is_found(database: Database) -> None:
    values = make_values(10_000)
    labels = {("pdq", value): f"id-{number}" for number, value in enumerate(values) if number % 2}
    async with database.connection() as conn:
        list_id = await hashlists.import_list(conn, NEW, {"pdq": b"".join(values)}, now=NOW, labels=labels)
        assert (await hashlists.load_entries(conn, list_id))["pdq"] == b"".join(values)
        for number in (1, 4095, 4097, 8191, 9999):
            assert await hashlists.find_label(conn, list_id, "pdq", values[number]) == f"id-{number}"
        assert await hashlists.find_label(conn, list_id, "pdq", values[4096]) is None
        assert await hashlists.find_label(conn, list_id, "pdq", bytes(32)) is None
        assert await hashlists.find_label(conn, list_id, "md5", values[1]) is None


async def test_an_import_replaces_the_contents_and_keeps_the_id(database: Database) -> None:
    async with database.connection() as conn:
        first = await hashlists.import_list(conn, NEW, {"pdq": bytes(32)}, now=NOW)
        values = {"md5": b"".join(make_values(3, "md5"))}
        second = await hashlists.import_list(conn, replace(NEW, version="2"), values, now=NOW)
        assert first == second
        assert await hashlists.load_entries(conn, first) == values


@pytest.mark.parametrize(
    "values",
    [
        {"pdq": bytes(31)},
        {"sha512": bytes(64)},
        {"pdq": b"\1" * 32 + b"\0" * 32},
        {"pdq": b"\1" * 64},
    ],
    ids=["width", "kind", "unsorted", "repeated"],
)
async def test_a_bad_import_leaves_the_old_contents(database: Database, values: dict[str, bytes]) -> None:
    async with database.connection() as conn:
        list_id = await hashlists.import_list(conn, NEW, {"md5": bytes(16)}, now=NOW)
        with pytest.raises(ValueError, match="values"):
            await hashlists.import_list(conn, replace(NEW, version="2"), values, now=NOW)
        stored = await hashlists.find_list(conn, NEW.name)
        assert stored is not None
        assert stored.version == "1"
        assert await hashlists.load_entries(conn, list_id) == {"md5": bytes(16)}


async def test_a_withdrawn_entry_stays_withdrawn_through_the_next_import(database: Database) -> None:
    values = make_values(100)
    packed = {"pdq": b"".join(values)}
    async with database.connection() as conn:
        list_id = await hashlists.import_list(conn, NEW, packed, now=NOW)
        for place in (0, 50, 99):
            assert await hashlists.withdraw_entry(conn, NEW.name, kind="pdq", value=values[place], at=NOW)
        assert not await hashlists.withdraw_entry(conn, NEW.name, kind="pdq", value=values[0], at=NOW)
        assert not await hashlists.withdraw_entry(conn, "other", kind="pdq", value=values[0], at=NOW)
        await hashlists.withdraw_entry(conn, NEW.name, kind="md5", value=bytes(16), at=NOW)
        await hashlists.withdraw_entry(conn, NEW.name, kind="pdq", value=b"\xff" * 32, at=NOW)
        await hashlists.import_list(conn, NEW, packed, now=NOW)
        left = [value for place, value in enumerate(values) if place not in {0, 50, 99}]
        assert await hashlists.load_entries(conn, list_id) == {"pdq": b"".join(left)}


async def test_a_withdrawn_list_is_out_of_use_until_it_is_imported_again(database: Database) -> None:
    async with database.connection() as conn:
        await hashlists.import_list(conn, NEW, {}, now=NOW)
        assert await hashlists.withdraw_list(conn, NEW.name, at=NOW)
        assert not await hashlists.withdraw_list(conn, NEW.name, at=NOW)
        assert await hashlists.list_lists(conn) == ()
        assert [one.name for one in await hashlists.list_lists(conn, include_withdrawn=True)] == [NEW.name]
        await hashlists.import_list(conn, NEW, {}, now=NOW)
        assert [one.name for one in await hashlists.list_lists(conn)] == [NEW.name]
        assert await hashlists.delete_list(conn, NEW.name)
        assert not await hashlists.delete_list(conn, NEW.name)


async def test_every_change_of_a_list_is_heard(database: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(database.listen(hashlists.CHANNEL, heard.put_nowait))
        assert await heard.get() == ""
        async with database.connection() as conn:
            await hashlists.import_list(conn, NEW, {"md5": bytes(16)}, now=NOW)
            assert await heard.get() == NEW.name
            await hashlists.withdraw_entry(conn, NEW.name, kind="md5", value=bytes(16), at=NOW)
            assert await heard.get() == NEW.name
            await hashlists.withdraw_list(conn, NEW.name, at=NOW)
            assert await heard.get() == NEW.name
            await hashlists.delete_list(conn, NEW.name)
            assert await heard.get() == NEW.name
        task.cancel()
