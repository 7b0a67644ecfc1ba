"""Fetch the server's own media from where they are, past the media front.

The front does not give out what was withheld, and what is not given out cannot be looked at again. So the
relay itself asks the server behind the front, and everybody else asks the front.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final, Protocol

from relay.model import FetchFailure
from relay.tools.fetching import open_guarded_client
from relay.tools.policy import FetchPolicy
from relay.tools.urls import MalformedUrlError, parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.clock import Clock
    from relay.model import Media
    from relay.tools.fetching import GuardedClient
    from relay.tools.transfers import Reserve
    from relay.tools.urls import FetchUrl

# Nobody else writes 96 bits of chance into a header.
_NAME_CHARACTERS: Final = 24
_ANYWHERE: Final = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


class Outside(Protocol):
    """What fetches as the world does."""

    async def fetch_media(  # noqa: D102 (as `OwnMedia`)
        self, url: str, *, max_bytes: int | None = None, reserve: Reserve | None = None
    ) -> Media | FetchFailure: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMedia:
    """Fetch media of the server's own, and whatever else it names.

    Attributes:
        upstream: Where the media are; only its scheme, host and port count.
        paths: The beginnings of their paths, as the front has them.
        inside: Asks there; see `open_upstream_client`.
        outside: Fetches what is not there.
    """

    upstream: FetchUrl
    paths: tuple[str, ...]
    inside: GuardedClient
    outside: Outside

    async def fetch_media(
        self, url: str, *, max_bytes: int | None = None, reserve: Reserve | None = None
    ) -> Media | FetchFailure:
        """Fetch the bytes behind a URL whose host is the server's own, which the caller has seen to."""
        try:
            asked = parse_url(url)
        except MalformedUrlError:
            return FetchFailure.REFUSED_URL
        if not asked.target.startswith(self.paths):
            return await self.outside.fetch_media(url, max_bytes=max_bytes, reserve=reserve)
        found = await self.inside.fetch_media(
            build_inner_url(self.upstream, asked.target),
            max_bytes=max_bytes,
            # Another machine goes by its own name, what is beside us by the instance's.
            headers=() if self.upstream.scheme == "https" else (("Host", asked.authority),),
            reserve=reserve,
        )
        if found is FetchFailure.TOO_MANY_REDIRECTS:
            # The media are elsewhere, where the world fetches them past the front, too.
            return await self.outside.fetch_media(url, max_bytes=max_bytes, reserve=reserve)
        return found


def build_inner_url(upstream: FetchUrl, target: str) -> str:
    """Return the URL at which the server itself has what is asked for."""
    return f"{upstream.scheme}://{upstream.authority}{target}"


def name_front(secret: bytes) -> str:
    """Return the name by which the media front knows its own requests, in every process of a relay."""
    return hmac.new(secret, b"media front", hashlib.sha256).hexdigest()[:_NAME_CHARACTERS]


@asynccontextmanager
async def open_upstream_client(clock: Clock) -> AsyncIterator[GuardedClient]:
    """Open a client for the one server that the admin names, wherever it is; it follows no redirect.

    The caller sees to it that no stranger chooses the host.
    """
    policy = FetchPolicy(allow_http=True, ports=None, allow_private=_ANYWHERE, max_redirects=0)
    async with open_guarded_client(policy, clock) as client:
        yield client
