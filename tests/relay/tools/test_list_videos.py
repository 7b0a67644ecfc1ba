"""Listed videos come, stay and go with their lists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from db import hashlists, list_videos
from db.errors import DatabaseError
from relay.tools.list_shelf import ListShelf
from scanner.hashlist import HashKind, HashTable
from scanner.listcache import ListCache
from tests.fediverse.clock import START
from tests.listed_videos import name_of, write_frames
from tests.relay.tools.test_list_shelf import NEW, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from db.pool import Database
    from scanner.listvideos import ListedVideo

CHANCE = np.random.default_rng(11)
VIDEOS = [name_of(write_frames([CHANCE.bytes(32) for _ in range(5)])) for _ in range(3)]


async def put(database: Database, *videos: ListedVideo, others: int = 0) -> int:
    """Import a list of videos, and of hashes beside them."""
    rows = rows_of(3, others)
    names = sorted(one.name for one in videos)
    values = {"vpdq": b"".join(names), "pdq": b"".join(rows)}
    table = HashTable.from_rows(
        {HashKind(kind): np.frombuffer(data, np.uint8).reshape(-1, 32) for kind, data in values.items()}
    )
    async with database.connection() as conn:
        return await hashlists.import_list(
            conn,
            replace(NEW, digest=table.digest()),
            values,
            now=START,
            labels={("vpdq", one.name): f"id-{number}" for number, one in enumerate(videos)},
            videos={one.name: one.frames for one in videos},
        )


async def kept(database: Database, list_id: int) -> int:
    async with database.connection() as conn:
        return await list_videos.count_frames(conn, list_id)


async def loaded(shelf: ListShelf, database: Database) -> dict[str, bytes]:
    (one,) = await shelf.load(database, now=START)
    assert HashKind.VPDQ not in {*one.table.rows, *one.added.rows}
    return {video.id: video.frames.tobytes() for video in one.videos}


def expected(*videos: ListedVideo) -> dict[str, bytes]:
    return {one.name.hex(): one.frames for one in videos}


@pytest.mark.parametrize("others", [0, 12_000])
async def test_videos_come_and_go_with_the_versions_of_their_list(
    database: Database, tmp_path: Path, others: int
) -> None:
    shelf = ListShelf(ListCache(tmp_path / "lists"), min_kept_entries=10_000)
    list_id = await put(database, *VIDEOS[:2], others=others)
    assert await loaded(shelf, database) == expected(*VIDEOS[:2])
    (before,) = await shelf.load(database, now=START)
    assert len(before) == others + 2
    await put(database, *VIDEOS[1:], others=others)
    assert await loaded(shelf, database) == expected(*VIDEOS[1:])
    (after,) = await shelf.load(database, now=START)
    assert before.effective_digest != after.effective_digest
    # What is no longer listed leaves nothing behind.
    assert await kept(database, list_id) == 10
    again = ListShelf(ListCache(tmp_path / "lists"), min_kept_entries=10_000)
    assert await loaded(again, database) == expected(*VIDEOS[1:])


async def test_one_video_is_withdrawn_for_good(database: Database) -> None:
    shelf = ListShelf()
    await put(database, *VIDEOS)
    assert len(await loaded(shelf, database)) == 3
    async with database.connection() as conn:
        assert await hashlists.find_labelled(conn, NEW.name, "id-0") == [("vpdq", VIDEOS[0].name)]
        assert await hashlists.find_labelled(conn, NEW.name, "id-9") == []
        await hashlists.withdraw_entry(conn, NEW.name, kind="vpdq", value=VIDEOS[0].name, at=START)
    assert await loaded(shelf, database) == expected(*VIDEOS[1:])
    await put(database, *VIDEOS)
    assert await loaded(shelf, database) == expected(*VIDEOS[1:])


async def test_frames_that_are_known_are_not_read_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    real = list_videos.read_videos

    def read(conn: object, list_id: int, names: list[bytes]) -> object:
        asked.extend(names)
        return real(conn, list_id, names)  # type: ignore[arg-type]

    monkeypatch.setattr(list_videos, "read_videos", read)
    shelf = ListShelf()
    await put(database, *VIDEOS[:2])
    (first,) = await shelf.load(database, now=START)
    await put(database, *VIDEOS)
    (second,) = await shelf.load(database, now=START)
    assert sorted(asked) == sorted(one.name for one in VIDEOS)
    assert {id(one) for one in first.videos} < {id(one) for one in second.videos}


async def test_a_list_whose_frames_are_lost_is_not_loaded_in_part(database: Database) -> None:
    shelf = ListShelf()
    await put(database, *VIDEOS)
    async with database.connection() as conn:
        await conn.execute("DELETE FROM list_videos WHERE video = $1", VIDEOS[0].name)
    with pytest.raises(DatabaseError, match="listed video"):
        await shelf.load(database, now=START)
