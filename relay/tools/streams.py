"""Make one request and pass its answer on while it arrives.

What `relay.tools.hops` reads to the end within a bound on its size, this hands out piece by piece, with
no bound on the size and nothing changed: the gateway speaks for the backend, whose request and whose answer
these are. The connections are the same vetted ones, and their pool is shared.

Two clocks run. The origin's stands still while the one who reads is busy elsewhere, so that a slow reader
is never taken for a slow origin; how long a reader may take, the caller must bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import hdrs
from yarl import URL

from relay.errors import BreakwaterError
from relay.model import FetchFailure
from relay.tools.failures import failure_of
from signatures.message import Headers, header_values

if TYPE_CHECKING:
    from types import SimpleNamespace, TracebackType

    from relay.clock import Clock
    from relay.tools.policy import FetchPolicy
    from relay.tools.urls import FetchUrl

# RFC 9110 section 5.1 and 5.5: field names are ASCII, values are octets; each is one character here.
_HEADER_ENCODING: Final = "latin-1"
# What is handed out at once: half of what the loop may bring, since whoever reads holds it once more.
MAX_CHUNK_BYTES: Final = 128 * 1024

# RFC 9110 section 5.6.2. RFC 9112 section 5.1 has a proxy remove what is white between a name and its colon;
# whoever sends it wants to be read in two ways.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class TransferBroken(BreakwaterError):  # noqa: N818 (it says what happened to the transfer, not to us)
    """A body did not arrive whole; what came of it must not be taken for the whole.

    Attributes:
        failure: Why.
    """

    def __init__(self, failure: FetchFailure) -> None:
        super().__init__(f"The body did not arrive whole ({failure.value}).")
        self.failure = failure


class Stream:
    """The answer to a request, its body still to come.

    Attributes:
        url: The URL that answered.
        status: As received.
        reason: As received.
        headers: As received, in order; each octet is one character (ISO 8859-1). Those of the connection
            and the framing are among them, and are not meant for anybody else.
    """

    def __init__(
        self,
        url: FetchUrl,
        response: aiohttp.ClientResponse,
        *,
        headers: Headers,
        policy: FetchPolicy,
        clock: Clock,
    ) -> None:
        self.url = url
        self.status = response.status
        self.reason = response.reason or ""
        self.headers = headers
        self._response = response
        self._content = response.content
        self._policy = policy
        self._clock = clock
        self._size = 0
        self._waited_seconds = 0.0

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body after transfer decoding, content coding untouched; to be read once.

        Raises:
            TransferBroken: TOO_SLOW where nothing came for the grace time or, after it, fewer bytes than
                the policy's rate; TIMEOUT where the origin took more than the total time; else the body
                broke off or its framing is wrong.
        """
        while chunk := await self._read():
            yield chunk

    def abandon(self) -> None:
        """Give the connection up, with whatever of the body is still to come."""
        self._response.close()

    async def _read(self) -> bytes:
        try:
            # What is there already, nobody has to wait for.
            chunk = self._content.read_nowait(MAX_CHUNK_BYTES) or await self._wait()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TransferBroken(failure_of(error)) from error
        self._size += len(chunk)
        least = self._waited_seconds * self._policy.min_bytes_per_second
        grace = self._policy.throughput_grace.total_seconds()
        if chunk and self._waited_seconds > grace and self._size < least:
            raise TransferBroken(FetchFailure.TOO_SLOW)
        return chunk

    async def _wait(self) -> bytes:
        """Return what comes next; nothing at the end."""
        if self._content.at_eof():
            return b""
        grace = self._policy.throughput_grace.total_seconds()
        left = self._policy.total_timeout.total_seconds() - self._waited_seconds
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(max(0, min(grace, left))):
                chunk = await self._content.read(MAX_CHUNK_BYTES)
        except TimeoutError as error:
            raise TransferBroken(FetchFailure.TIMEOUT if left <= grace else FetchFailure.TOO_SLOW) from error
        self._waited_seconds += self._clock.monotonic() - began
        return chunk


class Streamer:
    """Opens streams on the pool of vetted connections."""

    def __init__(self, session: aiohttp.ClientSession, *, policy: FetchPolicy, clock: Clock) -> None:
        self._session = session
        self._policy = policy
        self._clock = clock

    @contextlib.asynccontextmanager
    async def open(
        self, method: str, url: FetchUrl, *, headers: Headers, body: AsyncIterator[bytes] | bytes | None
    ) -> AsyncIterator[Stream | FetchFailure]:
        """Open a stream to an admissible URL; see `GuardedClient.open_stream`."""
        response = await self._ask(method, url, headers, body)
        if isinstance(response, FetchFailure):
            yield response
            return
        # Leaving this block with the body unread closes the connection, so that nothing of it stays in the
        # pool.
        async with response:
            received = tuple(
                (name.decode(_HEADER_ENCODING), value.decode(_HEADER_ENCODING))
                for name, value in response.raw_headers
            )
            if not _is_framed_once(received):
                yield FetchFailure.MALFORMED
                return
            yield Stream(url, response, headers=received, policy=self._policy, clock=self._clock)

    async def _ask(
        self, method: str, url: FetchUrl, headers: Headers, body: AsyncIterator[bytes] | bytes | None
    ) -> aiohttp.ClientResponse | FetchFailure:
        declared = _read_length(headers)
        if declared is not None and not isinstance(body, AsyncIterator) and declared != len(body or b""):
            # The origin would wait for the rest, or take what follows for another request.
            return FetchFailure.MALFORMED
        patience = Patience(self._policy)
        try:
            async with patience:
                return await self._session.request(
                    method,
                    URL(str(url), encoded=True),
                    # The client frames the message itself: it sends chunks where no length is given.
                    headers=[pair for pair in headers if pair[0].lower() != "transfer-encoding"],
                    data=_Upload(body, declared, patience) if isinstance(body, AsyncIterator) else body,
                    allow_redirects=False,
                    trace_request_ctx=patience,
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return failure_of(error)


class Patience:
    """How long the next sign of life may take, from the request to the end of the answer's head.

    At its end, TimeoutError is raised in the block that it is entered for.

    The wait for one of the origin's connections is none of the origin's time, and neither is the wait for
    the next piece of what is to be sent.
    """

    def __init__(self, policy: FetchPolicy) -> None:
        self._opening_seconds = (policy.connect_timeout + policy.first_byte_timeout).total_seconds()
        self._queue_seconds = policy.total_timeout.total_seconds()
        self._timeout: asyncio.Timeout | None = None

    async def __aenter__(self) -> None:
        self._timeout = await asyncio.timeout(self._opening_seconds).__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        timeout, self._timeout = self._timeout, None
        if timeout is not None:
            await timeout.__aexit__(kind, error, trace)

    def queue(self) -> None:
        """Wait for those who use the connections now; each of them is bounded by the total time."""
        self._reschedule(self._queue_seconds)

    def suspend(self) -> None:
        """Wait for somebody who is not the origin, and whom somebody else bounds."""
        self._reschedule(None)

    def resume(self) -> None:
        """Wait for the origin anew."""
        self._reschedule(self._opening_seconds)

    def _reschedule(self, seconds: float | None) -> None:
        # A body may still be on its way when the answer's head is there already.
        if self._timeout is not None and not self._timeout.expired():
            when = None if seconds is None else asyncio.get_running_loop().time() + seconds
            self._timeout.reschedule(when)


class _Upload:
    """A body on its way to the origin, as long as was said, sent once."""

    def __init__(self, body: AsyncIterator[bytes], declared: int | None, patience: Patience) -> None:
        self._body = body
        self._left = declared
        self._patience = patience
        self._is_begun = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._is_begun:
            # A connection from the pool turned out to be dead, and the request would be repeated without
            # the part of its body that is gone.
            raise aiohttp.ClientConnectionError("The body cannot be sent a second time.")
        return self

    async def __anext__(self) -> bytes:
        self._is_begun = True
        self._patience.suspend()
        try:
            chunk = await anext(self._body)
        except StopAsyncIteration:
            if self._left:
                raise aiohttp.ClientPayloadError("The body is shorter than was said.") from None
            raise
        finally:
            self._patience.resume()
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise aiohttp.ClientPayloadError("The body is longer than was said.")
        return chunk


def create_patience_trace() -> aiohttp.TraceConfig:
    """Create what tells the patience of a request that it waits for a connection, and no longer does."""

    async def begin(_session: object, context: SimpleNamespace, _event: object) -> None:
        context.trace_request_ctx.queue()

    async def end(_session: object, context: SimpleNamespace, _event: object) -> None:
        context.trace_request_ctx.resume()

    trace = aiohttp.TraceConfig()
    trace.on_connection_queued_start.append(begin)
    trace.on_connection_queued_end.append(end)
    return trace


def _is_framed_once(headers: Headers) -> bool:
    """Tell whether there is one way to read where the body ends, and nothing is folded into it.

    RFC 9112 section 6.3: a message with both Transfer-Encoding and Content-Length "might indicate an attempt
    to perform request smuggling or response splitting" and "ought to be handled as an error". A transfer
    coding other than chunked would be left in the octets, whose reader is not told of it.
    A name that is not one says to some programs where the body ends, and nothing to the others.
    """
    if not all(_TOKEN.fullmatch(name) for name, _ in headers):
        return False
    lengths = set(header_values(headers, hdrs.CONTENT_LENGTH))
    codings = header_values(headers, hdrs.TRANSFER_ENCODING)
    if codings:
        return not lengths and [coding.strip().lower() for coding in codings] == ["chunked"]
    return len(lengths) <= 1


def _read_length(headers: Headers) -> int | None:
    values = header_values(headers, hdrs.CONTENT_LENGTH)
    return int(values[0]) if values and values[0].isascii() and values[0].isdigit() else None
