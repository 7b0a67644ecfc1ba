"""Ask strangers a few at a time, and leave those alone that keep us waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.model import FetchFailure
from relay.tools.gates import Gates
from relay.tools.standing import Standings
from relay.tools.urls import MalformedUrlError, parse_url

if TYPE_CHECKING:
    from relay.clock import Clock
    from relay.model import Media
    from relay.tools.documents import Document
    from relay.tools.fetching import GuardedClient, Signer
    from relay.tools.transfers import Reserve

# Half of the connections that the client opens to one origin, so that nobody waits for one of those and is
# then taken for slow.
MAX_REQUESTS_PER_HOST: Final = 8


class PoliteClient:
    """The guarded client, as examinations use it."""

    def __init__(self, client: GuardedClient, clock: Clock) -> None:
        self._client = client
        self._gates = Gates(MAX_REQUESTS_PER_HOST)
        self._standings = Standings(clock)

    async def fetch_media(
        self, url: str, *, max_bytes: int | None = None, reserve: Reserve | None = None
    ) -> Media | FetchFailure:
        """Fetch the bytes that a media reference points at; TIMEOUT from an origin that is left alone."""
        host = _host_of(url)
        async with self._gates.enter(host):
            if self._standings.is_left_alone(host):
                return FetchFailure.TIMEOUT
            answer = await self._client.fetch_media(url, max_bytes=max_bytes, reserve=reserve)
            self._note(host, answer)
            return answer

    async def fetch_document(self, url: str, *, signer: Signer | None = None) -> Document | FetchFailure:
        """Fetch an ActivityPub document; TIMEOUT from an origin that is left alone."""
        host = _host_of(url)
        async with self._gates.enter(host):
            if self._standings.is_left_alone(host):
                return FetchFailure.TIMEOUT
            answer = await self._client.fetch_document(url, signer=signer)
            self._note(host, answer)
            return answer

    def _note(self, host: str, answer: Media | Document | FetchFailure) -> None:
        self._standings.note(host, answer if isinstance(answer, FetchFailure) else None)


def _host_of(url: str) -> str:
    """Name the origin's host; empty for what the client is going to refuse."""
    try:
        return parse_url(url).host
    except MalformedUrlError:
        return ""
