"""One request of the backend's and its answer.

What is not media passes as it comes. What may be is held until it is whole, and then either goes on from the
very copy that was examined, or does not go on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import web

from relay.model import FetchFailure
from relay.tools.carried import find_carried
from relay.tools.copies import CopyStorageError, CopyTooLargeError, open_copy
from relay.tools.media_types import essence_of
from relay.tools.streams import Stream, TransferBroken
from relay.web.gateway import answers
from relay.web.gateway.bodies import AnswerBody
from relay.web.gateway.coding import CodingError, UnknownCodingError, read_coding
from relay.web.gateway.delivery import send
from relay.web.gateway.headers import build_answer_headers, build_request_headers
from relay.web.gateway.kinds import may_be_media
from relay.web.gateway.ranges import find_part
from relay.web.gateway.verdicts import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.tools.copies import Copy
    from relay.tools.fetching import GuardedClient
    from relay.web.gateway.asking import Asked
    from relay.web.gateway.verdicts import Verdicts
    from signatures.message import Headers

# Deliveries have some kilobytes; with the body in hand the request is framed by its length, and may be
# repeated on a new connection where an old one turned out to be closed.
_WHOLE_BODY_BYTES: Final = 256 * 1024
# A backend that sends nothing of a body it has begun for so long has forgotten it.
_SEND_WITHIN: Final = timedelta(seconds=30)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_OK: Final = 200
_PARTIAL: Final = 206
_UNSATISFIABLE: Final = 416
_FIRST_FINAL: Final = 200
_WITHOUT_BODY: Final = frozenset((204, 205, 304))

# What no longer holds once a body was unpacked: these speak of the packed octets (RFC 9530 section 2).
_OF_THE_CODING: Final = frozenset({"content-encoding", "content-length", "content-digest", "content-md5"})
_LENGTH: Final = frozenset({"content-length"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Answer what the backend asks for.

    Attributes:
        client: Asks the origin.
        verdicts: Decides about copies.
        copies: The directory in which long copies lie, sealed.
        max_bytes: The longest media that is examined.
        ports: The ports that may be dialled.
        via: Our name on the way.
    """

    client: GuardedClient
    verdicts: Verdicts
    copies: Path
    max_bytes: int
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
            if isinstance(stream, FetchFailure):
                return answers.failed(stream)
            try:
                return await self._deliver(request, asked, stream)
            except TransferBroken as broken:
                return answers.failed(broken.failure)
            except CodingError:
                return answers.bad_answer()
            except CopyStorageError:
                return answers.not_yet()

    async def _deliver(self, request: web.BaseRequest, asked: Asked, stream: Stream) -> web.StreamResponse:
        """Deliver what may be delivered of an answer.

        Raises:
            TransferBroken: The body broke off before any of it was delivered.
            CodingError: It is not in its coding.
            CopyStorageError: The disk does not take it.
        """
        if stream.status < _FIRST_FINAL:
            return answers.bad_answer()
        if asked.method == "HEAD" or stream.status in _WITHOUT_BODY:
            return await _pass(request, stream, None)
        types = _declared_types(stream.headers)
        declared = types[0] if types else None
        if stream.status == _PARTIAL or len(types) > 1:
            # A part of a file, asked for or not, is none that could be examined; and of two types, one hides
            # the other.
            return await self._deliver_unseen(request, stream, declared, stream.chunks())
        try:
            coding = read_coding(stream.headers)
        except UnknownCodingError:
            # Identity was asked for. What is in there, a backend may know how to unpack; we do not.
            return await self._deliver_unseen(request, stream, declared, stream.chunks())
        return await self._deliver_body(request, asked, stream, declared, coding)

    async def _deliver_body(
        self,
        request: web.BaseRequest,
        asked: Asked,
        stream: Stream,
        declared: str | None,
        coding: str | None,
    ) -> web.StreamResponse:
        body = AnswerBody(stream.chunks(), coding=coding)
        if not may_be_media(await body.begin(), declared):
            return await _pass(request, stream, body.packed())
        if coding is None and (_declared_length(stream.headers) or 0) > self.max_bytes:
            return await self._deliver_unseen(request, stream, declared, body.packed())
        return await self._deliver_media(
            request, asked, stream, declared, body, is_unpacked=coding is not None
        )

    async def _deliver_media(
        self,
        request: web.BaseRequest,
        asked: Asked,
        stream: Stream,
        declared: str | None,
        body: AnswerBody,
        *,
        is_unpacked: bool,
    ) -> web.StreamResponse:
        """Hold media until it is whole, and deliver it from the copy that was examined."""
        length = None if is_unpacked else _declared_length(stream.headers)
        async with open_copy(self.copies, max_bytes=self.max_bytes, expected_bytes=length) as copy:
            pieces = body.unpacked()
            async for piece in pieces:
                try:
                    await copy.write(piece)
                except CopyTooLargeError:
                    rest = _chain(copy, piece, pieces)
                    without = _OF_THE_CODING if is_unpacked else frozenset[str]()
                    return await self._deliver_unseen(request, stream, declared, rest, without=without)
            match await self.verdicts.decide(copy, declared, find_carried(stream.headers)):
                case Answer.REFUSE:
                    return answers.withheld()
                case Answer.NOT_YET:
                    return answers.not_yet()
                case Answer.RELEASE:
                    return await _send_copy(request, asked, stream, copy, is_unpacked=is_unpacked)

    async def _deliver_unseen(
        self,
        request: web.BaseRequest,
        stream: Stream,
        declared: str | None,
        body: AsyncIterator[bytes],
        *,
        without: frozenset[str] = frozenset(),
    ) -> web.StreamResponse:
        """Refuse what cannot be examined as a whole, unless the admin's policy lets it pass."""
        match await self.verdicts.decide_unseen(declared):
            case Answer.REFUSE:
                return answers.withheld()
            case Answer.NOT_YET:
                return answers.not_yet()
            case Answer.RELEASE:
                return await _pass(request, stream, body, without=without)


async def _pass(
    request: web.BaseRequest,
    stream: Stream,
    body: AsyncIterator[bytes] | None,
    *,
    without: frozenset[str] = frozenset(),
) -> web.StreamResponse:
    headers = build_answer_headers(stream.headers, without=without)
    return await send(request, status=stream.status, reason=stream.reason, headers=headers, body=body)


async def _send_copy(
    request: web.BaseRequest, asked: Asked, stream: Stream, copy: Copy, *, is_unpacked: bool
) -> web.StreamResponse:
    headers = build_answer_headers(stream.headers, without=_OF_THE_CODING if is_unpacked else _LENGTH)
    part = None
    if asked.method == "GET" and stream.status == _OK:
        part = find_part(asked.headers, stream.headers, size=copy.size)
    if part is None:
        headers.append(("Content-Length", str(copy.size)))
        return await send(
            request, status=stream.status, reason=stream.reason, headers=headers, body=copy.chunks()
        )
    headers.append(("Content-Range", part.content_range))
    headers.append(("Content-Length", str(max(part.stop - part.start, 0))))
    if not part.is_satisfiable:
        return await send(
            request, status=_UNSATISFIABLE, reason="Range Not Satisfiable", headers=headers, body=None
        )
    body = copy.chunks(part.start, part.stop)
    return await send(request, status=_PARTIAL, reason="Partial Content", headers=headers, body=body)


async def _chain(copy: Copy, piece: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for held in copy.chunks():
        yield held
    yield piece
    async for following in rest:
        yield following


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


def _declared_types(headers: Headers) -> list[str]:
    """Return the types that an answer declares, each once; several where it contradicts itself."""
    values = (essence_of(value) for name, value in headers if name.lower() == "content-type")
    return list(dict.fromkeys(value for value in values if value))


def _declared_length(headers: Headers) -> int | None:
    values = [value for name, value in headers if name.lower() == "content-length"]
    return int(values[0]) if values and values[0].isascii() and values[0].isdigit() else None
