"""Mastodon and GoToSocial: scopes and roles, accounts in place of posts, and actions on accounts."""

from __future__ import annotations

import pytest

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
)
from relay.config.sections import Software
from tests.fediverse.servers import GoToSocialServer, MastodonServer
from tests.relay.backends.apis import HERE, NOWHERE, connect

both = pytest.mark.parametrize(
    ("software", "server"),
    [(Software.MASTODON, MastodonServer), (Software.GOTOSOCIAL, GoToSocialServer)],
)
ALL = ("read:accounts", "read:search", "write:reports", "admin:write:accounts")


@both
@pytest.mark.parametrize(
    ("without", "ability"),
    [
        ("read:search", Ability.RESOLVE),
        ("write:reports", Ability.REPORT),
        ("admin:write:accounts", Ability.ACCOUNT_ACTION),
    ],
)
async def test_a_missing_scope_is_named_with_what_does_not_work_for_it(
    software: Software, server: type[MastodonServer], without: str, ability: Ability
) -> None:
    scopes = tuple(scope for scope in ALL if scope != without)
    async with server.open(scopes=scopes) as running, connect(running, software) as api:
        check = await api.check_token()

        assert isinstance(check, TokenCheck)
        assert check.missing == {ability: f"the token lacks the scope {without}"}
        assert check.usable == api.abilities - {ability}


@both
async def test_a_broad_scope_holds_the_narrow_ones(software: Software, server: type[MastodonServer]) -> None:
    async with (
        server.open(scopes=("read", "write", "admin:write")) as running,
        connect(running, software) as api,
    ):
        check = await api.check_token()
        assert isinstance(check, TokenCheck)
        assert not check.missing


@both
async def test_a_token_that_may_not_say_whose_it_is_is_checked_all_the_same(
    software: Software, server: type[MastodonServer]
) -> None:
    scopes = ("read:search", "write:reports")
    async with server.open(scopes=scopes) as running, connect(running, software) as api:
        check = await api.check_token()
        assert isinstance(check, TokenCheck)
        assert check.account == ""
        assert check.usable == {Ability.RESOLVE, Ability.REPORT}


@both
async def test_a_role_that_may_not_manage_users_is_no_use_for_actions(
    software: Software, server: type[MastodonServer]
) -> None:
    async with server.open(permissions="65536") as running, connect(running, software) as api:
        check = await api.check_token()
        assert isinstance(check, TokenCheck)
        assert Ability.ACCOUNT_ACTION in check.missing


@pytest.mark.parametrize("permissions", ["9" * 10_000, "all", "-1", "٣"])
async def test_permissions_that_are_no_mask_forbid_nothing_and_break_nothing(permissions: str) -> None:
    async with MastodonServer.open() as running, connect(running, Software.MASTODON) as api:
        running.permissions = permissions
        assert isinstance(await api.check_token(), TokenCheck | ApiFailure)


@both
async def test_a_report_stays_with_the_own_moderators(
    software: Software, server: type[MastodonServer]
) -> None:
    async with server.open() as running, connect(running, software) as api:
        running.has(HERE)
        assert await api.report(Target(object_id=HERE.uri), comment="See case 1.") == Done(reference="48914")

        assert running.reports[0].extra == {"forward": "false", "category": "other"}
        assert (running.reports[0].post, running.reports[0].account) == (HERE.number, HERE.author_number)


@both
async def test_where_the_post_is_gone_its_author_is_reported(
    software: Software, server: type[MastodonServer]
) -> None:
    async with server.open() as running, connect(running, software) as api:
        running.has(HERE)
        done = await api.report(Target(object_id=NOWHERE, actor_id=HERE.author), comment="See case 1.")

        assert isinstance(done, Done)
        assert (running.reports[0].post, running.reports[0].account) == (None, HERE.author_number)


@both
async def test_a_report_about_nothing_is_refused(software: Software, server: type[MastodonServer]) -> None:
    async with server.open() as running, connect(running, software) as api:
        answer = await api.report(Target(), comment="See case 1.")
        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.NOT_FOUND
        assert not running.asked


@both
async def test_a_missing_scope_forbids(software: Software, server: type[MastodonServer]) -> None:
    async with server.open(scopes=("read:search",)) as running, connect(running, software) as api:
        running.has(HERE)
        answer = await api.report(Target(object_id=HERE.uri), comment="See case 1.")
        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.FORBIDDEN
        assert "breakwater doctor" in answer.detail


async def test_mastodon_acts_on_the_author_of_a_post() -> None:
    async with MastodonServer.open() as running, connect(running, Software.MASTODON) as api:
        running.has(HERE)
        target = Target(object_id=HERE.uri)
        for action in AccountAction:
            assert await api.act_on_account(target, action=action, reason="See case 1.") == Done()

        assert [action.extra["type"] for action in running.actions] == ["sensitive", "silence", "suspend"]
        assert {action.account for action in running.actions} == {HERE.author_number}


async def test_gotosocial_suspends_and_does_nothing_milder() -> None:
    async with GoToSocialServer.open() as running, connect(running, Software.GOTOSOCIAL) as api:
        running.has(HERE)
        target = Target(actor_id=HERE.author)
        answers = [
            await api.act_on_account(target, action=action, reason="See case 1.") for action in AccountAction
        ]
        assert [answer.kind for answer in answers if isinstance(answer, ApiFailure)] == [
            Refusal.NOT_SUPPORTED,
            Refusal.NOT_SUPPORTED,
        ]
        assert [action.extra["type"] for action in running.actions] == ["suspend"]


async def test_a_role_without_the_right_may_not_act() -> None:
    async with MastodonServer.open(permissions="0") as running, connect(running, Software.MASTODON) as api:
        running.has(HERE)
        answer = await api.act_on_account(
            Target(object_id=HERE.uri), action=AccountAction.SUSPEND, reason="See case 1."
        )
        assert isinstance(answer, ApiFailure)
        assert answer.kind is Refusal.FORBIDDEN


async def test_a_post_is_found_by_its_page_as_well() -> None:
    async with MastodonServer.open() as running, connect(running, Software.MASTODON) as api:
        running.has(HERE)
        assert await api.resolve(HERE.page) == await api.resolve(HERE.uri)


async def test_an_account_without_an_id_on_the_network_is_known_by_its_host() -> None:
    async with (
        MastodonServer.open(has_uris=False) as running,
        connect(running, Software.MASTODON) as api,
    ):
        running.has(HERE)
        found = await api.resolve(HERE.author)
        assert isinstance(found, Resolved)
        assert found.kind is ObjectKind.ACCOUNT


async def test_a_transient_fault_leaves_the_check_open() -> None:
    async with MastodonServer.open() as running, connect(running, Software.MASTODON) as api:
        for good in range(4):
            running.spare_next(good)
            running.break_next(running.refuse_rate())
            check = await api.check_token()
            assert isinstance(check, ApiFailure)
            assert check.may_pass
