"""One kept connection to the backend: a request goes out as it was written, an answer comes back.

HTTP libraries fold the spellings of a header's name into one and rewrite targets; a signature covers
both as they were sent. Answers are parsed by llhttp.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from relay.backends.answer import HOP_BY_HOP, MAX_ANSWER_BYTES, BackendAnswer

if TYPE_CHECKING:
    from signatures.message import RequestMessage

# What may come before the end of a head; the head of an inbox's answer has a kilobyte.
_MAX_HEAD_BYTES: Final = 64 * 1024

_OWN: Final = HOP_BY_HOP | {"content-length"}
_INTERIM_MAX: Final = 200

# Method, target, version.
_REQUEST_LINE_SPACES: Final = 2


def build_request(message: RequestMessage, *, authority: str) -> bytes:
    """Write a request with exactly its target, its headers and its body.

    Connection-specific headers are left out, and the body's length is given anew.

    Args:
        message: The request.
        authority: The Host for a request that has none.

    Raises:
        ValueError: A line or a field of the head would break out of its place. The HTTP server at our
            door lets nothing of the kind in.
    """
    lines = [f"{message.method} {message.target} HTTP/1.1"]
    has_host = False
    for name, value in message.headers:
        lower = name.lower()
        if lower not in _OWN:
            lines.append(f"{name}: {value}")
            has_host = has_host or lower == "host"
    if not has_host:
        lines.append(f"Host: {authority}")
    lines.append(f"Content-Length: {len(message.body)}")
    head = "\r\n".join(lines)
    breaks = len(lines) - 1
    is_sound = head.count("\r") == head.count("\n") == breaks and "\0" not in head
    if not is_sound or lines[0].count(" ") != _REQUEST_LINE_SPACES:
        raise ValueError("a request whose head would be read in another way than it was written")
    return f"{head}\r\n\r\n".encode() + message.body


class Connection(asyncio.Protocol):
    """A connection that carries one exchange at a time.

    Attributes:
        is_reusable: Another request may be sent on it.
    """

    def __init__(self) -> None:
        self.is_reusable = False
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[BackendAnswer] | None = None
        self._headers: list[tuple[str, str]] = []
        self._unread_head = 0
        self._has_head = False
        self._is_framed = False
        self._body = bytearray()

    async def exchange(self, request: bytes) -> BackendAnswer:
        """Send a request and return the answer to it.

        Raises:
            ConnectionError: The connection ended before the answer did, or what came is no answer.
        """
        if self._transport is None or self._waiting is not None:
            raise ConnectionError("the connection is not free")
        self.is_reusable = False
        waiting: asyncio.Future[BackendAnswer] = self._loop.create_future()
        self._waiting = waiting
        self._transport.write(request)
        try:
            return await waiting
        finally:
            self._waiting = None
            if not self.is_reusable:
                # Given up, broken, or the backend's last word here: what follows belongs to nobody.
                self.abandon()

    def abandon(self) -> None:
        """End the connection without waiting for its end."""
        self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """End the connection."""
        self.abandon()
        await self._closed

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where to write."""
        # Not every loop registers its transports under this class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._waiting is None or self._waiting.done():
            self._fail("the backend speaks without being asked")
            return
        self._unread_head += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._fail("the backend does not speak HTTP")
            return
        if self._unread_head > _MAX_HEAD_BYTES and not self._has_head:
            self._fail("the head is too long")

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange; an answer without a length ends with its connection (RFC 9112, 6.3)."""
        if self._has_head and not self._is_framed and exc is None:
            self._finish(keeps=False)
        self._fail("the backend ended the connection")
        if not self._closed.done():
            self._closed.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin an answer.

        Raises:
            ConnectionError: It answers nothing that was asked.
        """
        if self._waiting is None or self._waiting.done():
            raise ConnectionError("one answer too many")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; those of a trailer are dropped."""
        if self._has_head:
            return
        lower = name.lower().decode("ascii")
        self._is_framed = self._is_framed or lower in {"content-length", "transfer-encoding"}
        if lower not in _OWN:
            self._headers.append((name.decode("ascii"), value.decode(errors="replace")))

    def on_headers_complete(self) -> None:
        """Note that what follows is the body."""
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        """Keep the body up to its bound."""
        self._body += body
        if len(self._body) > MAX_ANSWER_BYTES:
            del self._body[MAX_ANSWER_BYTES:]
            self._finish(keeps=False)

    def on_message_complete(self) -> None:
        """Hand over the answer, unless it was an interim one (RFC 9110, 15.2)."""
        if self._parser.get_status_code() < _INTERIM_MAX:
            self._begin()
        else:
            self._finish(keeps=self._parser.should_keep_alive())

    def _begin(self) -> None:
        self._headers = []
        self._unread_head = 0
        self._has_head = False
        self._is_framed = False
        self._body = bytearray()

    def _finish(self, *, keeps: bool) -> None:
        waiting = self._waiting
        if waiting is None or waiting.done():
            return
        self.is_reusable = keeps
        waiting.set_result(
            BackendAnswer(
                status=self._parser.get_status_code(), headers=tuple(self._headers), body=bytes(self._body)
            )
        )
        self._begin()

    def _fail(self, reason: str) -> None:
        """Let nothing more be sent here, and tell whoever still waits."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError(reason))
        self.abandon()
