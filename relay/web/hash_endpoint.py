"""The hash endpoint: PieFed names a picture and gets its PDQ hash, to hold it against its own block list.

This is the one place where a perceptual hash is answered: to the admin's own backend, on a private address,
under a path with a secret, and for any picture alike, whatever our own lists say about it. Nothing is looked
up, decided, kept or logged here, the hash and the address least of all. The picture itself is examined by the
doors that it passes on its way.

The picture is fetched like anything that strangers point at, and decoded in the sandbox. A flat picture has a
hash that says nothing, and its quality says so: PieFed takes a hash of quality 70 and more. It tries again
after a 429 and takes any other status to mean that there is no hash.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from aiohttp import hdrs, web

from relay.model import FetchFailure, Media
from relay.tools.urls import MalformedUrlError, parse_url
from relay.web.local import refuse
from scanner.report import PdqHash, UnscannableReason

if TYPE_CHECKING:
    from datetime import datetime

    from relay.pipeline import Tools
    from relay.tools.flights import Flights

# The worker of PieFed that asks stands still meanwhile. The fetch goes on, and who asks again joins it.
ANSWER_WITHIN: Final = timedelta(seconds=30)

_RETRY_AFTER_S: Final = 5
_MINUTE: Final = timedelta(minutes=1)

# 256 characters, the highest bit first, as the reference hasher lists them.
_BINARY: Final = "0256b"


@dataclass(frozen=True, slots=True, kw_only=True)
class TooMany:
    """As many pictures as are allowed were hashed within a minute; in this time the next may be."""

    wait: timedelta


Hashed: TypeAlias = PdqHash | FetchFailure | UnscannableReason | TooMany
"""What came of one picture."""


class PerMinute:
    """Admit so many within any minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._admitted: deque[datetime] = deque()

    def admit(self, now: datetime) -> timedelta | None:
        """Take a place; where there is none, say in what time there will be one."""
        while self._admitted and now - self._admitted[0] >= _MINUTE:
            self._admitted.popleft()
        if len(self._admitted) >= self._most:
            return self._admitted[0] + _MINUTE - now
        self._admitted.append(now)
        return None


class HashDoor:
    """Answer the hashes of pictures."""

    name: str = "hash_endpoint"
    method: str = hdrs.METH_GET

    def __init__(
        self,
        *,
        tools: Tools,
        flights: Flights[str, Hashed],
        per_minute: int,
        within: timedelta = ANSWER_WITHIN,
    ) -> None:
        """Take what the door works with.

        Args:
            tools: The line's: what fetches, what decodes, and the memory for both.
            flights: What is being hashed, by address.
            per_minute: The most pictures that are fetched within a minute.
            within: How long one answer may take.
        """
        self._tools = tools
        self._flights = flights
        self._rate = PerMinute(per_minute)
        self._within = within

    async def handle(self, request: web.Request) -> web.Response:
        """Answer with the hash of the picture at `image_url`."""
        named = request.query.getall("image_url", [])
        try:
            url = str(parse_url(named[0])) if len(named) == 1 else None
        except MalformedUrlError:
            url = None
        if url is None:
            return _bad_url()
        try:
            async with asyncio.timeout(self._within.total_seconds()):
                hashed = await self._flights.share(url, lambda: self._hash(url))
        except TimeoutError:
            return _respond(FetchFailure.TIMEOUT)
        return _respond(hashed)

    async def _hash(self, url: str) -> Hashed:
        wait = self._rate.admit(self._tools.clock.now())
        if wait is not None:
            return TooMany(wait=wait)
        async with self._tools.memory.open_account() as account:
            media = await self._tools.client.fetch_media(
                url, max_bytes=self._tools.max_media_bytes, reserve=account.grow
            )
            if not isinstance(media, Media):
                return media
            return await self._tools.scans.scanning.hash_picture(media.data)


def _respond(hashed: Hashed) -> web.Response:
    match hashed:
        case PdqHash(bits=bits, quality=quality):
            answer = {"pdq_hash_binary": format(int.from_bytes(bits), _BINARY), "quality": quality}
            return web.json_response(answer, headers={"Cache-Control": "no-store"})
        case TooMany(wait=wait):
            return refuse(
                429,
                "Too many pictures",
                "As many pictures as are allowed were hashed within the last minute. Ask again later.",
                retry_after_s=math.ceil(wait.total_seconds()),
            )
        case UnscannableReason.DETECTOR_UNAVAILABLE:
            return refuse(
                503,
                "No decoder free",
                "The picture could not be decoded now. Ask again later.",
                retry_after_s=_RETRY_AFTER_S,
            )
        case UnscannableReason():
            return _no_picture()
        case FetchFailure():
            return _respond_to_failure(hashed)
    assert_never(hashed)


def _respond_to_failure(failure: FetchFailure) -> web.Response:
    match failure:
        case FetchFailure.REFUSED_URL | FetchFailure.REFUSED_ADDRESS:
            return _bad_url()
        case FetchFailure.TOO_LARGE | FetchFailure.ACTIVITY_AS_MEDIA:
            return _no_picture()
        case FetchFailure.TIMEOUT | FetchFailure.TOO_SLOW:
            return refuse(504, "Picture too slow", "The picture did not arrive in time.")
        case (
            FetchFailure.UNRESOLVED
            | FetchFailure.UNREACHABLE
            | FetchFailure.TLS
            | FetchFailure.TOO_MANY_REDIRECTS
            | FetchFailure.GONE
            | FetchFailure.FORBIDDEN
            | FetchFailure.SERVER_ERROR
            | FetchFailure.MALFORMED
        ):
            return refuse(502, "Picture not fetched", "The picture's server did not hand it out.")
    assert_never(failure)


def _bad_url() -> web.Response:
    return refuse(400, "Address refused", "Name one picture by an address that may be fetched: ?image_url=…")


def _no_picture() -> web.Response:
    return refuse(422, "No picture", "What lies there is no picture that can be hashed.")
