"""What a service is asked, and what it may answer; a failure is a value, and never an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from datetime import timedelta

    from scanner.reduced import Copy
    from scanner.report import Finding, Report, UnscannableReason
    from signatures.strictjson import JsonObject


class FailureKind(StrEnum):
    """Why a service has not said anything about some media."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    MALFORMED = "malformed"
    """It answers something that its interface does not know."""
    REFUSED = "refused"
    """It does not want to look at this very file."""
    BREAKER_OPEN = "breaker_open"
    OVER_BUDGET = "over_budget"
    UNCOUNTED = "uncounted"
    """Our database could not count the request, so that it was not made."""
    BUSY = "busy"
    """Our own requests before this one took too long."""
    NO_COPY = "no_copy"
    """It takes a reduced copy at most, and none could be made."""


UNASKED = frozenset(
    {
        FailureKind.BREAKER_OPEN,
        FailureKind.OVER_BUDGET,
        FailureKind.UNCOUNTED,
        FailureKind.BUSY,
        FailureKind.NO_COPY,
    }
)
"""The service was not asked, so that this says nothing about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It is not known what the service would say.

    Attributes:
        kind: Why.
        retry_after: How long it asks to be left alone.
        reason: Why the media could not be shown to it, where our own scanner knows that.
    """

    kind: FailureKind
    retry_after: timedelta | None = None
    reason: UnscannableReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """The service does not know this kind of media.

    Attributes:
        takes_copies: It does not take these very bytes, but may take reduced copies of what they show.
    """

    takes_copies: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The service has looked.

    Attributes:
        findings: What it knows; empty where it knows nothing.
        is_sampled: Not every picture in the file was asked about.
    """

    findings: tuple[Finding, ...] = ()
    is_sampled: bool = False


Answer: TypeAlias = Answered | NotTaken | Failed


class Material(StrEnum):
    """What a service is shown of some media."""

    NOTHING = "nothing"
    """It does not know this kind of media."""
    ORIGINAL = "original"
    """The bytes or their hashes, as they are."""
    COPIES = "copies"
    """Reduced copies: it does not take files of this type or size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Some media that a service is asked about.

    Attributes:
        data: The bytes.
        report: What our own detectors say of them, with their hashes.
        copies: What goes to the service in place of the bytes; None where they go themselves.
    """

    data: bytes = field(repr=False)
    report: Report = field(repr=False)
    copies: tuple[Copy, ...] | None = field(default=None, repr=False)

    @property
    def is_copied_in_part(self) -> bool:
        """Whether the file shows more pictures than there are copies."""
        return self.copies is not None and len(self.copies) < self.report.facts.frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What others may know of a service that is switched on.

    Attributes:
        name: A stable name, as it stands in reports.
        version: Changes whenever our reading of the same answer may.
        essential: Media count as unscannable while it cannot be asked.
        advisory: What it says is reported and decides nothing.
        state: The settings that decide what is asked and how the answer is read; JSON-able, no floats.
    """

    name: str
    version: str
    essential: bool
    advisory: bool
    state: JsonObject


class Service(Protocol):
    """One service."""

    @property
    def facts(self) -> Facts:
        """What others may know of it."""

    def choose_material(self, report: Report) -> Material:
        """Choose what it is shown of media that such a report is about."""

    def count_requests(self, question: Question) -> int:
        """Count the requests that it takes to ask."""

    async def ask(self, question: Question) -> Answer:
        """Ask it."""

    async def probe(self) -> Failed | None:
        """Ask something harmless, to find out whether it answers us; None where it does."""
