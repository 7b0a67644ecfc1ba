"""What passes of an origin's answer, and how.

What is not media passes as it comes. What may be is held until it is whole, and then either goes on from the
very copy that was examined, or does not go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from relay.model import FetchFailure
from relay.tools.carried import find_carried
from relay.tools.copies import CopyStorageError, CopyTooLargeError, open_copy
from relay.tools.media_types import essence_of
from relay.tools.streams import TransferBroken
from relay.web.gateway.bodies import AnswerBody
from relay.web.gateway.coding import CodingError, UnknownCodingError, read_coding
from relay.web.gateway.delivery import send
from relay.web.gateway.headers import build_answer_headers
from relay.web.gateway.kinds import has_to_stay_text, may_be_media
from relay.web.gateway.ranges import Versions, find_part
from relay.web.gateway.verdicts import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from aiohttp import web

    from relay.tools.copies import Copy
    from relay.tools.streams import Stream
    from relay.web.gateway.asking import Asked
    from relay.web.gateway.verdicts import Verdicts
    from signatures.message import Headers

_OK: Final = 200
_PARTIAL: Final = 206
_UNSATISFIABLE: Final = 416
_FIRST_FINAL: Final = 200
# RFC 9112 section 6.3. An answer of any other status has the body that its headers announce: to pass on the
# one without the other would make the next answer a part of this one.
_WITHOUT_BODY: Final = frozenset((204, 304))

# What no longer holds once a body was unpacked: these speak of the packed octets (RFC 9530 section 2).
_OF_THE_CODING: Final = frozenset({"content-encoding", "content-length", "content-digest", "content-md5"})
_LENGTH: Final = frozenset({"content-length"})
# The copy is the whole file, whatever the origin says; of a part we say ourselves which it is.
_OF_A_PART: Final = frozenset({"content-range"})


class Words(Protocol):
    """How a door says that something is not delivered."""

    def withheld(self) -> web.Response: ...  # noqa: D102 (as in `answers`)
    def not_yet(self) -> web.Response: ...  # noqa: D102
    def bad_answer(self) -> web.Response: ...  # noqa: D102
    def failed(self, failure: FetchFailure, /) -> web.Response: ...  # noqa: D102


Describe: TypeAlias = "Callable[[bytes], Awaitable[Headers]]"
"""Find more headers for bytes of this digest; they take the place of the origin's own of that name."""

PassUnseen: TypeAlias = "Callable[[web.BaseRequest, Asked, Stream], Awaitable[web.StreamResponse | None]]"
"""Deliver media that the policy releases unseen in another way than as it came; None to leave it at that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Deliver what may be delivered.

    Attributes:
        verdicts: Decides about copies.
        copies: The directory in which long copies lie, sealed.
        max_bytes: The longest media that is examined.
        words: How it is said that something is not delivered.
        describe: What is said about the bytes that are released; None for nothing.
        pass_unseen: How long media is delivered that the policy releases unseen; None for as it comes.
    """

    verdicts: Verdicts
    copies: Path
    max_bytes: int
    words: Words
    describe: Describe | None = None
    pass_unseen: PassUnseen | None = None
    versions: Versions = field(default_factory=Versions)

    async def deliver(
        self, request: web.BaseRequest, asked: Asked, stream: Stream | FetchFailure
    ) -> web.StreamResponse:
        """Deliver what may be delivered of an answer.

        Args:
            request: What is answered.
            asked: What the origin was asked.
            stream: Its answer.
        """
        if isinstance(stream, FetchFailure):
            return self.words.failed(stream)
        try:
            return await self._deliver(request, asked, stream)
        except TransferBroken as broken:
            return self.words.failed(broken.failure)
        except CodingError:
            return self.words.bad_answer()
        except CopyStorageError:
            return self.words.not_yet()

    async def _deliver(self, request: web.BaseRequest, asked: Asked, stream: Stream) -> web.StreamResponse:
        """Deliver what may be delivered of an answer.

        Raises:
            TransferBroken: The body broke off before any of it was delivered.
            CodingError: It is not in its coding.
            CopyStorageError: The disk does not take it.
        """
        if stream.status < _FIRST_FINAL:
            return self.words.bad_answer()
        if asked.method == "HEAD" or stream.status in _WITHOUT_BODY:
            return await _pass(request, stream, None)
        types = _declared_types(stream.headers)
        declared = types[0] if types else None
        if stream.status == _PARTIAL or len(types) > 1:
            # A part of a file, asked for or not, is none that could be examined; and of two types, one hides
            # the other.
            return await self._deliver_unseen(request, asked, stream, declared, stream.chunks())
        try:
            coding = read_coding(stream.headers)
        except UnknownCodingError:
            # Identity was asked for. What is in there, a backend may know how to unpack; we do not.
            return await self._deliver_unseen(request, asked, stream, declared, stream.chunks())
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
        window = await body.begin()
        if not may_be_media(window, declared):
            passing = body.packed_text() if has_to_stay_text(window) else body.packed()
            return await _pass(request, stream, passing)
        if coding is None and (_declared_length(stream.headers) or 0) > self.max_bytes:
            return await self._deliver_unseen(request, asked, stream, declared, body.packed())
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
                    return await self._deliver_unseen(request, asked, stream, declared, rest, without=without)
            match await self.verdicts.decide(copy, declared, find_carried(stream.headers)):
                case Answer.REFUSE:
                    return self.words.withheld()
                case Answer.NOT_YET:
                    return self.words.not_yet()
                case Answer.RELEASE:
                    return await self._send_copy(request, asked, stream, copy, is_unpacked=is_unpacked)

    async def _send_copy(
        self, request: web.BaseRequest, asked: Asked, stream: Stream, copy: Copy, *, is_unpacked: bool
    ) -> web.StreamResponse:
        extra: Headers = ()
        if self.describe is not None and stream.status == _OK:
            extra = await self.describe(copy.sha256)
        without = _OF_A_PART | (_OF_THE_CODING if is_unpacked else _LENGTH)
        without |= {name.lower() for name, _ in extra}
        headers = [*build_answer_headers(stream.headers, without=without), *extra]
        part = None
        if asked.method == "GET" and stream.status == _OK and self.versions.note(str(asked.url), copy.sha256):
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

    async def _deliver_unseen(
        self,
        request: web.BaseRequest,
        asked: Asked,
        stream: Stream,
        declared: str | None,
        body: AsyncIterator[bytes],
        *,
        without: frozenset[str] = frozenset(),
    ) -> web.StreamResponse:
        """Refuse what cannot be examined as a whole, unless the admin's policy lets it pass."""
        match await self.verdicts.decide_unseen(declared):
            case Answer.REFUSE:
                return self.words.withheld()
            case Answer.NOT_YET:
                return self.words.not_yet()
            case Answer.RELEASE:
                if self.pass_unseen is not None:
                    passed = await self.pass_unseen(request, asked, stream)
                    if passed is not None:
                        return passed
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


async def _chain(copy: Copy, piece: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for held in copy.chunks():
        yield held
    yield piece
    async for following in rest:
        yield following


def _declared_types(headers: Headers) -> list[str]:
    """Return the types that an answer declares, each once; several where it contradicts itself."""
    values = (essence_of(value) for name, value in headers if name.lower() == "content-type")
    return list(dict.fromkeys(value for value in values if value))


def _declared_length(headers: Headers) -> int | None:
    values = [value for name, value in headers if name.lower() == "content-length"]
    return int(values[0]) if values and values[0].isascii() and values[0].isdigit() else None
