"""List and read what a pict-rs stores, through its own API.

pict-rs lists its files newest first, in parts that it names by slugs. What is stored while a sweep runs
stands before its beginning; the validator covers it. The place of a file is the slug of its part and its
name, so that a sweep goes on within a part; where that file was deleted meanwhile, the part is gone through
again.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from relay.backends.abilities import ApiFailure, Refusal
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
    from collections.abc import AsyncIterator

    from relay.backends.pictrs import MediaPage, PictrsApi, StoredMedia

_TROUBLES: Final = {
    Refusal.UNAUTHORIZED: Trouble.PERMISSION_DENIED,
    Refusal.FORBIDDEN: Trouble.PERMISSION_DENIED,
    Refusal.UNAVAILABLE: Trouble.UNREACHABLE,
    Refusal.RATE_LIMITED: Trouble.UNREACHABLE,
}


_BY_HAND: Final = (
    "Remove these files with Lemmy's moderation (purge the post or the picture). Once backend.software is "
    "lemmy and backend.token is that of a bot account, the relay can purge them by itself."
)


class PictrsSource:
    """A pict-rs."""

    def __init__(self, api: PictrsApi, *, url: str, max_bytes: int) -> None:
        self._api = api
        self._url = url
        self._max_bytes = max_bytes

    @property
    def name(self) -> str:
        """What tells it from other sources."""
        return f"pict-rs:{self._url}"

    @property
    def by_hand(self) -> str:
        """How a person removes a file, where the adapter does not do it."""
        return _BY_HAND

    async def check(self) -> None:
        """Find out whether it takes our key.

        Raises:
            SourceError: It does not, or cannot be reached.
        """
        failure = await self._api.check_key()
        if failure is not None:
            raise _broken(failure)

    async def count(self) -> None:
        """Count nothing: pict-rs does not say how much it has."""

    async def list_files(self, after: bytes) -> AsyncIterator[Entry]:
        """List the files behind a place, towards older ones.

        Raises:
            SourceError: The listing broke off.
        """
        slug, passed = _parse_place(after)
        while True:
            page = await self._list_page(slug)
            names = [_name_of(one) for one in page.media]
            behind = names.index(passed) + 1 if passed in names else 0
            for name in names[behind:]:
                yield _entry(name, slug)
            if not page.next_slug or page.next_slug == slug:
                return
            slug, passed = page.next_slug, ""

    @asynccontextmanager
    async def open(self, file: StoredFile) -> AsyncIterator[Opened]:
        """Open a file, which comes as a whole: up to `max_bytes` on each of the client's few connections.

        Raises:
            FileVanishedError: It is gone.
            FileUnreadableError: It cannot be read, or is longer than what is examined.
        """
        found = await self._api.fetch_original(file.alias, max_bytes=self._max_bytes)
        if isinstance(found, ApiFailure):
            if found.kind is Refusal.NOT_FOUND:
                raise FileVanishedError("the file is gone")
            raise FileUnreadableError(_TROUBLES.get(found.kind, Trouble.REFUSED))
        yield Opened(chunks=_split(found.data), content_type=found.content_type or None)

    async def _list_page(self, slug: str) -> MediaPage:
        page = await self._api.list_media(slug)
        if isinstance(page, ApiFailure):
            raise _broken(page)
        return page


async def _split(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


def _name_of(one: StoredMedia) -> str:
    return one.aliases[0] if one.aliases else ""


def _entry(name: str, slug: str) -> Entry:
    cursor = json.dumps([slug, name]).encode()
    if not name:
        # Without a name it cannot be shown to anybody, nor read.
        return PassedOver(name="(a file without a name)", cursor=cursor)
    return StoredFile(name=printable(name), cursor=cursor, key=name, alias=name)


def _parse_place(cursor: bytes) -> tuple[str, str]:
    if not cursor:
        return "", ""
    slug, name = json.loads(cursor)
    return str(slug), str(name)


def _broken(failure: ApiFailure) -> SourceError:
    sentence = failure.detail[:1].upper() + failure.detail[1:]
    return SourceError(
        f"pict-rs cannot be swept: {sentence}. What was not examined yet stays unexamined. Check that it "
        "runs, and backend.pictrs_url and backend.pictrs_key (its `server.api_key`); then run the command "
        "again."
    )
