"""One request of the backend's: the origin is asked, and what may pass of its answer is delivered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import web

from relay.web.gateway import answers
from relay.web.gateway.headers import build_request_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.tools.fetching import GuardedClient
    from relay.web.gateway.asking import Asked
    from relay.web.gateway.passage import Passage

# Deliveries have some kilobytes; with the body in hand the request is framed by its length, and may be
# repeated on a new connection where an old one turned out to be closed.
_WHOLE_BODY_BYTES: Final = 256 * 1024
# A backend that sends nothing of a body it has begun for so long has forgotten it.
_SEND_WITHIN: Final = timedelta(seconds=30)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Answer what the backend asks for.

    Attributes:
        client: Asks the origin.
        passage: Delivers what may pass of its answer.
        ports: The ports that may be dialled.
        via: Our name on the way.
    """

    client: GuardedClient
    passage: Passage
    ports: frozenset[int]
    via: str

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """Ask the origin and answer with what may be delivered."""
        try:
            body = await _read_body(request, asked)
        except (TimeoutError, web.RequestPayloadError):
            return answers.malformed()
        async with self.client.open_stream(
            asked.method,
            asked.url,
            headers=build_request_headers(asked.headers, via=self.via),
            body=body,
            ports=self.ports,
        ) as stream:
            return await self.passage.deliver(request, asked, stream)


async def _read_body(request: web.BaseRequest, asked: Asked) -> AsyncIterator[bytes] | bytes | None:
    """Take the request's body in hand if it is short; else return what yields it."""
    if not request.can_read_body:
        return None
    expects = any(name.lower() == "expect" for name, _ in asked.headers)
    if expects and request.transport is not None:
        # RFC 9110 section 10.1.1: the backend waits for this before it sends the body.
        request.transport.write(_CONTINUE)
    length = request.content_length
    if length is not None and length <= _WHOLE_BODY_BYTES:
        async with asyncio.timeout(_SEND_WITHIN.total_seconds()):
            return await request.content.read()
    return _upload(request)


async def _upload(request: web.BaseRequest) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(_SEND_WITHIN.total_seconds()):
                chunk = await request.content.readany()
        except web.RequestPayloadError as error:
            raise ConnectionError("The backend's body broke off.") from error
        if not chunk:
            return
        yield chunk
