"""The values of fetching lists, in the order in which they come to exist."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from relay.errors import BreakwaterError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from db.list_records import Record
    from scanner.hashlist import ParsedList

Checkpoint = dict[str, Any]
"""Where an importer goes on: JSON values that it alone reads. Empty before the first page."""


class SourceKind(StrEnum):
    """How a place that gives out a list is spoken to."""

    NCMEC = "ncmec"
    STOPNCII = "stopncii"
    THREATEXCHANGE = "threatexchange"
    IWF = "iwf"
    CSV = "csv"
    JSON = "json"
    TEXT = "text"


class FailureKind(StrEnum):
    """Why a list was not fetched.

    `UNAVAILABLE` and `RATE_LIMITED` pass by themselves, and `CURSOR` by beginning the round again; the others
    stay until a person changes something, here or there.
    """

    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    CURSOR = "cursor"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    LOOP = "loop"
    CHANGED = "changed"
    SHRUNK = "shrunk"
    CREDENTIALS = "credentials"
    LEGAL = "legal"
    TAKEN_OVER = "taken_over"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFailure:
    """A list was not fetched, or not to its end.

    Attributes:
        kind: Why not.
        detail: What happened and what to do, for the admin. Names no hash and no credential.
        retry_after: When to ask again, if the far side said so.
    """

    kind: FailureKind
    detail: str
    retry_after: timedelta | None = None

    @property
    def may_pass(self) -> bool:
        """Tell whether the same request may succeed a little later."""
        return self.kind in {FailureKind.UNAVAILABLE, FailureKind.RATE_LIMITED}


class UnreadableAnswerError(BreakwaterError):
    """An answer is not what its source promises; the message says why in a few words and quotes nothing."""


def describe_unreadable(server: str, error: UnreadableAnswerError) -> SourceFailure:
    """Say for the admin that an answer cannot be read."""
    return SourceFailure(
        kind=FailureKind.MALFORMED,
        detail=f"The answer of {server} cannot be read ({error}). What came before it is kept. If it stays "
        "so, check the address, and tell the makers of Breakwater.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some records of a list, and where it goes on.

    Attributes:
        records: Their states.
        checkpoint: Where the next page begins, once these records are stored.
        cursor: What the next page is asked for with; empty where there is none. Comes again only in a loop.
        is_last: There is nothing more for now.
        begins_anew: It is the first one of a fetch from the beginning.
        ends_anew: It is the last one of such: what no page of it named does not exist any more.
        unusable: How many hashes it had of which kinds that we have no use for.
        total: About how many records the round has, where the far side says so.
    """

    records: tuple[Record, ...] = field(repr=False)
    checkpoint: Checkpoint
    cursor: str = ""
    is_last: bool
    begins_anew: bool = False
    ends_anew: bool = False
    unusable: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A whole list at once.

    Attributes:
        parsed: Its contents.
        checkpoint: By what to recognise that it has not changed.
        unusable: How many hashes it had of which kinds that we have no use for.
    """

    parsed: ParsedList = field(repr=False)
    checkpoint: Checkpoint
    unusable: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


class Importer(Protocol):
    """What speaks with one kind of source; it keeps nothing between two calls but what it was built with."""

    async def fetch(self, checkpoint: Checkpoint, *, now: datetime) -> Page | Snapshot | SourceFailure:
        """Fetch what comes after a checkpoint."""
        ...

    def restart(self, checkpoint: Checkpoint) -> Checkpoint:
        """Go back to where the round began that the checkpoint lies in; its cursor is of no use any more."""
        ...
