"""What a sweep asks of a place where files are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from relay.errors import BreakwaterError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

CHUNK_BYTES: Final = 262_144
"""Most pictures are read in one piece, and of what is no media no more than this."""


class SourceError(BreakwaterError):
    """The whole source cannot be used: what happened, what it means and what to do."""


class FileVanishedError(BreakwaterError):
    """A file was listed and is gone; servers delete files all the time."""


class Trouble(StrEnum):
    """Why one file, or one directory, could not be read."""

    PERMISSION_DENIED = "permission_denied"
    ARCHIVED = "archived"
    UNREACHABLE = "unreachable"
    SERVER_ERROR = "server_error"
    REFUSED = "refused"
    IO_ERROR = "io_error"


class FileUnreadableError(BreakwaterError):
    """A file is there and cannot be read."""

    def __init__(self, trouble: Trouble) -> None:
        """Keep why."""
        super().__init__(f"the file cannot be read ({trouble.value})")
        self.trouble = trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that is to be examined.

    Attributes:
        name: Its name for a person, without what a terminal would act upon.
        cursor: Its place in the order of its source.
        key: By what the source finds it again.
        alias: Its name in the backend's media store, by which an adapter removes it; empty where there is
            none.
    """

    name: str = field(repr=False)
    cursor: bytes = field(repr=False)
    key: str | bytes = field(repr=False)
    alias: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """What is listed and not examined.

    Attributes:
        name: Its name for a person.
        cursor: Its place in the order of its source.
        trouble: Why it cannot be read; None where it is left out on purpose (hidden, temporary, a link).
        is_gone: It vanished while it was listed.
    """

    name: str = field(repr=False)
    cursor: bytes = field(repr=False)
    trouble: Trouble | None = None
    is_gone: bool = False


Entry: TypeAlias = StoredFile | PassedOver


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file that is being read.

    Attributes:
        chunks: Its bytes; whoever has read enough stops.
        content_type: What the store calls it; None where it says nothing.
    """

    chunks: AsyncIterator[bytes]
    content_type: str | None = None


class Source(Protocol):
    """A place where files are stored."""

    @property
    def name(self) -> str:
        """What tells it from other sources, without any credential."""
        ...

    @property
    def by_hand(self) -> str:
        """How a person removes a file through the server, where no adapter does it."""
        ...

    async def check(self) -> None:
        """Find out whether it can be used at all.

        Raises:
            SourceError: It cannot.
        """
        ...

    async def count(self) -> int | None:
        """Count what would be listed; None where that takes as long as the sweep."""
        ...

    def list_files(self, after: bytes) -> AsyncIterator[Entry]:
        """List what comes after a place in the source's order; everything after the empty one.

        Raises:
            SourceError: The listing broke off.
        """
        ...

    def open(self, file: StoredFile) -> AbstractAsyncContextManager[Opened]:
        """Open a file for reading; its bytes come in the order in which they lie.

        Raises:
            FileVanishedError: It is gone.
            FileUnreadableError: It cannot be read.
        """
        ...


def printable(text: str) -> str:
    """Replace what a terminal would act upon, or cannot show."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
