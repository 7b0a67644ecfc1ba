"""pict-rs: what is stored is listed and given out, and deleted once."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from pydantic import SecretStr

from relay.backends.abilities import ApiFailure, Done, Refusal
from relay.backends.adapters import open_pictrs
from relay.backends.api import Fetched
from relay.backends.pictrs import MediaPage, PictrsApi
from relay.config.sections import Backend
from tests.fediverse.servers import PictrsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def _open(*, key: str | None = None) -> AsyncIterator[tuple[PictrsServer, PictrsApi]]:
    async with PictrsServer.open() as server:
        server.files = {f"{number}.png": f"file {number}".encode() for number in range(250)}
        secret = SecretStr(server.token if key is None else key)
        async with open_pictrs(Backend(pictrs_url=server.url, pictrs_key=secret)) as api:
            assert api is not None
            yield server, api


@pytest.mark.parametrize("given", [{}, {"pictrs_url": "http://127.0.0.1:9"}, {"pictrs_key": SecretStr("k")}])
async def test_without_its_address_and_its_key_it_is_left_alone(given: dict[str, object]) -> None:
    async with open_pictrs(Backend(**given)) as api:
        assert api is None


async def test_a_key_that_works_is_found_out_to_work() -> None:
    async with _open() as (_, api):
        assert await api.check_key() is None


async def test_a_wrong_key_is_said_to_be_wrong() -> None:
    async with _open(key="another") as (_, api):
        failure = await api.check_key()
        assert failure is not None
        assert failure.kind is Refusal.UNAUTHORIZED
        assert "backend.pictrs_key" in failure.detail


async def test_all_that_is_stored_is_listed_newest_first() -> None:
    async with _open() as (server, api):
        listed, slug = [], ""
        for _ in range(3):
            page = await api.list_media(slug)
            assert isinstance(page, MediaPage)
            listed.extend(one.aliases[0] for one in page.media)
            slug = page.next_slug
        assert listed == [*reversed(server.files)]
        assert not slug


async def test_a_list_that_breaks_off_says_so() -> None:
    async with _open() as (server, api):
        server.break_next(web.Response(status=503))
        failure = await api.list_media()
        assert isinstance(failure, ApiFailure)
        assert failure.may_pass


@pytest.mark.parametrize("answer", ["null", "{}", '{"page": []}', '{"page": {"hashes": 7}}'])
async def test_a_list_of_another_shape_is_no_empty_list(answer: str) -> None:
    async with _open() as (server, api):
        server.break_next(web.Response(text=answer, content_type="application/json"))
        assert isinstance(await api.list_media(), ApiFailure)


async def test_names_that_would_lead_elsewhere_are_left_out() -> None:
    async with _open() as (server, api):
        aliases = ["..", ".", "", 7, None, "x" * 3_000, "a\x00.png", "ok.png"]
        page = {"hashes": [{"aliases": aliases}, 7, {"aliases": "word"}]}
        server.break_next(web.json_response({"page": page}))
        listed = await api.list_media()
        assert isinstance(listed, MediaPage)
        assert [one.aliases for one in listed.media] == [("ok.png",), ()]


async def test_a_file_is_given_out_as_it_is_stored() -> None:
    async with _open() as (_, api):
        assert await api.fetch_original("7.png", max_bytes=100) == Fetched(
            data=b"file 7", content_type="image/png"
        )


async def test_a_file_that_is_longer_than_the_bound_is_not_read() -> None:
    async with _open() as (_, api):
        answer = await api.fetch_original("7.png", max_bytes=5)
        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.REFUSED


@pytest.mark.parametrize("alias", ["none.png", "../../internal/hashes", "a/b.png", "..", ""])
async def test_a_file_that_is_not_there_is_not_found(alias: str) -> None:
    async with _open() as (server, api):
        answer = await api.fetch_original(alias, max_bytes=100)
        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.NOT_FOUND
        assert not any(path.startswith("GET /internal") for path in server.paths())


async def test_a_file_is_deleted_by_its_name() -> None:
    async with _open() as (server, api):
        assert await api.purge("1.png") == Done()
        assert "1.png" not in server.files
        assert len(server.files) == 249


async def test_what_was_deleted_before_is_done() -> None:
    async with _open() as (_, api):
        for _ in range(2):
            assert await api.purge("1.png") == Done()


async def test_a_proxy_in_front_that_does_not_know_the_path_deletes_nothing() -> None:
    async with _open() as (server, api):
        server.break_next(web.Response(status=404, text="<h1>nginx</h1>", content_type="text/html"))
        answer = await api.purge("1.png")
        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.NOT_FOUND


async def test_the_names_of_files_are_not_shown() -> None:
    async with _open() as (server, api):
        page = await api.list_media()
        assert isinstance(page, MediaPage)
        assert ".png" not in repr(page)
        assert server.token not in repr(api)
