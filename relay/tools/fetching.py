"""The guarded client: every request that the relay makes goes through here.

A request is one hop or a chain of them, and every hop starts anew: the URL is parsed strictly, its
scheme and port are checked, its name is resolved and every address judged, and only a judged address
is dialled (`relay.tools.connections`). Failures are values, because a failure to look is evidence.

Not checked here: what the bytes are. A `Content-Type` is what the far side said, nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp
from aiohttp import hdrs

from relay.model import FetchFailure, Media
from relay.tools.carried import find_carried
from relay.tools.connections import (
    Lookup,
    SocketMaker,
    VettingResolver,
    create_connector,
    create_resolver_threads,
    create_system_lookup,
)
from relay.tools.documents import ACCEPT_DOCUMENT, MAX_DOCUMENT_BYTES, Document, read_document
from relay.tools.failures import Judge, judge_document, judge_media, judge_nothing
from relay.tools.hops import Answer, Ask, Hopper, Redirect, is_admissible
from relay.tools.media_types import essence_of
from relay.tools.streams import Stream, Streamer, create_patience_trace
from relay.tools.urls import FetchUrl, MalformedUrlError, Origin, parse_redirect, parse_url
from signatures.http import Scheme
from signatures.message import Headers, RequestMessage, header_values

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from relay.clock import Clock
    from relay.tools.policy import FetchPolicy
    from relay.tools.transfers import Reserve

# An attestation of the greatest length takes 10,926 characters; the default of aiohttp for a line is 8190.
# RFC 9110 section 5.4 leaves the number to the recipient.
MAX_HEADER_LINE_BYTES: Final = 12 * 1024
READ_BUFFER_BYTES: Final = 256 * 1024
# What is passed on is buffered once more on its way out, for hundreds of clients at once.
STREAM_BUFFER_BYTES: Final = 32 * 1024
# For so many origins the scheme that they took is remembered, so that they are asked once, not twice.
MAX_REMEMBERED_ORIGINS: Final = 4096
# aiohttp would add its own values for these where a caller sets none.
_OWN_HEADERS: Final = (hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE)
_OTHER_SCHEME: Final = {Scheme.RFC9421: Scheme.CAVAGE, Scheme.CAVAGE: Scheme.RFC9421}


class Signer(Protocol):
    """What signs a request in the name of the relay's instance actor."""

    def __call__(self, message: RequestMessage, scheme: Scheme) -> RequestMessage:
        """Return the message with the headers of a signature added."""
        ...


Prepare = Callable[[FetchUrl], Headers]
"""Build the headers of one hop."""


class GuardedClient:
    """Asks strangers for what strangers pointed at; see `open_guarded_client`."""

    def __init__(self, hopper: Hopper, streamer: Streamer, *, policy: FetchPolicy) -> None:
        self._hopper = hopper
        self._streamer = streamer
        self._policy = policy
        self._schemes: OrderedDict[Origin, Scheme] = OrderedDict()

    async def fetch_media(
        self,
        url: str,
        *,
        max_bytes: int | None = None,
        headers: Headers = (),
        reserve: Reserve | None = None,
    ) -> Media | FetchFailure:
        """Fetch the bytes that a media reference points at, following redirects.

        Args:
            url: Anything; what is no admissible http(s) URL is REFUSED_URL.
            max_bytes: The bound on the body; None for the policy's.
            headers: Sent besides the client's own, to the first origin only.
            reserve: Waits for room in memory for the bytes as they arrive.
        """
        origin = _find_origin(url)

        def prepare(hop: FetchUrl) -> Headers:
            given = headers if hop.origin == origin else ()
            return given if header_values(given, hdrs.ACCEPT) else (*given, ("Accept", "*/*"))

        answer = await self._chase(
            url,
            prepare,
            judge=judge_media,
            max_bytes=self._policy.max_bytes if max_bytes is None else max_bytes,
            reserve=reserve,
        )
        if isinstance(answer, FetchFailure):
            return answer
        declared = header_values(answer.headers, hdrs.CONTENT_TYPE)
        carried = find_carried(answer.headers)
        return Media(
            data=answer.body.data,
            sha256=answer.body.sha256,
            content_type=(essence_of(declared[0]) or None) if declared else None,
            attestation=carried.attestation,
            is_attestation_malformed=carried.is_malformed,
        )

    async def fetch_document(self, url: str, *, signer: Signer | None = None) -> Document | FetchFailure:
        """Fetch an ActivityPub document, signed if a signer is given.

        A host that refuses the one signature scheme is asked with the other (the double knock of FASP).
        After a redirect to another origin nothing is signed: the signature was not meant for it.

        Returns:
            The document, which the caller must not believe before its `id` was held against `Document.url`
            (FEP-fe34); MALFORMED for what is no ActivityPub document.
        """
        answer = await (self._ask_openly(url) if signer is None else self._knock(url, signer))
        return (
            answer if isinstance(answer, FetchFailure) else read_document(str(answer.url), answer.body.data)
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | None = None,
        max_bytes: int | None = None,
        patience: timedelta = timedelta(),
    ) -> Answer | FetchFailure:
        """Make exactly one request and return whatever it is answered with, redirects included.

        The client frames the message itself: the caller leaves out hop-by-hop headers and Content-Length.
        With `patience` the far side may take so much longer than others, because it was asked to wait.
        """
        try:
            ask = Ask(
                method=method,
                url=parse_url(url),
                headers=headers,
                body=body,
                judge=judge_nothing,
                max_bytes=self._policy.max_bytes if max_bytes is None else max_bytes,
                follows=False,
                patience=patience,
            )
            async with asyncio.timeout((self._policy.total_timeout + patience).total_seconds()):
                answer = await self._hopper.hop(ask)
        except MalformedUrlError:
            return FetchFailure.REFUSED_URL
        except TimeoutError:
            return FetchFailure.TIMEOUT
        return FetchFailure.MALFORMED if isinstance(answer, Redirect) else answer

    def open_stream(
        self,
        method: str,
        url: str | FetchUrl,
        *,
        headers: Headers,
        body: AsyncIterator[bytes] | bytes | None,
        ports: frozenset[int] | None = None,
    ) -> AbstractAsyncContextManager[Stream | FetchFailure]:
        """Make exactly one request for somebody else, and hand its answer out as it arrives.

        Whatever the answer is, redirects included, it comes back as it is. Nothing is added to the headers
        but the framing and, where they name none, the host.

        Args:
            method: As it is sent.
            url: Anything; what is no admissible http(s) URL is REFUSED_URL.
            headers: All of them. The caller leaves out those that are of its own connection only, and Expect.
            body: What is sent: as long as Content-Length says, or in chunks where that is not given.
            ports: The ports that may be dialled, by http and by https; None for the policy's rules.
        """
        try:
            target = url if isinstance(url, FetchUrl) else parse_url(url)
        except MalformedUrlError:
            return contextlib.nullcontext(FetchFailure.REFUSED_URL)
        if not is_admissible(target, self._policy, ports):
            return contextlib.nullcontext(FetchFailure.REFUSED_URL)
        return self._streamer.open(method, target, headers=headers, body=body)

    async def _ask_openly(self, url: str) -> Answer | FetchFailure:
        headers = (("Accept", ACCEPT_DOCUMENT),)
        return await self._chase(
            url, lambda _hop: headers, judge=judge_document, max_bytes=MAX_DOCUMENT_BYTES
        )

    async def _knock(self, url: str, signer: Signer) -> Answer | FetchFailure:
        origin = _find_origin(url)
        if origin is None:
            return FetchFailure.REFUSED_URL
        first = self._schemes.get(origin, Scheme.RFC9421)
        answer: Answer | FetchFailure = FetchFailure.FORBIDDEN
        for scheme in (first, _OTHER_SCHEME[first]):
            prepare = _create_signing(signer, scheme, origin)
            answer = await self._chase(url, prepare, judge=judge_document, max_bytes=MAX_DOCUMENT_BYTES)
            if answer is not FetchFailure.FORBIDDEN:
                self._remember(origin, scheme)
                break
        return answer

    def _remember(self, origin: Origin, scheme: Scheme) -> None:
        self._schemes[origin] = scheme
        self._schemes.move_to_end(origin)
        while len(self._schemes) > MAX_REMEMBERED_ORIGINS:
            self._schemes.popitem(last=False)

    async def _chase(
        self,
        url: str,
        prepare: Prepare,
        *,
        judge: Judge,
        max_bytes: int,
        reserve: Reserve | None = None,
    ) -> Answer | FetchFailure:
        """Follow redirects to their end, all hops together within the total time."""
        try:
            target = parse_url(url)
            async with asyncio.timeout(self._policy.total_timeout.total_seconds()):
                for _ in range(self._policy.max_redirects + 1):
                    answer = await self._hopper.hop(
                        Ask(
                            method="GET",
                            url=target,
                            headers=prepare(target),
                            body=None,
                            judge=judge,
                            max_bytes=max_bytes,
                            follows=True,
                            reserve=reserve,
                        )
                    )
                    if not isinstance(answer, Redirect):
                        return answer
                    following = parse_redirect(target, answer.location)
                    if target.scheme == "https" and following.scheme != "https":
                        return FetchFailure.REFUSED_URL
                    target = following
        except MalformedUrlError:
            return FetchFailure.REFUSED_URL
        except TimeoutError:
            return FetchFailure.TIMEOUT
        return FetchFailure.TOO_MANY_REDIRECTS


@contextlib.asynccontextmanager
async def open_guarded_client(
    policy: FetchPolicy,
    clock: Clock,
    *,
    tls: ssl.SSLContext | None = None,
    lookup: Lookup | None = None,
    make_socket: SocketMaker = socket.socket,
) -> AsyncIterator[GuardedClient]:
    """Open the client with its pool of connections.

    Args:
        policy: The bounds.
        clock: Measures the throughput.
        tls: Whom to trust; None for the system's authorities.
        lookup: Resolves names; None for the system's resolver.
        make_socket: Makes the sockets that are dialled, behind the last gate.
    """
    threads = create_resolver_threads()
    resolver = VettingResolver(
        lookup or create_system_lookup(threads),
        rules=policy.rules,
        timeout_seconds=policy.connect_timeout.total_seconds(),
    )
    connector = create_connector(
        resolver, rules=policy.rules, tls=tls or ssl.create_default_context(), make_socket=make_socket
    )
    try:
        async with (
            _open_session(connector, policy, buffer_bytes=READ_BUFFER_BYTES) as session,
            _open_session(
                connector, policy, buffer_bytes=STREAM_BUFFER_BYTES, trace=create_patience_trace()
            ) as streaming,
        ):
            yield GuardedClient(
                Hopper(session, policy=policy, clock=clock),
                Streamer(streaming, policy=policy, clock=clock),
                policy=policy,
            )
    finally:
        await connector.close()
        threads.shutdown(wait=False, cancel_futures=True)


def _open_session(
    connector: aiohttp.BaseConnector,
    policy: FetchPolicy,
    *,
    buffer_bytes: int,
    trace: aiohttp.TraceConfig | None = None,
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_OWN_HEADERS,
        auto_decompress=False,
        # No proxy from the environment and no .netrc: the address check would judge the proxy.
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=policy.connect_timeout.total_seconds()),
        read_bufsize=buffer_bytes,
        max_line_size=MAX_HEADER_LINE_BYTES,
        max_field_size=MAX_HEADER_LINE_BYTES,
        trace_configs=[] if trace is None else [trace],
    )


def _find_origin(url: str) -> Origin | None:
    try:
        return parse_url(url).origin
    except MalformedUrlError:
        return None


def _create_signing(signer: Signer, scheme: Scheme, origin: Origin) -> Prepare:
    def prepare(hop: FetchUrl) -> Headers:
        headers: Headers = (("Host", hop.authority), ("Accept", ACCEPT_DOCUMENT))
        if hop.origin != origin:
            return headers
        message = RequestMessage(
            method="GET",
            scheme=hop.scheme,
            authority=hop.authority,
            target=hop.target,
            headers=headers,
            body=b"",
        )
        return signer(message, scheme).headers

    return prepare
