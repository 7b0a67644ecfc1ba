"""Mastodon, from 4.0.

It can look an object up at its origin, report it to its own moderators and act on its author. It has no API
that takes down a post from elsewhere or deletes one of its files: moderators do that in its own pages, and
the gateway keeps the file from coming in at all.

Source: https://docs.joinmastodon.org/methods/ (accounts, search, reports, admin/accounts).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from relay.backends.abilities import (
    MAX_COMMENT_CHARS,
    Ability,
    AccountAction,
    ApiFailure,
    Done,
    ObjectKind,
    Refusal,
    Resolved,
    TokenCheck,
)
from relay.backends.base import Adapter, Statement, able, unable
from relay.backends.reading import dig, dig_id, dig_name, dig_text, first, is_same, shares_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.backends.abilities import Target
    from relay.backends.reading import Json

NO_REMOVAL: Final = "its API takes down no posts from other servers; moderators do that in its own pages"

# An account that does not exist: what is asked about it changes nothing and shows what the token may do.
_NOBODY: Final = "0"
# "Administrator" and "Manage Users". Source: https://docs.joinmastodon.org/entities/Role/
_MAY_ACT: Final = 0x1 | 0x400
_MAX_MASK_DIGITS: Final = 20

_SCOPES: Final[Mapping[Ability, str]] = MappingProxyType(
    {
        Ability.RESOLVE: "the token lacks the scope read:search",
        Ability.REPORT: "the token lacks the scope write:reports",
        Ability.ACCOUNT_ACTION: "the token lacks the scope admin:write:accounts",
    }
)


class MastodonApi(Adapter):
    """The API of a Mastodon."""

    statements: ClassVar[Mapping[Ability, Statement]] = MappingProxyType(
        {
            Ability.RESOLVE: able("by searching for its address"),
            Ability.REPORT: able("into its moderators' queue, never to other servers"),
            Ability.REMOVE: unable(NO_REMOVAL),
            Ability.PURGE: unable(NO_REMOVAL),
            Ability.PURGE_MEDIA: unable(
                "its API deletes no single file; `tootctl media remove` forgets all that it caches"
            ),
            Ability.ACCOUNT_ACTION: able("marking an account as sensitive, limiting or suspending it"),
        }
    )
    actions: ClassVar[Mapping[AccountAction, str]] = MappingProxyType(
        {
            AccountAction.SENSITIVE: "sensitive",
            AccountAction.SILENCE: "silence",
            AccountAction.SUSPEND: "suspend",
        }
    )

    async def check_token(self) -> TokenCheck | ApiFailure:
        """Ask whose the token is and what it may do, by requests that can change nothing."""
        account = await self._client.get("/api/v1/accounts/verify_credentials")
        if isinstance(account, ApiFailure) and account.kind is not Refusal.FORBIDDEN:
            return account
        missing: dict[Ability, str] = {}
        for ability, probe in (
            (Ability.RESOLVE, self._probe_search),
            (Ability.REPORT, self._probe_report),
            (Ability.ACCOUNT_ACTION, self._probe_action),
        ):
            failure = await probe()
            if failure is not None and failure.may_pass:
                return failure
            if failure is not None and failure.kind in {Refusal.FORBIDDEN, Refusal.UNAUTHORIZED}:
                missing[ability] = _SCOPES[ability]
        if isinstance(account, ApiFailure):
            return self._sum_up("", missing)
        if Ability.ACCOUNT_ACTION not in missing and not _may_act(account):
            missing[Ability.ACCOUNT_ACTION] = "the role of its account may not manage users"
        return self._sum_up(dig_name(account, "acct"), missing)

    async def resolve(self, url: str) -> Resolved | ApiFailure:
        """Search for an address; the server fetches what it does not have."""
        found = await self._client.get("/api/v2/search", {"q": url, "resolve": "true", "limit": "1"})
        if isinstance(found, ApiFailure):
            return found
        return _read_status(url, first(found, "statuses")) or (
            _read_account(url, first(found, "accounts")) or self._client.place.fail(Refusal.NOT_FOUND)
        )

    async def report(self, target: Target, *, comment: str) -> Done | ApiFailure:
        """Report a post; where the server does not have it, its author."""
        found = await self._find_post_or_author(target)
        if isinstance(found, ApiFailure):
            return found
        form: dict[str, str | list[str]] = {
            "account_id": found.account_id,
            "comment": comment[:MAX_COMMENT_CHARS],
            "category": "other",
            "forward": "false",
        }
        if found.kind is ObjectKind.POST:
            form["status_ids[]"] = [found.local_id]
        answer = await self._client.post("/api/v1/reports", form=form)
        return answer if isinstance(answer, ApiFailure) else Done(reference=dig_id(answer, "id"))

    async def act_on_account(
        self, target: Target, *, action: AccountAction, reason: str
    ) -> Done | ApiFailure:
        """Act on the author of a post, or on an account."""
        if action not in self.actions:
            return self._cannot(Ability.ACCOUNT_ACTION)
        found = await self._find_post_or_author(target)
        if isinstance(found, ApiFailure):
            return found
        answer = await self._client.post(
            f"/api/v1/admin/accounts/{found.account_id}/action",
            form={"type": self.actions[action], "text": reason[:MAX_COMMENT_CHARS]},
        )
        return answer if isinstance(answer, ApiFailure) else Done()

    async def _probe_search(self) -> ApiFailure | None:
        answer = await self._client.get(
            "/api/v2/search", {"q": "breakwater", "resolve": "true", "type": "hashtags", "limit": "1"}
        )
        return answer if isinstance(answer, ApiFailure) else None

    async def _probe_report(self) -> ApiFailure | None:
        answer = await self._client.post("/api/v1/reports", form={"account_id": _NOBODY, "forward": "false"})
        return answer if isinstance(answer, ApiFailure) else None

    async def _probe_action(self) -> ApiFailure | None:
        answer = await self._client.post(f"/api/v1/admin/accounts/{_NOBODY}/action", form={"text": ""})
        return answer if isinstance(answer, ApiFailure) else None

    def _sum_up(self, account: str, missing: Mapping[Ability, str]) -> TokenCheck:
        return TokenCheck(
            account=account, usable=self.abilities - missing.keys(), missing=MappingProxyType(dict(missing))
        )


def _may_act(account: Json) -> bool:
    """Tell whether an account's role may act on accounts; servers before 4.0 say nothing of it."""
    stated = dig(account, "role", "permissions")
    text = str(stated) if isinstance(stated, str | int) else ""
    is_mask = text.isdecimal() and len(text) <= _MAX_MASK_DIGITS
    return not is_mask or bool(int(text) & _MAY_ACT)


def _read_status(url: str, status: Json) -> Resolved | None:
    local_id, account_id = dig_id(status, "id"), dig_id(status, "account", "id")
    if not local_id or not account_id or not is_same(url, dig_text(status, "uri"), dig_text(status, "url")):
        return None
    return Resolved(kind=ObjectKind.POST, local_id=local_id, account_id=account_id)


def _read_account(url: str, account: Json) -> Resolved | None:
    local_id, shown, uri = dig_id(account, "id"), dig_text(account, "url"), dig_text(account, "uri")
    # Before 4.2 accounts come without their id on the network; their page is then on the same host at least.
    is_meant = is_same(url, uri, shown) if uri else shares_host(url, shown)
    return (
        Resolved(kind=ObjectKind.ACCOUNT, local_id=local_id, account_id=local_id)
        if local_id and is_meant
        else None
    )
