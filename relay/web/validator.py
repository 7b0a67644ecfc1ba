"""The validator: pict-rs sends every file before it stores it, and stores what is answered with 200.

The verdict holds for exactly the bytes that were sent: they are hashed as they come in, and pict-rs stores
what it sent. They are not the origin's bytes, since pict-rs has processed those before, so that nothing is
attested.

pict-rs tells only 2xx from the rest and shows the status to its admin, so each refusal has a status of its
own:

    403  something was found, or a person ruled against these bytes
    422  they could not be examined, and the policy does not let such bytes pass; never a 5xx, since nothing
         is wrong with the relay and another try ends the same way
    429  it is not known yet, or too much is being examined. The examination goes on, so that another try is
         answered from what is known then. Of the 4xx this is the one that means "later" to every client and
         may carry Retry-After; 425 is about early data in TLS, and 408 about a request that did not come.
    503  the database does not answer

All refusals of a kind are the same to the last byte. Nothing in them says what was found.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from db.errors import DatabaseError
from relay.model import (
    Door,
    EvidenceBasis,
    FetchFailure,
    Location,
    Media,
    MediaDecision,
    MediaOutcome,
    MediaReference,
)
from relay.pipeline import Tools, examine_bytes, find_outcome
from relay.tools.media_types import essence_of
from relay.tools.policy import FetchPolicy
from relay.tools.transfers import read_body
from relay.web import problems
from relay.web.local import refuse

if TYPE_CHECKING:
    from datetime import timedelta

    from relay.tools.flights import Flights

_log = logging.getLogger(__name__)

MAX_UNDER_WAY: Final = 256
"""Requests at once. Two cores examine as many ordinary pictures within a fifth of the time that pict-rs
waits; who comes after them is better told so at once than at the end."""

# Most examinations take less than a second, and pict-rs leaves it to its users to try again.
_RETRY_AFTER_S: Final = 5

# The pace at which bodies have to come is that of strangers: pict-rs sends from a disk or an object store.
_PACE: Final = FetchPolicy()

# What is wrong with a body's framing, depending on which parser noticed.
_BROKEN: Final = (web.RequestPayloadError, web.PayloadAccessError, HttpProcessingError)


class ValidatorDoor:
    """Answer whether a file may be stored."""

    name: str = "validator"
    method: str = hdrs.METH_POST

    def __init__(
        self,
        *,
        tools: Tools,
        flights: Flights[tuple[bytes, str | None, bytes], MediaOutcome],
        within: timedelta,
        max_under_way: int = MAX_UNDER_WAY,
    ) -> None:
        """Take what the door works with.

        Args:
            tools: The line's.
            flights: The examinations under way, by digest, declared type and the state of the scanner.
            within: How long the sender waits, from the first byte of its request.
            max_under_way: Requests at once.
        """
        self._tools = tools
        self._flights = flights
        self._within = within
        self._max_under_way = max_under_way
        self._under_way = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answer for one file."""
        if self._under_way >= self._max_under_way:
            return _too_busy()
        self._under_way += 1
        try:
            return await self._validate(request)
        finally:
            self._under_way -= 1

    async def _validate(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(self._within.total_seconds()), AsyncExitStack() as held:
                media = await self._read(request, held)
                if isinstance(media, web.Response):
                    return media
                reference = _refer(media)
                # First what is known: an examination that began before a person ruled does not know of it.
                outcome = await find_outcome(
                    media.sha256, reference, door=Door.VALIDATOR, tools=self._tools
                ) or await self._flights.share(
                    (media.sha256, media.content_type, self._tools.scans.scanning.state_digest),
                    lambda: self._examine(media, reference, held),
                )
        except TimeoutError:
            return _not_known_yet()
        except DatabaseError as error:
            _log.error("validation_without_database error=%s", type(error).__name__)
            return problems.cannot_look()
        except _BROKEN:
            return refuse(400, "Broken body", "The body of the request did not come in whole.")
        return _answer(outcome)

    async def _read(self, request: web.Request, held: AsyncExitStack) -> Media | web.Response:
        """Read the file, which counts as being in memory until `held` is closed; or say what is wrong."""
        codings = request.headers.getall(hdrs.CONTENT_ENCODING, ())
        if any(coding.lower() != "identity" for coding in codings):
            # What would be examined are not the bytes that were sent.
            return refuse(415, "Coded body", "Send the file as it is, without a content coding.")
        account = await held.enter_async_context(self._tools.memory.open_account())
        most = self._tools.max_media_bytes
        body = await read_body(
            request.content, max_bytes=most, policy=_PACE, clock=self._tools.clock, reserve=account.grow
        )
        if body is FetchFailure.TOO_LARGE:
            return refuse(413, "File too large", f"A file may have at most {most} bytes.")
        if isinstance(body, FetchFailure):
            return refuse(408, "Body too slow", "The file did not arrive in time. Send it again.")
        if not body.data:
            return refuse(400, "Empty body", "There is no file in the request.")
        declared = essence_of(request.headers.get(hdrs.CONTENT_TYPE, ""))
        return Media(data=body.data, sha256=body.sha256, content_type=declared or None)

    async def _examine(self, media: Media, reference: MediaReference, held: AsyncExitStack) -> MediaOutcome:
        """Examine a file to the end, whether or not anybody still waits for the answer."""
        # From here on it is this examination that holds the bytes, not the request that brought them.
        async with held.pop_all():
            return await examine_bytes(media, reference, door=Door.VALIDATOR, tools=self._tools)


def _refer(media: Media) -> MediaReference:
    return MediaReference(url="", location=Location.INGEST, declared_type=media.content_type)


def _answer(outcome: MediaOutcome) -> web.Response:
    if outcome.decision is MediaDecision.RELEASE:
        return web.json_response({})
    if outcome.retry:
        # Nobody could look: that says how the relay is, not what the bytes are.
        return _not_known_yet()
    if outcome.category is not None or outcome.evidence.basis is EvidenceBasis.RULING:
        return refuse(403, "File refused", "This file may not be stored here.")
    return refuse(422, "File not examined", "This file could not be examined, and such files are not stored.")


def _not_known_yet() -> web.Response:
    return refuse(
        429,
        "Not known yet",
        "It is not known yet whether this file may be stored. Send it again later.",
        retry_after_s=_RETRY_AFTER_S,
    )


def _too_busy() -> web.Response:
    return refuse(
        429,
        "Too much at once",
        "Too many files are being examined. Send this one again later.",
        retry_after_s=_RETRY_AFTER_S,
    )
