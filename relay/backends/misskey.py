"""Misskey, from 13, and Sharkey.

It can look an object up at its origin, report its author to its own moderators and, with a moderator's token,
delete a note. Deleting cannot be undone there and leaves the files in its drive. Looking up is limited to 30
an hour for each account. Misskey's reports name people; Sharkey's the note as well.

Source: https://misskey-hub.net/en/docs/for-developers/api/endpoints/ (i, ap/show, users/report-abuse,
notes/delete).
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
from relay.backends.reading import dig, dig_id, dig_name, dig_text, is_same

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.backends.abilities import Target
    from relay.backends.api import ApiClient
    from relay.backends.reading import Json

# Versions differ in the status that goes with each; the words stayed the same.
MISSKEY_CODES: Final[Mapping[str, Refusal]] = MappingProxyType(
    {
        "AUTHENTICATION_FAILED": Refusal.UNAUTHORIZED,
        "CREDENTIAL_REQUIRED": Refusal.UNAUTHORIZED,
        "YOUR_ACCOUNT_SUSPENDED": Refusal.UNAUTHORIZED,
        "PERMISSION_DENIED": Refusal.FORBIDDEN,
        "ROLE_PERMISSION_DENIED": Refusal.FORBIDDEN,
        "ACCESS_DENIED": Refusal.FORBIDDEN,
        "RATE_LIMIT_EXCEEDED": Refusal.RATE_LIMITED,
        "NO_SUCH_OBJECT": Refusal.NOT_FOUND,
        "NO_SUCH_USER": Refusal.NOT_FOUND,
        "NO_SUCH_NOTE": Refusal.NOT_FOUND,
        "NO_SUCH_ENDPOINT": Refusal.NOT_SUPPORTED,
        "REQUEST_FAILED": Refusal.UNAVAILABLE,
        "URI_INVALID": Refusal.NOT_FOUND,
    }
)

_KINDS: Final = {"Note": ObjectKind.POST, "User": ObjectKind.ACCOUNT}

# Requests without what they are about: refused for that where the token suffices, else for the token.
_PROBES: Final[Mapping[Ability, tuple[str, str]]] = MappingProxyType(
    {
        Ability.RESOLVE: ("/api/ap/show", "the token lacks the permission read:account"),
        Ability.REPORT: ("/api/users/report-abuse", "the token lacks the permission write:report-abuse"),
        Ability.PURGE: ("/api/notes/delete", "the token lacks the permission write:notes"),
    }
)


class MisskeyApi(Adapter):
    """The API of a Misskey or a Sharkey."""

    statements: ClassVar[Mapping[Ability, Statement]] = MappingProxyType(
        {
            Ability.RESOLVE: able("by looking its address up, at most 30 an hour"),
            Ability.REPORT: able("the author, to its own moderators"),
            Ability.REMOVE: unable("it can only delete a note for good"),
            Ability.PURGE: able(
                "notes, with a moderator's token", caution="Misskey keeps their files in its drive"
            ),
            Ability.PURGE_MEDIA: unable("files from other servers are forgotten in its own pages"),
            Ability.ACCOUNT_ACTION: unable("accounts are suspended in its own pages"),
        }
    )

    def __init__(self, client: ApiClient, *, token: str) -> None:
        super().__init__(client)
        self._token = token

    async def check_token(self) -> TokenCheck | ApiFailure:
        """Ask whose the token is and what it may do, by requests that can change nothing."""
        me = await self._ask("/api/i")
        if isinstance(me, ApiFailure) and me.kind is not Refusal.FORBIDDEN:
            return me
        missing: dict[Ability, str] = {}
        for ability, (path, need) in _PROBES.items():
            failure = await self._ask(path)
            if not isinstance(failure, ApiFailure):
                continue
            if failure.may_pass:
                return failure
            if failure.kind in {Refusal.FORBIDDEN, Refusal.UNAUTHORIZED}:
                missing[ability] = need
        known = None if isinstance(me, ApiFailure) else me
        may_rule = any(dig(known, name) is True for name in ("isAdmin", "isModerator"))
        if known is not None and not may_rule:
            missing.setdefault(Ability.PURGE, "its account is no moderator")
        return TokenCheck(
            account=dig_name(known, "username"),
            usable=self.abilities - missing.keys(),
            missing=MappingProxyType(missing),
        )

    async def resolve(self, url: str) -> Resolved | ApiFailure:
        """Look an address up; the server fetches what it does not have."""
        found = await self._ask("/api/ap/show", uri=url)
        if isinstance(found, ApiFailure):
            return found
        kind, thing = _KINDS.get(dig_text(found, "type")), dig(found, "object")
        local_id, uri = dig_id(thing, "id"), dig_text(thing, "uri")
        # What is the server's own has no address here; nobody else can claim to be it.
        if kind is None or not local_id or (uri and not is_same(url, uri, dig_text(thing, "url"))):
            return self._client.place.fail(Refusal.NOT_FOUND)
        author = local_id if kind is ObjectKind.ACCOUNT else dig_id(thing, "userId")
        return Resolved(kind=kind, local_id=local_id, account_id=author)

    async def report(self, target: Target, *, comment: str) -> Done | ApiFailure:
        """Report the author of a note, or an account."""
        found = await self._find_post_or_author(target)
        if isinstance(found, ApiFailure):
            return found
        notes = {"noteIds": [found.local_id]} if found.kind is ObjectKind.POST else {}
        answer = await self._ask(
            "/api/users/report-abuse", userId=found.account_id, comment=comment[:MAX_COMMENT_CHARS], **notes
        )
        return answer if isinstance(answer, ApiFailure) else Done()

    async def purge(self, target: Target, *, reason: str) -> Done | ApiFailure:
        """Delete a note for good; Misskey keeps no reason."""
        del reason
        found = await self._find_content(target, ObjectKind.POST)
        if isinstance(found, ApiFailure):
            return found
        answer = await self._ask("/api/notes/delete", noteId=found.local_id)
        return answer if isinstance(answer, ApiFailure) else Done()

    async def _ask(self, path: str, **document: object) -> Json | ApiFailure:
        """Send a document with the token in it, which every version understands."""
        return await self._client.post(path, document={"i": self._token, **document})
