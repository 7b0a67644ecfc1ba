"""What every adapter promises, whatever the server: values for answers, and nobody's secrets in them."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from pydantic import SecretStr

from relay.backends import api as api_module
from relay.backends.abilities import (
    Ability,
    AccountAction,
    ApiFailure,
    Done,
    ObjectKind,
    Refusal,
    Resolved,
    Target,
    TokenCheck,
    report_comment,
)
from relay.backends.adapters import ADAPTERS, open_adapter
from relay.config.sections import Backend, Software
from tests.fediverse.servers import MastodonServer
from tests.relay.backends.apis import ELSEWHERE, HERE, KINDS, NOWHERE, Kind, open_kind, settings_for

if TYPE_CHECKING:
    from relay.backends.base import Adapter

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)

TARGET = Target(object_id=HERE.uri, actor_id=HERE.author)
COMMENT = report_comment("17")


@every_kind
async def test_a_working_token_is_found_out_to_work(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        check = await api.check_token()

        assert isinstance(check, TokenCheck)
        assert check.account == "bot"
        assert check.usable == api.abilities
        assert not check.missing
        assert not server.reports
        assert not server.purged
        assert not server.actions


@every_kind
async def test_a_wrong_token_is_said_to_be_wrong(kind: Kind) -> None:
    async with open_kind(kind, token=SecretStr("another-token")) as (_, api):
        for answer in (await api.check_token(), await api.report(TARGET, comment=COMMENT)):
            assert isinstance(answer, ApiFailure)
            assert answer.kind is Refusal.UNAUTHORIZED
            assert not answer.may_pass
            assert "backend.token" in answer.detail


@every_kind
async def test_a_token_that_no_header_can_carry_is_only_refused(kind: Kind) -> None:
    async with open_kind(kind, token=SecretStr("tökén\n")) as (_, api):
        assert isinstance(await api.check_token(), ApiFailure)


@every_kind
async def test_an_object_that_is_there_is_found(kind: Kind) -> None:
    async with open_kind(kind) as (_, api):
        assert await api.resolve(HERE.uri) == Resolved(
            kind=ObjectKind.POST, local_id=str(HERE.number), account_id=str(HERE.author_number)
        )


@every_kind
async def test_an_object_that_is_not_there_is_fetched_from_its_origin(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        assert ELSEWHERE.uri not in server.here
        found = await api.resolve(ELSEWHERE.uri)

        assert isinstance(found, Resolved)
        assert found.local_id == str(ELSEWHERE.number)
        assert ELSEWHERE.uri in server.here


@every_kind
async def test_an_actor_is_found(kind: Kind) -> None:
    async with open_kind(kind) as (_, api):
        assert await api.resolve(HERE.author) == Resolved(
            kind=ObjectKind.ACCOUNT, local_id=str(HERE.author_number), account_id=str(HERE.author_number)
        )


@every_kind
async def test_what_is_nowhere_is_not_found(kind: Kind) -> None:
    async with open_kind(kind) as (_, api):
        answer = await api.resolve(NOWHERE)
        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.NOT_FOUND


@every_kind
async def test_a_post_that_an_address_merely_leads_to_is_not_taken_for_what_was_asked(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_kind(kind) as (server, api):
        trap = "https://trap.example/posts/1"
        monkeypatch.setattr(server, "find", {trap: HERE}.get)

        answer = await api.report(Target(object_id=trap), comment=COMMENT)

        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.NOT_FOUND
        assert not server.reports


@every_kind
async def test_an_id_that_no_address_can_carry_is_refused(kind: Kind) -> None:
    async with open_kind(kind) as (_, api):
        answer = await api.resolve("https://far.example/\ud800")
        assert isinstance(answer, ApiFailure)
        assert not answer.may_pass


@every_kind
async def test_a_report_names_the_post_and_nothing_of_what_was_found_in_it(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        assert isinstance(await api.report(TARGET, comment=COMMENT), Done)

        (filed,) = server.reports
        assert filed.post == HERE.number
        assert filed.text == "Breakwater withheld media of this post. See case 17."


@every_kind
async def test_a_report_that_is_too_long_is_cut(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        assert isinstance(await api.report(TARGET, comment="x" * 5_000), Done)
        assert server.reports[0].text == "x" * 1_000


@every_kind
async def test_what_a_server_cannot_do_is_said_without_asking_it(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        answers = {
            Ability.RESOLVE: lambda: api.resolve(HERE.uri),
            Ability.REPORT: lambda: api.report(TARGET, comment=COMMENT),
            Ability.REMOVE: lambda: api.remove(TARGET, reason=COMMENT),
            Ability.PURGE: lambda: api.purge(TARGET, reason=COMMENT),
            Ability.PURGE_MEDIA: lambda: api.purge_media("a.png"),
            Ability.ACCOUNT_ACTION: lambda: api.act_on_account(
                TARGET, action=AccountAction.SUSPEND, reason=COMMENT
            ),
        }
        assert answers.keys() == set(Ability)
        for ability in set(Ability) - api.abilities:
            answer = await answers[ability]()
            assert isinstance(answer, ApiFailure)
            assert answer.kind is Refusal.NOT_SUPPORTED
            assert answer.detail
        assert not server.asked


@every_kind
async def test_whoever_asks_too_often_is_told_when_to_come_back(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        assert isinstance(await api.resolve(HERE.uri), Resolved)
        server.break_next(server.refuse_rate())
        answer = await api.resolve(HERE.uri)

        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.RATE_LIMITED
        assert answer.may_pass
        assert answer.retry_after == timedelta(seconds=17)


FAULTS = {
    "unavailable": lambda: web.Response(status=503),
    "error": lambda: web.Response(status=500, text="<h1>We're sorry</h1>", content_type="text/html"),
    "gateway": lambda: web.Response(status=502, text="<h1>Bad Gateway</h1>", content_type="text/html"),
    "conflict": lambda: web.Response(status=409),
    "html": lambda: web.Response(text="<h1>Maintenance</h1>", content_type="text/html"),
    "cut": lambda: web.Response(text='{"accounts": [', content_type="application/json"),
    "deep": lambda: web.Response(text="[" * 100_000, content_type="application/json"),
    "not text": lambda: web.Response(body=b"\xff\xfe\x00", content_type="application/json"),
}


@every_kind
async def test_what_is_no_answer_may_pass(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        assert isinstance(await api.resolve(HERE.uri), Resolved)
        for name, fault in FAULTS.items():
            server.break_next(fault())
            answer = await api.resolve(HERE.uri)

            assert isinstance(answer, ApiFailure), name
            assert answer.kind is Refusal.UNAVAILABLE, name


SHAPES = [
    "null",
    "[]",
    "7",
    '"word"',
    "{}",
    '{"statuses": 7, "accounts": [7, null]}',
    '{"post": {"post": 7}}',
]
SHAPES += [
    '{"statuses": [{"id": {"$": 1}, "account": []}]}',
    '{"post": {"post": {"id": "../../admin", "ap_id": "https://far.example/users/eve/statuses/11"}}}',
    '{"type": "Note", "object": {"id": "../x", "uri": null}}',
    '{"type": "Like", "object": {"id": "1"}}',
    '{"results": [7, {"post": {"id": true}}]}',
]


@every_kind
async def test_an_answer_of_another_shape_finds_nothing(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        assert isinstance(await api.resolve(HERE.uri), Resolved)
        for shape in SHAPES:
            server.break_next(web.Response(text=shape, content_type="application/json"))
            answer = await api.resolve(HERE.uri)

            assert isinstance(answer, ApiFailure), shape
            assert answer.kind is Refusal.NOT_FOUND, shape


@every_kind
async def test_a_description_of_the_token_of_another_shape_is_no_accident(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        for shape in SHAPES:
            server.break_next(*(web.Response(text=shape, content_type="application/json") for _ in range(4)))
            assert isinstance(await api.check_token(), TokenCheck | ApiFailure), shape
            server.faults.clear()


@every_kind
async def test_an_endless_answer_is_not_read_to_its_end(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        assert isinstance(await api.resolve(HERE.uri), Resolved)
        server.break_next(web.Response(body=b" " * (5 * 2**20), content_type="application/json"))
        answer = await api.resolve(HERE.uri)

        assert isinstance(answer, ApiFailure)
        assert "too long" in answer.detail


@every_kind
async def test_a_server_that_stalls_is_given_up(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_kind(kind) as (server, api):
        assert isinstance(await api.resolve(HERE.uri), Resolved)
        monkeypatch.setattr(api_module, "_MAX_TOTAL_S", 0.05)
        server.stall_next()
        answer = await api.resolve(HERE.uri)

        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.UNAVAILABLE
        assert "in time" in answer.detail


@every_kind
async def test_a_redirect_is_not_followed(kind: Kind) -> None:
    async with open_kind(kind) as (server, api):
        assert isinstance(await api.resolve(HERE.uri), Resolved)
        asked = len(server.asked)
        server.break_next(web.Response(status=301, headers={"Location": f"{server.url}/elsewhere"}))
        answer = await api.resolve(HERE.uri)

        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.REFUSED
        assert len(server.asked) == asked + 1


@every_kind
async def test_a_server_that_is_down_may_come_back(kind: Kind) -> None:
    async with kind.server.open(**kind.options) as server:
        settings = settings_for(server, kind.software)
    async with open_adapter(settings) as api:
        assert api is not None
        for answer in (await api.check_token(), await api.resolve(HERE.uri)):
            assert isinstance(answer, ApiFailure)
            assert answer.kind is Refusal.UNAVAILABLE


@every_kind
async def test_neither_the_token_nor_what_it_is_about_is_said_anywhere(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for name in ("httpx", "httpcore", "asyncio"):
        # As `relay.logs` does it.
        caplog.set_level(logging.WARNING, logger=name)
    async with open_kind(kind) as (server, api):
        said = [repr(api), repr(TARGET), repr(await api.check_token())]
        for fault in FAULTS.values():
            server.break_next(fault())
            said.append(repr(await api.report(TARGET, comment=COMMENT)))
        said.append(repr(await api.resolve(NOWHERE)))
        everything = " ".join([*said, caplog.text])
    assert server.token not in everything
    assert "far.example" not in everything


@pytest.mark.parametrize("software", Software)
async def test_without_a_token_nothing_is_switched_on(software: Software) -> None:
    async with open_adapter(Backend(url="http://127.0.0.1:9", software=software)) as api:
        assert api is None


@pytest.mark.parametrize("software", set(Software) - ADAPTERS.keys())
async def test_a_server_whose_api_is_not_known_has_no_adapter(software: Software) -> None:
    settings = Backend(url="http://127.0.0.1:9", software=software, token=SecretStr("t"))
    async with open_adapter(settings) as api:
        assert api is None


@pytest.mark.parametrize("adapter", set(ADAPTERS.values()))
def test_every_adapter_states_what_it_can_and_what_it_cannot(adapter: type[Adapter]) -> None:
    assert adapter.statements.keys() == set(Ability)
    assert all(statement.text for statement in adapter.statements.values())


async def test_the_api_has_an_address_of_its_own_where_one_is_given() -> None:
    async with MastodonServer.open() as server:
        server.has(HERE)
        settings = settings_for(server, Software.MASTODON, url="http://127.0.0.1:9", api_url=server.url)
        async with open_adapter(settings) as api:
            assert api is not None
            assert isinstance(await api.resolve(HERE.uri), Resolved)


async def test_a_server_that_answers_by_name_is_asked_by_its_public_name() -> None:
    async with MastodonServer.open() as server:
        server.has(HERE)
        async with open_adapter(
            settings_for(server, Software.MASTODON, hosts=()), domain="instance.example"
        ) as api:
            assert api is not None
            assert isinstance(await api.resolve(HERE.uri), Resolved)
        assert server.asked[0].headers["host"] == "instance.example"


async def test_an_instance_without_a_public_name_is_asked_by_its_address() -> None:
    async with MastodonServer.open() as server:
        settings = settings_for(server, Software.MASTODON, hosts=())
        async with open_adapter(settings, domain="127.0.0.1:8790") as api:
            assert api is not None
            await api.resolve(HERE.uri)
        assert server.asked[0].headers["host"] == server.url.removeprefix("http://")


async def test_an_address_that_is_none_is_an_error_of_the_configuration() -> None:
    settings = Backend(url="ftp://instance.example", software=Software.MASTODON, token=SecretStr("t"))
    with pytest.raises(ValueError, match="http"):
        async with open_adapter(settings):
            raise AssertionError
