"""PieFed, its `/api/alpha`.

With an admin's token it can look an object up at its origin, report it to its own moderators and admins
(`report_remote` keeps the report at home) and take it down. It has no API that deletes a post for good or one
of its files, and it keeps the address of a picture at its origin beside its own copy.

Source: https://crust.piefed.social/api/alpha/swagger (site, resolve_object, post, comment).
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
from relay.backends.base import Adapter, Statement, able, unable
from relay.backends.reading import dig, dig_id, dig_name
from relay.backends.views import is_admin, name_content, read_report_number, read_view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.backends.abilities import Target
    from relay.backends.reading import Json

# PieFed answers 400 to nearly everything, with the text of what went wrong inside.
PIEFED_CODES: Final[Mapping[str, Refusal]] = MappingProxyType(
    {
        "incorrect_login": Refusal.UNAUTHORIZED,
        "Signature verification failed": Refusal.UNAUTHORIZED,
        "Signature has expired": Refusal.UNAUTHORIZED,
        "Not enough segments": Refusal.UNAUTHORIZED,
        "Invalid header padding": Refusal.UNAUTHORIZED,
        "Does not have permission": Refusal.FORBIDDEN,
        "No object found.": Refusal.NOT_FOUND,
        "No row was found when one was required": Refusal.NOT_FOUND,
        "alpha api is not enabled": Refusal.NOT_SUPPORTED,
    }
)

_REPORTED_BEFORE: Final = "already_reported"
_NO_DELETING: Final = "its API deletes nothing of other people's for good; admins do that in its own pages"


class PiefedApi(Adapter):
    """The API of a PieFed."""

    statements: ClassVar[Mapping[Ability, Statement]] = MappingProxyType(
        {
            Ability.RESOLVE: able("by resolving its address"),
            Ability.REPORT: able("posts and comments, to its own moderators and admins only"),
            Ability.REMOVE: able("posts and comments; it can be undone"),
            Ability.PURGE: unable(_NO_DELETING),
            Ability.PURGE_MEDIA: unable(_NO_DELETING),
            Ability.ACCOUNT_ACTION: unable("accounts are banned in its own pages"),
        }
    )

    async def check_token(self) -> TokenCheck | ApiFailure:
        """Ask whose the token is; what it may do is what that account may do."""
        site = await self._client.get("/api/alpha/site")
        if isinstance(site, ApiFailure):
            return site
        me = dig(site, "my_user", "local_user_view", "person")
        person_id = dig_id(me, "id")
        if not person_id:
            return self._client.place.fail(Refusal.UNAUTHORIZED)
        missing = {} if is_admin(site, person_id) else {Ability.REMOVE: "its account is no admin"}
        return TokenCheck(
            account=dig_name(me, "user_name") or dig_name(me, "name"),
            usable=self.abilities - missing.keys(),
            missing=MappingProxyType(missing),
        )

    async def resolve(self, url: str) -> Resolved | ApiFailure:
        """Resolve an address; the server fetches what it does not have."""
        answer = await self._client.get("/api/alpha/resolve_object", {"q": url})
        if isinstance(answer, ApiFailure):
            return answer
        return read_view(url, answer) or self._client.place.fail(Refusal.NOT_FOUND)

    async def report(self, target: Target, *, comment: str) -> Done | ApiFailure:
        """Report a post or a comment."""
        said = {"reason": comment[:MAX_COMMENT_CHARS], "description": "", "report_remote": False}
        answer = await self._act(target, "report", said)
        if isinstance(answer, ApiFailure):
            return Done() if answer.code == _REPORTED_BEFORE else answer
        return Done(reference=read_report_number(answer))

    async def remove(self, target: Target, *, reason: str) -> Done | ApiFailure:
        """Take a post or a comment down."""
        answer = await self._act(target, "remove", {"removed": True, "reason": reason})
        return answer if isinstance(answer, ApiFailure) else Done()

    async def _act(self, target: Target, verb: str, document: Mapping[str, object]) -> Json | ApiFailure:
        """Do something to a post or a comment."""
        found = await self._find_content(target, ObjectKind.POST, ObjectKind.COMMENT)
        if isinstance(found, ApiFailure):
            return found
        return await self._client.post(
            f"/api/alpha/{found.kind.value}/{verb}", document={**name_content(found), **document}
        )
