"""What can be asked of the backend's own API, and what comes back: values only.

One protocol for all servers. An adapter knows one server's API; it names in `abilities` what that server can
do, and everything else it answers with `NOT_SUPPORTED`. A refusal is an answer: nothing here raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

# Mastodon and GoToSocial cut or refuse longer ones; our sentences have a tenth of it.
MAX_COMMENT_CHARS: Final = 1_000


class Ability(StrEnum):
    """What a backend's API may be able to do."""

    RESOLVE = "resolve"
    REPORT = "report"
    REMOVE = "remove"
    PURGE = "purge"
    PURGE_MEDIA = "purge_media"
    ACCOUNT_ACTION = "account_action"


class Refusal(StrEnum):
    """Why something was not done.

    `RATE_LIMITED` and `UNAVAILABLE` may pass; the others stay until a person changes something.
    """

    NOT_SUPPORTED = "not_supported"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiFailure:
    """Something was not done.

    Attributes:
        kind: Why not.
        detail: The same for a person: what happened and what to do. Names no object, address or file.
        retry_after: When to ask again, if the backend said so.
        code: The server's own short word for it, where it gave one; for the adapters' eyes.
    """

    kind: Refusal
    detail: str
    retry_after: timedelta | None = None
    code: str = field(default="", repr=False)

    @property
    def may_pass(self) -> bool:
        """Tell whether the same request may succeed later."""
        return self.kind in {Refusal.RATE_LIMITED, Refusal.UNAVAILABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about, by its ids on the network; the adapter finds the local ones.

    Attributes:
        object_id: The id of the post or comment; empty where only the account is meant.
        actor_id: The id of its author; may be empty where there is an object.
    """

    object_id: str = field(default="", repr=False)
    actor_id: str = field(default="", repr=False)


class ObjectKind(StrEnum):
    """What an address turned out to be."""

    POST = "post"
    COMMENT = "comment"
    ACCOUNT = "account"
    COMMUNITY = "community"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The backend has the object, fetched from its origin if it had to.

    Attributes:
        kind: What it is there.
        local_id: Its id in the backend's API.
        account_id: The id of its author there, where the server says so; of an account its own.
    """

    kind: ObjectKind
    local_id: str
    account_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It was done, or was done already.

    Attributes:
        reference: The number that the backend gave to it, such as that of a report; may be empty.
    """

    reference: str = ""


class AccountAction(StrEnum):
    """What can be done to an account; the mildest first."""

    SENSITIVE = "sensitive"
    SILENCE = "silence"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCheck:
    """What a token may do.

    Attributes:
        account: Whose it is, where the token may ask that.
        usable: What works with it.
        missing: What does not work although the server could, with what stands in its way; half a sentence.
    """

    account: str = ""
    usable: frozenset[Ability] = frozenset()
    missing: Mapping[Ability, str] = field(default_factory=lambda: MappingProxyType({}))


class BackendApi(Protocol):
    """The API of the server behind the relay, used with the token that the admin gave."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What this server can do at all; what the token may do, `check_token` says."""
        ...

    async def check_token(self) -> TokenCheck | ApiFailure:
        """Ask what the token may do; changes nothing."""
        ...

    async def resolve(self, url: str) -> Resolved | ApiFailure:
        """Make the backend fetch an object from its origin, unless it has it."""
        ...

    async def report(self, target: Target, *, comment: str) -> Done | ApiFailure:
        """Report to the admin's own moderators, never to another server.

        Args:
            target: What is reported.
            comment: A neutral sentence; see `report_comment`.
        """
        ...

    async def remove(self, target: Target, *, reason: str) -> Done | ApiFailure:
        """Take a post or a comment down, so that moderators can still bring it back."""
        ...

    async def purge(self, target: Target, *, reason: str) -> Done | ApiFailure:
        """Delete a post or a comment with its media from the backend, for good."""
        ...

    async def purge_media(self, alias: str) -> Done | ApiFailure:
        """Delete one stored file for good, by its name in the backend's media store."""
        ...

    async def act_on_account(
        self, target: Target, *, action: AccountAction, reason: str
    ) -> Done | ApiFailure:
        """Act on an account. Only on a person's explicit word."""
        ...


def report_comment(case: str) -> str:
    """Write what a report says: neutral, since moderators' queues are read, mailed and federated widely.

    Args:
        case: The number of the case, under which those who may see more find it.
    """
    return f"Breakwater withheld media of this post. See case {case}."
