"""Make one request and take what it is answered with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import hdrs
from yarl import URL

from relay.model import FetchFailure
from relay.tools.failures import REDIRECTS, Judge, failure_of
from relay.tools.policy import HTTP_PORT, FetchPolicy
from relay.tools.transfers import Body, Reserve, read_body
from signatures.message import Headers, header_values

if TYPE_CHECKING:
    from relay.clock import Clock
    from relay.tools.urls import FetchUrl


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as it is to be made.

    Attributes:
        follows: Redirects are wanted as such, without their bodies.
        judge: Decides from status and headers whether the body is read.
        reserve: Waits for room for the body as it arrives; None where it is short.
        patience: How much longer than others the far side may take to begin its answer, because it was asked
            to wait.
    """

    method: str
    url: FetchUrl
    headers: Headers
    body: bytes | None
    judge: Judge
    max_bytes: int
    follows: bool
    reserve: Reserve | None = None
    patience: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request was answered with.

    Attributes:
        url: The URL that answered.
        status: As received.
        headers: As received, in order; each octet is one character (ISO 8859-1).
        body: The octets after transfer decoding, content coding untouched; with their SHA-256.
    """

    url: FetchUrl
    status: int
    headers: Headers
    body: Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Where a request was sent on to; not read yet."""

    location: str


class Hopper:
    """Makes single requests on the pool of vetted connections."""

    def __init__(self, session: aiohttp.ClientSession, *, policy: FetchPolicy, clock: Clock) -> None:
        self._session = session
        self._policy = policy
        self._clock = clock
        # From the start of the request to the end of the answer's head.
        self._opening_seconds = (policy.connect_timeout + policy.first_byte_timeout).total_seconds()

    async def hop(self, ask: Ask) -> Answer | Redirect | FetchFailure:
        """Make one request; every failure is a value."""
        if not is_admissible(ask.url, self._policy):
            return FetchFailure.REFUSED_URL
        try:
            async with asyncio.timeout(self._opening_seconds + ask.patience.total_seconds()):
                response = await self._session.request(
                    ask.method,
                    URL(str(ask.url), encoded=True),
                    headers=self._complete(ask),
                    data=ask.body,
                    allow_redirects=False,
                )
            # Leaving this block with the body unread closes the connection, so that nothing of it stays in
            # the pool.
            async with response:
                return await self._take(ask, response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return failure_of(error)

    async def _take(self, ask: Ask, response: aiohttp.ClientResponse) -> Answer | Redirect | FetchFailure:
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers
        )
        if ask.follows and response.status in REDIRECTS:
            return _read_location(headers)
        refusal = ask.judge(response.status, headers)
        if refusal is not None:
            return refusal
        # RFC 9110 section 9.3.2: what a HEAD is answered with declares a length and has no body.
        declared = None if ask.method == "HEAD" else response.content_length
        if declared is not None and declared > ask.max_bytes:
            return FetchFailure.TOO_LARGE
        body = await read_body(
            response.content,
            max_bytes=ask.max_bytes,
            policy=self._policy,
            clock=self._clock,
            reserve=ask.reserve,
        )
        if isinstance(body, FetchFailure):
            return body
        return Answer(url=ask.url, status=response.status, headers=headers, body=body)

    def _complete(self, ask: Ask) -> list[tuple[str, str]]:
        """Build the whole header list; what the caller set stays as it is."""
        given = {name.lower() for name, _ in ask.headers}
        own = (
            ("Host", ask.url.authority),
            ("User-Agent", self._policy.user_agent),
            # What is hashed is what the origin stores, not one of its compressions.
            ("Accept-Encoding", "identity"),
        )
        return [pair for pair in own if pair[0].lower() not in given] + list(ask.headers)


def is_admissible(url: FetchUrl, policy: FetchPolicy, ports: frozenset[int] | None = None) -> bool:
    """Tell whether a URL's scheme and port may be asked for; its address is judged when it is dialled.

    Args:
        url: What is to be asked for.
        policy: The bounds.
        ports: The ports that may be dialled whatever the scheme; None for the policy's rules.
    """
    if ports is not None and url.port in ports:
        return True
    if url.address is not None and (url.address, url.port) in policy.allow_private:
        return True
    if ports is not None:
        return False
    if url.scheme == "http" and not policy.allow_http:
        return False
    admitted = policy.ports
    return admitted is None or url.port in admitted or (url.scheme == "http" and url.port == HTTP_PORT)


def _read_location(headers: Headers) -> Redirect | FetchFailure:
    locations = header_values(headers, hdrs.LOCATION)
    if len(locations) != 1:
        return FetchFailure.MALFORMED
    try:
        # Servers send names with accents as they stand in their file systems, in UTF-8.
        return Redirect(location=locations[0].encode("latin-1").decode())
    except UnicodeError:
        return FetchFailure.REFUSED_URL
