"""The media front as a whole: what is asked for is fetched from the server behind, examined, delivered."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import web

from relay.model import Door, FetchFailure, Location, MediaDecision
from relay.stages.decide import Condition
from relay.tools.copies import make_directory
from relay.tools.flights import open_flights
from relay.web.front import answers
from relay.web.front.asking import FrontReader
from relay.web.front.vouching import Voucher
from relay.web.gateway.delivery import send
from relay.web.gateway.headers import build_answer_headers, build_request_headers
from relay.web.gateway.passage import Passage
from relay.web.gateway.verdicts import Verdicts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.line import Tools
    from relay.metrics import Metrics
    from relay.tools.fetching import GuardedClient
    from relay.tools.streams import Stream
    from relay.tools.urls import FetchUrl
    from relay.web.edge import Network
    from relay.web.gateway.asking import Asked

_log = logging.getLogger(__name__)

NAME: Final = "media_front"

# Whoever asked gives up about then; the examination goes on, and the next request finds its verdict.
DECIDE_WITHIN: Final = timedelta(seconds=30)
# The reverse proxy takes an answer as fast as the loop gives it, so that each is here for moments. Each may
# hold a mebibyte of memory, and as much of the disk as media may have.
MAX_AT_ONCE: Final = 128
# Longer than the burst of readers that a post brings; who waited for so long is told to come again.
_WAIT_WITHIN: Final = timedelta(seconds=10)

_PARTIAL: Final = 206
_UNSATISFIABLE: Final = 416
_RANGE: Final = frozenset({"range", "if-range"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSettings:
    """How the media front works.

    Attributes:
        upstream: Where the server's own media are; only its scheme, host and port count.
        paths: The beginnings of the paths that it answers for.
        trusted_proxies: Who may say whom a request comes from.
        copies: The directory in which long copies lie, sealed; made if it is not there.
        via: The name that its own requests carry; see `relay.tools.own_media.name_front`.
    """

    upstream: FetchUrl
    paths: tuple[str, ...]
    trusted_proxies: tuple[Network, ...]
    copies: Path
    via: str


class MediaFront:
    """Answer for the server's own media.

    Args:
        reader: Reads what is asked for.
        client: Asks the server behind.
        passage: Delivers what may pass of its answer.
        metrics: Counts the answers.
    """

    def __init__(
        self, reader: FrontReader, client: GuardedClient, passage: Passage, *, metrics: Metrics
    ) -> None:
        self._reader = reader
        self._client = client
        self._passage = passage
        self._metrics = metrics
        self._places = asyncio.Semaphore(MAX_AT_ONCE)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        response = await self._answer(request)
        self._metrics.count_door_answer(door=NAME, status=response.status)
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = self._reader.read(request)
        if isinstance(asked, web.Response):
            return asked
        try:
            async with asyncio.timeout(_WAIT_WITHIN.total_seconds()):
                await self._places.acquire()
        except TimeoutError:
            return answers.not_yet()
        try:
            headers = build_request_headers(asked.headers, via=self._reader.via)
            async with self._client.open_stream("GET", asked.url, headers=headers, body=None) as stream:
                return await self._passage.deliver(request, asked, stream)
        finally:
            self._places.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsOfUnseen:
    """Let the server behind answer for parts of media that the admin's policy releases unseen.

    Players seek in videos that are too long to be held here, and some play none that comes as a whole.

    Attributes:
        client: Asks the server.
        via: The name that our own requests carry.
    """

    client: GuardedClient
    via: str

    async def deliver(
        self, request: web.BaseRequest, asked: Asked, stream: Stream
    ) -> web.StreamResponse | None:
        """Ask again with the range that was asked for; None where the whole was."""
        ranges = tuple(pair for pair in asked.headers if pair[0].lower() in _RANGE)
        if not ranges:
            return None
        stream.abandon()
        headers = (*build_request_headers(asked.headers, via=self.via), *ranges)
        async with self.client.open_stream("GET", asked.url, headers=headers, body=None) as part:
            if isinstance(part, FetchFailure):
                return answers.failed(part)
            if part.status not in (_PARTIAL, _UNSATISFIABLE):
                # Something else than a moment ago, which nobody has decided about.
                return answers.not_yet()
            return await send(
                request,
                status=part.status,
                reason=part.reason,
                headers=build_answer_headers(part.headers),
                body=part.chunks(),
            )


@asynccontextmanager
async def open_media_front(
    settings: FrontSettings, *, tools: Tools, client: GuardedClient
) -> AsyncIterator[MediaFront]:
    """Open what answers for the server's own media; somebody else lets it listen.

    Args:
        settings: How it works.
        tools: What the line works with.
        client: Asks the server behind; see `relay.tools.own_media`.

    Raises:
        StartupError: The directory cannot be made.
    """
    if tools.policy.conditions[Condition.UNSCANNABLE] is not MediaDecision.RELEASE:
        _log.warning(
            "media_front_withholds_unscannable Your server's own videos, and all else that cannot be "
            "decoded, are not served until somebody releases them. Set policy.conditions.unscannable to "
            "release if they shall be."
        )
    async with AsyncExitStack() as stack:
        passage = Passage(
            verdicts=Verdicts(
                tools,
                await stack.enter_async_context(open_flights()),
                within=DECIDE_WITHIN,
                door=Door.UPLOADS,
                location=Location.UPLOAD,
            ),
            copies=make_directory(settings.copies),
            max_bytes=tools.max_media_bytes,
            words=answers,
            describe=Voucher(tools=tools).describe,
            pass_unseen=PartsOfUnseen(client=client, via=settings.via).deliver,
        )
        reader = FrontReader(
            upstream=settings.upstream,
            paths=settings.paths,
            trusted_proxies=settings.trusted_proxies,
            via=settings.via,
        )
        yield MediaFront(reader, client, passage, metrics=tools.metrics)
