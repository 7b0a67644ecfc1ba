"""Lemmy and PieFed: both APIs, posts and comments, and what only an admin may do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from relay.backends.abilities import (
    Ability,
    ApiFailure,
    Done,
    ObjectKind,
    Refusal,
    Resolved,
    Target,
    TokenCheck,
)
from relay.config.sections import Software
from tests.fediverse.servers import LemmyServer, PictrsServer, PiefedServer
from tests.relay.backends.apis import COMMENT, HERE, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.backends.abilities import BackendApi

versions = pytest.mark.parametrize("version", ["v3", "v4"])


@asynccontextmanager
async def _open(version: str = "v3", **options: Any) -> AsyncIterator[tuple[LemmyServer, BackendApi]]:
    async with LemmyServer.open(version=version, **options) as server:
        server.has(HERE, COMMENT)
        async with connect(server, Software.LEMMY) as api:
            yield server, api


@versions
async def test_the_api_is_found_out_once(version: str) -> None:
    async with _open(version) as (server, api):
        for _ in range(3):
            assert isinstance(await api.resolve(HERE.uri), Resolved)
        assert server.paths().count("GET /api/v4/site") == 1
        assert server.paths().count(f"GET /api/{version}/resolve_object") == 3


async def test_a_new_server_that_falters_is_not_taken_for_an_old_one() -> None:
    async with _open("v4") as (server, api):
        server.break_next(web.Response(status=503))
        assert isinstance(await api.resolve(HERE.uri), ApiFailure)
        assert isinstance(await api.report(Target(object_id=HERE.uri), comment="See case 1."), Done)
        assert "GET /api/v3/site" not in server.paths()


async def test_an_old_server_whose_pages_answer_for_the_new_api_is_an_old_one() -> None:
    async with _open("v3") as (server, api):
        server.break_next(web.Response(text="<h1>Lemmy</h1>", content_type="text/html"))
        assert isinstance(await api.resolve(HERE.uri), Resolved)


async def test_a_server_that_is_no_lemmy_is_said_to_be_none() -> None:
    async with PiefedServer.open() as server, connect(server, Software.LEMMY) as api:
        assert isinstance(await api.resolve(HERE.uri), ApiFailure)


async def test_the_answers_of_the_betas_are_understood() -> None:
    async with _open("v4", has_results=True) as (_, api):
        found = await api.resolve(COMMENT.uri)
        assert isinstance(found, Resolved)
        assert (found.kind, found.local_id) == (ObjectKind.COMMENT, str(COMMENT.number))


@versions
async def test_a_comment_is_not_taken_for_the_post_above_it(version: str) -> None:
    async with _open(version) as (server, api):
        target = Target(object_id=COMMENT.uri)
        assert isinstance(await api.report(target, comment="See case 1."), Done)
        assert isinstance(await api.remove(target, reason="See case 1."), Done)
        assert isinstance(await api.purge(target, reason="See case 1."), Done)
        for filed in (*server.reports, *server.removed, *server.purged):
            assert (filed.post, filed.extra["kind"]) == (COMMENT.number, "comment")
        assert len([*server.reports, *server.removed, *server.purged]) == 3


@versions
async def test_a_post_is_reported_taken_down_and_deleted(version: str) -> None:
    async with _open(version) as (server, api):
        target = Target(object_id=HERE.uri)
        assert await api.report(target, comment="See case 1.") == Done(reference="301")
        assert await api.remove(target, reason="See case 1.") == Done()
        assert await api.purge(target, reason="See case 1.") == Done()

        assert [server.reports[0].post, server.removed[0].post, server.purged[0].post] == [HERE.number] * 3
        assert server.last(f"/api/{version}/post/remove").document["removed"] is True
        assert HERE.uri not in server.here


@versions
async def test_a_second_report_of_the_same_post_was_made_already(version: str) -> None:
    async with _open(version) as (server, api):
        target = Target(object_id=HERE.uri)
        for _ in range(2):
            assert isinstance(await api.report(target, comment="See case 1."), Done)
        assert len(server.reports) == 1


@versions
async def test_who_is_no_admin_may_report_and_nothing_else(version: str) -> None:
    async with _open(version, is_admin=False) as (server, api):
        check = await api.check_token()
        assert isinstance(check, TokenCheck)
        assert check.usable == {Ability.RESOLVE, Ability.REPORT}
        assert check.missing.keys() == {Ability.REMOVE, Ability.PURGE}

        for answer in (
            await api.remove(Target(object_id=HERE.uri), reason="See case 1."),
            await api.purge(Target(object_id=HERE.uri), reason="See case 1."),
        ):
            assert isinstance(answer, ApiFailure)
            assert answer.kind is Refusal.FORBIDDEN
        assert not server.removed
        assert not server.purged


@pytest.mark.parametrize("software", [Software.LEMMY, Software.PIEFED])
async def test_accounts_are_not_reported(software: Software) -> None:
    server_type = LemmyServer if software is Software.LEMMY else PiefedServer
    async with server_type.open() as server, connect(server, software) as api:
        server.has(HERE)
        for target in (Target(actor_id=HERE.author), Target(object_id=HERE.author)):
            answer = await api.report(target, comment="See case 1.")
            assert isinstance(answer, ApiFailure)
            assert answer.kind is Refusal.NOT_SUPPORTED
        assert not server.reports


async def test_single_files_are_deleted_in_the_pictrs_behind_it() -> None:
    async with PictrsServer.open() as pictrs, LemmyServer.open() as server:
        pictrs.files = {"a.png": b"1", "b.png": b"2"}
        key = SecretStr(pictrs.token)
        async with connect(server, Software.LEMMY, pictrs_url=pictrs.url, pictrs_key=key) as api:
            assert Ability.PURGE_MEDIA in api.abilities
            check = await api.check_token()
            assert isinstance(check, TokenCheck)
            assert Ability.PURGE_MEDIA in check.usable
            assert await api.purge_media("a.png") == Done()
        assert pictrs.files == {"b.png": b"2"}


async def test_a_wrong_key_of_the_pictrs_is_named() -> None:
    async with PictrsServer.open() as pictrs, LemmyServer.open() as server:
        key = SecretStr("another")
        async with connect(server, Software.LEMMY, pictrs_url=pictrs.url, pictrs_key=key) as api:
            check = await api.check_token()
            assert isinstance(check, TokenCheck)
            assert "backend.pictrs_key" in check.missing[Ability.PURGE_MEDIA]


async def test_piefed_keeps_reports_at_home() -> None:
    async with PiefedServer.open() as server, connect(server, Software.PIEFED) as api:
        server.has(HERE, COMMENT)
        for post, kind in ((HERE, "post"), (COMMENT, "comment")):
            assert isinstance(await api.report(Target(object_id=post.uri), comment="See case 1."), Done)
            assert server.reports[-1].extra == {"kind": kind, "report_remote": False}
            assert server.reports[-1].post == post.number


async def test_piefed_takes_posts_and_comments_down() -> None:
    async with PiefedServer.open() as server, connect(server, Software.PIEFED) as api:
        server.has(HERE, COMMENT)
        for post in (HERE, COMMENT):
            assert await api.remove(Target(object_id=post.uri), reason="See case 1.") == Done()
        assert [filed.post for filed in server.removed] == [HERE.number, COMMENT.number]


async def test_a_report_that_piefeds_moderators_do_not_want_is_done() -> None:
    async with PiefedServer.open() as server, connect(server, Software.PIEFED) as api:
        server.has(HERE)
        server.ignores_reports.add(HERE.number)
        assert await api.report(Target(object_id=HERE.uri), comment="See case 1.") == Done()


async def test_who_is_no_admin_of_a_piefed_may_not_take_down() -> None:
    async with PiefedServer.open(is_admin=False) as server, connect(server, Software.PIEFED) as api:
        server.has(HERE)
        check = await api.check_token()
        assert isinstance(check, TokenCheck)
        assert check.missing.keys() == {Ability.REMOVE}
        answer = await api.remove(Target(object_id=HERE.uri), reason="See case 1.")
        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.FORBIDDEN
