"""List and read the files under a directory.

The order is that of the names' bytes, directory by directory, whatever the file system says. Links are not
followed, neither as directories nor as files, so that nothing outside the directory is read.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from relay.sweep.source import (
    CHUNK_BYTES,
    Entry,
    FileUnreadableError,
    FileVanishedError,
    Opened,
    PassedOver,
    SourceError,
    StoredFile,
    Trouble,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

# Listed in one go in a thread, so that the loop is neither stopped nor asked too often.
_BATCH: Final = 256

_TEMPORARY: Final = (b"~", b".tmp", b".part", b".partial", b".swp")
"""How files end that somebody is still writing."""

# A link that took the place of a file is not followed, and a pipe that did makes nobody wait.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_BY_HAND: Final = (
    "Remove these files through your server (its moderation pages or its own command), never on the disk: "
    "its database would go on naming them, and it could fetch them again."
)


class LocalSource:
    """A directory."""

    def __init__(self, path: Path) -> None:
        # A link at the top is the admin's own choice.
        self._root = os.fsencode(path.resolve())

    @property
    def name(self) -> str:
        """What tells it from other sources."""
        return f"local:{printable(os.fsdecode(self._root))}"

    @property
    def by_hand(self) -> str:
        """How a person removes a file through the server."""
        return _BY_HAND

    async def check(self) -> None:
        """Find out whether the directory can be listed.

        Raises:
            SourceError: It cannot.
        """
        shown = printable(os.fsdecode(self._root))
        try:
            with await asyncio.to_thread(os.scandir, self._root):
                pass
        except OSError as error:
            raise SourceError(
                f"The directory {shown} cannot be listed ({error.strerror}). Nothing was examined. Check the "
                "path, and run the command as a user who may read what your server stores."
            ) from error

    async def count(self) -> int:
        """Count what would be listed."""
        return await asyncio.to_thread(lambda: sum(1 for _ in _walk(self._root, b"")))

    async def list_files(self, after: bytes) -> AsyncIterator[Entry]:
        """List what comes after a path in the order of the names' bytes."""
        entries = _walk(self._root, after)
        while batch := await asyncio.to_thread(lambda: list(islice(entries, _BATCH))):
            for entry in batch:
                yield entry

    @asynccontextmanager
    async def open(self, file: StoredFile) -> AsyncIterator[Opened]:
        """Open a file.

        Raises:
            FileVanishedError: It is gone.
            FileUnreadableError: It cannot be read, or is a file no more.
        """
        descriptor = await asyncio.to_thread(_open, _join(self._root, file.cursor))
        try:
            yield Opened(chunks=_read(descriptor))
        finally:
            os.close(descriptor)


async def _read(descriptor: int) -> AsyncIterator[bytes]:
    try:
        while chunk := await asyncio.to_thread(os.read, descriptor, CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise FileUnreadableError(_trouble_of(error)) from error


def _open(path: bytes) -> int:
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileVanishedError("the file is gone") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileVanishedError("a link took its place") from error
        raise FileUnreadableError(_trouble_of(error)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileVanishedError("something else took its place")
    return descriptor


def _join(root: bytes, path: bytes) -> bytes:
    """Join paths as bytes: names need not be text in any encoding."""
    return root + b"/" + path


def _trouble_of(error: OSError) -> Trouble:
    return Trouble.PERMISSION_DENIED if isinstance(error, PermissionError) else Trouble.IO_ERROR


class _Kind(Enum):
    FILE = auto()
    DIRECTORY = auto()
    LEFT_OUT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """A directory in which the walk is.

    Attributes:
        prefix: Its path with a slash behind it; empty for the root.
        entries: What is still to come, in order.
        passed: Where in it, and below, an earlier walk had come to; empty for the beginning.
    """

    prefix: bytes
    entries: Iterator[tuple[bytes, _Kind]]
    passed: list[bytes]


def _walk(root: bytes, after: bytes) -> Iterator[Entry]:
    """Walk depth first, from behind `after` on."""
    listed = _list_directory(root, b"")
    if isinstance(listed, PassedOver):
        yield listed
        return
    # A stack of our own: directories may lie deeper than Python's calls.
    levels = [_Level(prefix=b"", entries=iter(listed), passed=after.split(b"/") if after else [])]
    while levels:
        level = levels[-1]
        name, kind = next(level.entries, (b"", _Kind.LEFT_OUT))
        if not name:
            levels.pop()
            continue
        if level.passed and name < level.passed[0]:
            continue
        is_on_the_way = bool(level.passed) and name == level.passed[0]
        below = level.passed[1:] if is_on_the_way else []
        if is_on_the_way and not below:
            continue
        path = level.prefix + name
        if kind is not _Kind.DIRECTORY:
            yield _entry(path, kind)
            continue
        listed = _list_directory(root, path)
        if isinstance(listed, PassedOver):
            yield listed
        else:
            levels.append(_Level(prefix=path + b"/", entries=iter(listed), passed=below))


def _entry(path: bytes, kind: _Kind) -> Entry:
    name = printable(os.fsdecode(path))
    if kind is _Kind.FILE:
        return StoredFile(name=name, cursor=path, key=path)
    return PassedOver(name=name, cursor=path)


def _list_directory(root: bytes, path: bytes) -> list[tuple[bytes, _Kind]] | PassedOver:
    """List a directory in the order of the names' bytes; say so where that cannot be done."""
    try:
        with os.scandir(_join(root, path)) as entries:
            return sorted(((entry.name, _kind_of(entry)) for entry in entries), key=itemgetter(0))
    except FileNotFoundError:
        return PassedOver(name=printable(os.fsdecode(path)), cursor=path, is_gone=True)
    except OSError as error:
        return PassedOver(name=printable(os.fsdecode(path)), cursor=path, trouble=_trouble_of(error))


def _kind_of(entry: os.DirEntry[bytes]) -> _Kind:
    if entry.name.startswith(b".") or entry.name.lower().endswith(_TEMPORARY):
        return _Kind.LEFT_OUT
    try:
        if entry.is_dir(follow_symlinks=False):
            return _Kind.DIRECTORY
        return _Kind.FILE if entry.is_file(follow_symlinks=False) else _Kind.LEFT_OUT
    except OSError:
        # To open it will say what is the matter.
        return _Kind.FILE
