"""A pict-rs is listed and read by its own API, and goes on within a part of its list."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from pydantic import SecretStr

from db import errands
from db.errands import ErrandKind
from relay.backends.abilities import Ability
from relay.backends.adapters import open_pictrs
from relay.config.sections import Backend
from relay.stages.act import Acting
from relay.sweep.begin import Order
from relay.sweep.counting import Kind
from relay.sweep.examine import Manner
from relay.sweep.pictrs import PictrsSource
from relay.sweep.run import run_sweep
from relay.sweep.source import (
    FileUnreadableError,
    FileVanishedError,
    SourceError,
    StoredFile,
    Trouble,
)
from scanner.canary import draw_canary
from scanner.labels import Category
from tests.fediverse.servers.base import TOKEN
from tests.fediverse.servers.pictrs import PictrsServer
from tests.relay.sweep.parts import BROKEN, Watching, fresh_canary, list_all, picture, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.backends.pictrs import PictrsApi
    from relay.sweep.examine import SweepTools

MAX_BYTES = 100_000


@pytest.fixture
async def server() -> AsyncIterator[PictrsServer]:
    async with PictrsServer.open() as opened:
        opened.max_page = 4
        yield opened


@pytest.fixture
async def api(server: PictrsServer) -> AsyncIterator[PictrsApi]:
    async with open_pictrs(Backend(pictrs_url=server.url, pictrs_key=SecretStr(TOKEN))) as opened:
        assert opened is not None
        yield opened


@pytest.fixture
def source(api: PictrsApi, server: PictrsServer) -> PictrsSource:
    return PictrsSource(api, url=server.url, max_bytes=MAX_BYTES)


def fill(server: PictrsServer, count: int) -> list[str]:
    """Fill it; return the names, newest first."""
    server.files = {f"{number:02}.png": b"%d" % number for number in range(count)}
    return list(reversed(server.files))


async def test_all_files_are_listed_newest_first_and_read(source: PictrsSource, server: PictrsServer) -> None:
    names = fill(server, 230)
    await source.check()
    entries = await list_all(source)
    assert [entry.name for entry in entries] == names
    assert [await read(source, entry) for entry in entries] == [server.files[name] for name in names]
    assert [entry.alias for entry in entries if isinstance(entry, StoredFile)] == names
    assert await source.count() is None


async def test_behind_any_place_comes_exactly_the_rest(source: PictrsSource, server: PictrsServer) -> None:
    fill(server, 10)
    entries = await list_all(source)
    for number, entry in enumerate(entries, start=1):
        assert await list_all(source, entry.cursor) == entries[number:]


async def test_where_the_last_file_was_deleted_its_part_is_gone_through_again(
    source: PictrsSource, server: PictrsServer
) -> None:
    names = fill(server, 10)
    place = (await list_all(source))[5].cursor
    del server.files[names[5]]
    assert [entry.name for entry in await list_all(source, place)] == [names[4], *names[6:]]


async def test_a_list_that_names_itself_as_its_next_part_ends(
    source: PictrsSource, server: PictrsServer
) -> None:
    page = {"hashes": [{"hex": "00", "aliases": ["a.png"]}], "next": "again"}
    for _ in range(3):
        server.break_next(web.json_response({"msg": "ok", "page": page}))
    assert len(await list_all(source)) == 2


async def test_what_cannot_be_read_is_told_apart(source: PictrsSource, server: PictrsServer) -> None:
    server.files = {"huge.png": bytes(MAX_BYTES + 1), "gone.png": b"x"}
    gone, huge = await list_all(source)
    del server.files["gone.png"]
    with pytest.raises(FileVanishedError):
        await read(source, gone)
    with pytest.raises(FileUnreadableError) as caught:
        await read(source, huge)
    assert caught.value.trouble is Trouble.REFUSED


async def test_a_wrong_key_and_a_lost_server_are_explained(
    source: PictrsSource, server: PictrsServer
) -> None:
    server.token = "another"
    for work in (source.check(), list_all(source)):
        with pytest.raises(SourceError, match=r"does not accept backend.pictrs_key.*Check that it runs"):
            await work
    async with open_pictrs(Backend(pictrs_url="http://127.0.0.1:1", pictrs_key=SecretStr("key"))) as nobody:
        assert nobody is not None
        with pytest.raises(SourceError, match="pict-rs cannot be swept"):
            await PictrsSource(nobody, url="http://127.0.0.1:1", max_bytes=1).check()


async def test_only_what_is_known_exactly_is_ordered_to_be_purged(
    source: PictrsSource, server: PictrsServer, tools: SweepTools
) -> None:
    server.files = {
        "canary.png": draw_canary(),
        "near.png": fresh_canary(),
        "broken.png": BROKEN,
        "picture.png": picture(),
    }
    acting = Acting(
        actions={Category.SPAM: ErrandKind.REMOVE}, abilities=frozenset({Ability.PURGE_MEDIA}), own_host=""
    )
    source._max_bytes = tools.max_media_bytes
    summary = await run_sweep(
        source,
        Order(manner=Manner(is_dry_run=False), holder="one", width=2, skips_dry_run=True),
        tools=replace(tools, acting=acting),
        watcher=Watching(),
        stop=asyncio.Event(),
    )
    assert summary.counters.kinds == {Kind.MATCH: 2, Kind.UNSCANNABLE: 1, Kind.NO_MATCH: 1}
    assert (summary.counters.errands, summary.counters.by_hand) == (1, 0)
    async with tools.database.connection() as conn:
        (errand,) = await errands.list_errands(conn, limit=10)
    assert (errand.kind, errand.payload["alias"]) == (ErrandKind.PURGE_MEDIA, "canary.png")
    # The sweep itself asks for nothing but reading.
    assert {request.method for request in server.asked} == {"GET"}
    assert len(server.files) == 4
