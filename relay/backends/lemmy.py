"""Lemmy, 0.19 (`/api/v3`) and 1.0 (`/api/v4`).

With an admin's token it can look an object up at its origin, report it, take it down and delete it; with the
key of its pict-rs also delete single files. Lemmy sends every report on to the server of the community, and
where that is its own to that of the author, with no way to keep it at home: what a report says has to be fit
for strangers. It takes no reports about people, only about posts and comments.

Source: https://join-lemmy.org/api/ (v3, v4: site, account, resolve_object, post, comment, admin/purge).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from relay.backends.abilities import (
    MAX_COMMENT_CHARS,
    Ability,
    ApiFailure,
    Done,
    ObjectKind,
    Refusal,
    Resolved,
    TokenCheck,
)
from relay.backends.api import NOT_THE_API
from relay.backends.base import Adapter, Statement, able, unable
from relay.backends.reading import dig, dig_id, dig_name
from relay.backends.views import is_admin, name_content, read_report_number, read_view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.backends.abilities import Target
    from relay.backends.api import ApiClient
    from relay.backends.pictrs import PictrsApi
    from relay.backends.reading import Json

# Lemmy answers 400 to nearly everything; its own words say why.
LEMMY_CODES: Final[Mapping[str, Refusal]] = MappingProxyType(
    {
        "incorrect_login": Refusal.UNAUTHORIZED,
        "not_logged_in": Refusal.UNAUTHORIZED,
        "not_an_admin": Refusal.FORBIDDEN,
        "not_a_mod_or_admin": Refusal.FORBIDDEN,
        "site_ban": Refusal.FORBIDDEN,
        "not_found": Refusal.NOT_FOUND,
        "couldnt_find_object": Refusal.NOT_FOUND,
        "couldnt_find_post": Refusal.NOT_FOUND,
        "couldnt_find_comment": Refusal.NOT_FOUND,
        "resolve_object_failed": Refusal.NOT_FOUND,
        "rate_limit_error": Refusal.RATE_LIMITED,
        "too_many_requests": Refusal.RATE_LIMITED,
    }
)

# One account can report one post once. Source: the unique index of `post_report` and `comment_report`.
_REPORTED_BEFORE: Final = "couldnt_create_report"

_ADMIN_ONLY: Final = "its account is no admin"


class LemmyApi(Adapter):
    """The API of a Lemmy, with that of its pict-rs where its key is known."""

    statements: ClassVar[Mapping[Ability, Statement]] = MappingProxyType(
        {
            Ability.RESOLVE: able("by resolving its address"),
            Ability.REPORT: able(
                "posts and comments",
                caution="Lemmy sends every report on to the server of the community or of the author, who "
                "so learn that something was withheld, though not what for",
            ),
            Ability.REMOVE: able(
                "posts and comments; it can be undone",
                caution="Lemmy's public log says who took a post down and why",
            ),
            Ability.PURGE: able("posts and comments with the pictures in them, for good"),
            Ability.PURGE_MEDIA: able("in its pict-rs; that takes backend.pictrs_url and backend.pictrs_key"),
            Ability.ACCOUNT_ACTION: unable("accounts are banned in its own pages"),
        }
    )

    def __init__(self, client: ApiClient, *, pictrs: PictrsApi | None = None) -> None:
        super().__init__(client)
        self._pictrs = pictrs
        self._version = ""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can do at all; without its pict-rs, no deleting of single files."""
        return super().abilities - (frozenset() if self._pictrs else {Ability.PURGE_MEDIA})

    async def check_token(self) -> TokenCheck | ApiFailure:
        """Ask whose the token is; what it may do is what that account may do."""
        version = await self._find_version()
        if isinstance(version, ApiFailure):
            return version
        site = await self._client.get(f"/api/{version}/site")
        if isinstance(site, ApiFailure):
            return site
        me = dig(site, "my_user") if version == "v3" else await self._client.get("/api/v4/account")
        if isinstance(me, ApiFailure):
            return me
        person_id = dig_id(me, "local_user_view", "person", "id")
        if not person_id:
            return self._client.place.fail(Refusal.UNAUTHORIZED)
        may_rule = dig(me, "local_user_view", "local_user", "admin") is True or is_admin(site, person_id)
        missing = {} if may_rule else {Ability.REMOVE: _ADMIN_ONLY, Ability.PURGE: _ADMIN_ONLY}
        if self._pictrs is not None:
            failure = await self._pictrs.check_key()
            if failure is not None:
                missing[Ability.PURGE_MEDIA] = failure.detail
        return TokenCheck(
            account=dig_name(me, "local_user_view", "person", "name"),
            usable=self.abilities - missing.keys(),
            missing=MappingProxyType(missing),
        )

    async def resolve(self, url: str) -> Resolved | ApiFailure:
        """Resolve an address; the server fetches what it does not have."""
        answer = await self._get("resolve_object", {"q": url})
        if isinstance(answer, ApiFailure):
            return answer
        return read_view(url, answer) or self._client.place.fail(Refusal.NOT_FOUND)

    async def report(self, target: Target, *, comment: str) -> Done | ApiFailure:
        """Report a post or a comment."""
        answer = await self._act(target, "{kind}/report", {"reason": comment[:MAX_COMMENT_CHARS]})
        if isinstance(answer, ApiFailure):
            return Done() if answer.code == _REPORTED_BEFORE else answer
        return Done(reference=read_report_number(answer))

    async def remove(self, target: Target, *, reason: str) -> Done | ApiFailure:
        """Take a post or a comment down."""
        answer = await self._act(target, "{kind}/remove", {"removed": True, "reason": reason})
        return answer if isinstance(answer, ApiFailure) else Done()

    async def purge(self, target: Target, *, reason: str) -> Done | ApiFailure:
        """Delete a post or a comment for good, with its pictures."""
        answer = await self._act(target, "admin/purge/{kind}", {"reason": reason})
        return answer if isinstance(answer, ApiFailure) else Done()

    async def purge_media(self, alias: str) -> Done | ApiFailure:
        """Delete a file of its pict-rs for good."""
        return self._cannot(Ability.PURGE_MEDIA) if self._pictrs is None else await self._pictrs.purge(alias)

    async def _act(self, target: Target, path: str, document: Mapping[str, object]) -> Json | ApiFailure:
        """Do something to a post or a comment."""
        found = await self._find_content(target, ObjectKind.POST, ObjectKind.COMMENT)
        if isinstance(found, ApiFailure):
            return found
        version = await self._find_version()
        if isinstance(version, ApiFailure):
            return version
        return await self._client.post(
            f"/api/{version}/{path.format(kind=found.kind.value)}",
            document={**name_content(found), **document},
        )

    async def _get(self, path: str, params: Mapping[str, str]) -> Json | ApiFailure:
        version = await self._find_version()
        if isinstance(version, ApiFailure):
            return version
        return await self._client.get(f"/api/{version}/{path}", params)

    async def _find_version(self) -> str | ApiFailure:
        """Find out once which API the server speaks.

        The newer one is asked for first: Lemmy 1.0 still answers under the old one, but not to everything.
        """
        for version in () if self._version else ("v4", "v3"):
            site = await self._client.get(f"/api/{version}/site")
            if isinstance(site, ApiFailure):
                is_absent = site.kind is Refusal.NOT_FOUND or site.code == NOT_THE_API
                if version == "v4" and is_absent:
                    continue
                return site
            if isinstance(dig(site, "site_view"), dict):
                self._version = version
                break
        return self._version or self._client.place.fail(Refusal.UNAVAILABLE, code=NOT_THE_API)
