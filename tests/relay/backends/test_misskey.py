"""Misskey: permissions, reports about people, and notes deleted for good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.backends.abilities import Ability, ApiFailure, Done, Refusal, Resolved, Target, TokenCheck
from relay.config.sections import Software
from tests.fediverse.servers import MisskeyServer
from tests.relay.backends.apis import HERE, NOWHERE, connect

ALL = ("read:account", "write:report-abuse", "write:notes")


@pytest.mark.parametrize(
    ("without", "ability"), [("write:report-abuse", Ability.REPORT), ("write:notes", Ability.PURGE)]
)
async def test_a_missing_permission_is_named(without: str, ability: Ability) -> None:
    permissions = tuple(one for one in ALL if one != without)
    async with (
        MisskeyServer.open(permissions=permissions) as server,
        connect(server, Software.MISSKEY) as api,
    ):
        check = await api.check_token()
        assert isinstance(check, TokenCheck)
        assert check.missing == {ability: f"the token lacks the permission {without}"}


async def test_without_reading_nothing_is_found() -> None:
    async with (
        MisskeyServer.open(permissions=("write:report-abuse",)) as server,
        connect(server, Software.MISSKEY) as api,
    ):
        server.has(HERE)
        check = await api.check_token()
        assert isinstance(check, TokenCheck)
        assert check.usable == {Ability.REPORT}
        answer = await api.resolve(HERE.uri)
        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.FORBIDDEN


async def test_who_is_no_moderator_deletes_nothing() -> None:
    async with MisskeyServer.open(is_moderator=False) as server, connect(server, Software.MISSKEY) as api:
        server.has(HERE)
        check = await api.check_token()
        assert isinstance(check, TokenCheck)
        assert check.missing == {Ability.PURGE: "its account is no moderator"}
        answer = await api.purge(Target(object_id=HERE.uri), reason="See case 1.")
        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.FORBIDDEN
        assert not server.purged


async def test_a_report_names_the_author_and_the_note() -> None:
    async with MisskeyServer.open() as server, connect(server, Software.MISSKEY) as api:
        server.has(HERE)
        assert isinstance(await api.report(Target(object_id=HERE.uri), comment="See case 1."), Done)
        assert (server.reports[0].post, server.reports[0].account) == (HERE.number, HERE.author_number)


async def test_where_the_note_is_gone_its_author_is_reported() -> None:
    async with MisskeyServer.open() as server, connect(server, Software.MISSKEY) as api:
        server.has(HERE)
        target = Target(object_id=NOWHERE, actor_id=HERE.author)
        assert isinstance(await api.report(target, comment="See case 1."), Done)
        assert (server.reports[0].post, server.reports[0].account) == (None, HERE.author_number)


async def test_a_note_is_deleted() -> None:
    async with MisskeyServer.open() as server, connect(server, Software.MISSKEY) as api:
        server.has(HERE)
        assert await api.purge(Target(object_id=HERE.uri), reason="See case 1.") == Done()
        assert server.purged[0].post == HERE.number


async def test_accounts_are_not_deleted() -> None:
    async with MisskeyServer.open() as server, connect(server, Software.MISSKEY) as api:
        server.has(HERE)
        for target in (Target(actor_id=HERE.author), Target(object_id=HERE.author)):
            answer = await api.purge(target, reason="See case 1.")
            assert isinstance(answer, ApiFailure)
            assert answer.kind is Refusal.NOT_SUPPORTED
        assert not server.purged


async def test_an_origin_that_cannot_be_reached_may_come_back() -> None:
    async with MisskeyServer.open() as server, connect(server, Software.MISSKEY) as api:
        server.unreachable.add(NOWHERE)
        answer = await api.resolve(NOWHERE)
        assert isinstance(answer, ApiFailure)
        assert answer.may_pass


async def test_a_note_of_its_own_has_no_address_and_is_found() -> None:
    async with MisskeyServer.open() as server, connect(server, Software.MISSKEY) as api:
        own = replace(HERE, uri=f"https://{server.host}/notes/4711")
        server.has(own)
        assert isinstance(await api.resolve(own.uri), Resolved)


async def test_the_token_travels_in_the_body_only() -> None:
    async with MisskeyServer.open() as server, connect(server, Software.MISSKEY) as api:
        server.has(HERE)
        await api.resolve(HERE.uri)
        assert server.asked[0].document["i"] == server.token
        assert server.token not in str(server.asked[0].headers)
        assert not server.asked[0].query
