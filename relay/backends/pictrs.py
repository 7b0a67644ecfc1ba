"""pict-rs, from 0.5: the media store behind a Lemmy.

With its API key it lists what it stores, newest first, gives every file out and deletes files for good. It
does not know which post a file belongs to, and it does not bring back what it deleted.

Source: https://git.asonix.dog/asonix/pict-rs (README, API: /image/original, /internal/hashes,
/internal/purge, /internal/delete).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from relay.backends.abilities import ApiFailure, Done, Refusal
from relay.backends.reading import dig, dig_text, iterate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.backends.api import ApiClient, Fetched
    from relay.backends.reading import Json

# Few enough for one answer to come at once, enough for a million files in ten thousand answers.
_PAGE_SIZE: Final = 100
_MAX_ALIAS_CHARS: Final = 2_048

PICTRS_CODES: Final[Mapping[str, Refusal]] = MappingProxyType(
    {
        "invalid-api-token": Refusal.UNAUTHORIZED,
        "not-found": Refusal.NOT_FOUND,
        "missing-alias": Refusal.NOT_FOUND,
        "No hash associated with provided alias": Refusal.NOT_FOUND,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMedia:
    """A file in the store.

    Attributes:
        aliases: The names under which it is given out.
        content_type: What it is, as the store found out; empty where it does not say.
    """

    aliases: tuple[str, ...] = field(repr=False)
    content_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPage:
    """A part of the list of files.

    Attributes:
        media: The files.
        next_slug: Where the list goes on; empty at its end.
    """

    media: tuple[StoredMedia, ...]
    next_slug: str = field(repr=False)


class PictrsApi:
    """The API of a pict-rs."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def check_key(self) -> ApiFailure | None:
        """Ask whether it works and takes the key; None if so."""
        health = await self._client.get("/healthz")
        if isinstance(health, ApiFailure):
            return health
        page = await self._client.get("/internal/hashes", {"limit": "1"})
        return page if isinstance(page, ApiFailure) else None

    async def list_media(self, slug: str = "") -> MediaPage | ApiFailure:
        """List a part of what is stored.

        Args:
            slug: The `next_slug` of the part before; empty for the newest files.
        """
        params = {"limit": str(_PAGE_SIZE), **({"slug": slug} if slug else {})}
        answer = await self._client.get("/internal/hashes", params)
        if isinstance(answer, ApiFailure):
            return answer
        page = dig(answer, "page")
        if not isinstance(dig(page, "hashes"), list):
            return self._client.place.fail(Refusal.UNAVAILABLE, why="an answer that cannot be read")
        return MediaPage(
            media=tuple(_read_media(one) for one in iterate(page, "hashes")),
            next_slug=dig_text(page, "next"),
        )

    async def fetch_original(self, alias: str, *, max_bytes: int) -> Fetched | ApiFailure:
        """Fetch a stored file, as it is stored."""
        if not _is_alias(alias):
            return self._client.place.fail(Refusal.NOT_FOUND, why="no name of a file")
        return await self._client.fetch(f"/image/original/{quote(alias, safe='')}", max_bytes=max_bytes)

    async def purge(self, alias: str) -> Done | ApiFailure:
        """Delete a file with all its names and variants."""
        answer = await self._client.post("/internal/purge", params={"alias": alias})
        if isinstance(answer, ApiFailure):
            # What is not there needs no deleting: an errand may run twice.
            return Done() if answer.kind is Refusal.NOT_FOUND and answer.code else answer
        return Done()


def _read_media(one: Json) -> StoredMedia:
    aliases = dig(one, "aliases")
    names = aliases if isinstance(aliases, list) else []
    return StoredMedia(
        aliases=tuple(name for name in names if isinstance(name, str) and _is_alias(name)),
        content_type=dig_text(one, "details", "content_type"),
    )


def _is_alias(name: str) -> bool:
    return 0 < len(name) <= _MAX_ALIAS_CHARS and name not in {".", ".."} and name.isprintable()
