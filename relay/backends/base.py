"""What every adapter begins with: a statement on each ability, and a refusal for each that it has not."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from relay.backends.abilities import Ability, ApiFailure, Refusal, Resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.backends.abilities import AccountAction, Done, ObjectKind, Target, TokenCheck
    from relay.backends.api import ApiClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Whether a server can do something.

    Attributes:
        is_able: Whether it can.
        text: How it does it, or why it cannot; half a sentence for an admin.
        caution: What else comes of it that an admin has to know beforehand; may be empty.
    """

    is_able: bool
    text: str
    caution: str = ""


def able(text: str, *, caution: str = "") -> Statement:
    """State how a server does something."""
    return Statement(is_able=True, text=text, caution=caution)


def unable(text: str) -> Statement:
    """State why a server cannot do something."""
    return Statement(is_able=False, text=text)


class Adapter:
    """A server's API of which nothing is known but what its statements say.

    Attributes:
        statements: One for each ability.
    """

    statements: ClassVar[Mapping[Ability, Statement]] = MappingProxyType({})

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    @property
    def abilities(self) -> frozenset[Ability]:
        """What this server can do at all."""
        return frozenset(ability for ability, statement in self.statements.items() if statement.is_able)

    async def check_token(self) -> TokenCheck | ApiFailure:
        """Ask what the token may do."""
        return ApiFailure(kind=Refusal.NOT_SUPPORTED, detail="this server's tokens cannot be checked")

    async def resolve(self, url: str) -> Resolved | ApiFailure:
        """Make the backend fetch an object from its origin."""
        del url
        return self._cannot(Ability.RESOLVE)

    async def report(self, target: Target, *, comment: str) -> Done | ApiFailure:
        """Report to the admin's own moderators."""
        del target, comment
        return self._cannot(Ability.REPORT)

    async def remove(self, target: Target, *, reason: str) -> Done | ApiFailure:
        """Take a post or a comment down."""
        del target, reason
        return self._cannot(Ability.REMOVE)

    async def purge(self, target: Target, *, reason: str) -> Done | ApiFailure:
        """Delete a post or a comment for good."""
        del target, reason
        return self._cannot(Ability.PURGE)

    async def purge_media(self, alias: str) -> Done | ApiFailure:
        """Delete one stored file for good."""
        del alias
        return self._cannot(Ability.PURGE_MEDIA)

    async def act_on_account(
        self, target: Target, *, action: AccountAction, reason: str
    ) -> Done | ApiFailure:
        """Act on an account."""
        del target, action, reason
        return self._cannot(Ability.ACCOUNT_ACTION)

    async def _find_post_or_author(self, target: Target) -> Resolved | ApiFailure:
        """Find a post, or else its author."""
        failure: ApiFailure | None = None
        for url in (target.object_id, target.actor_id):
            found = await self.resolve(url) if url else None
            if isinstance(found, Resolved):
                return found
            if found is not None and found.kind is not Refusal.NOT_FOUND:
                return found
            failure = found or failure
        return failure or self._client.place.fail(Refusal.NOT_FOUND)

    async def _find_content(self, target: Target, *kinds: ObjectKind) -> Resolved | ApiFailure:
        """Find a post or whatever else is among the kinds, but no account."""
        why = f"only for a {' or a '.join(kinds)}"
        if not target.object_id:
            return self._client.place.fail(Refusal.NOT_SUPPORTED, why=why)
        found = await self.resolve(target.object_id)
        if isinstance(found, ApiFailure) or found.kind in kinds:
            return found
        return self._client.place.fail(Refusal.NOT_SUPPORTED, why=why)

    def _cannot(self, ability: Ability) -> ApiFailure:
        return ApiFailure(kind=Refusal.NOT_SUPPORTED, detail=self.statements[ability].text)
