"""Look inside a content coding, a bounded piece at a time, so that no bomb has anything to go off in."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from relay.errors import BreakwaterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signatures.message import Headers

PIECE_BYTES: Final = 64 * 1024
"""The most that is unpacked at once; a thousandfold expansion of a kilobyte is sixteen such pieces."""

_GZIP_BITS: Final = 31
_ZLIB_BITS: Final = 15
_RAW_BITS: Final = -15
# RFC 1950 section 2.2: method 8, and a header that 31 divides.
_METHOD_MASK: Final = 0x0F
_DEFLATE_METHOD: Final = 8
_HEADER_DIVISOR: Final = 31
_HEADER_BYTES: Final = 2

_KNOWN: Final = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}


class CodingError(BreakwaterError):
    """A body is not in the coding that its headers name, or not wholly."""


class UnknownCodingError(BreakwaterError):
    """A body is in a coding that nobody asked for and that is not looked into."""


def read_coding(headers: Headers) -> str | None:
    """Return the one content coding of a body; None where there is none.

    Raises:
        UnknownCodingError: There are several, or one that is not known.
    """
    named = [
        part.strip().lower()
        for name, value in headers
        if name.lower() == "content-encoding"
        for part in value.split(",")
    ]
    codings = [coding for coding in named if coding not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _KNOWN:
        raise UnknownCodingError("The body is in a coding that is not looked into.")
    return _KNOWN[codings[0]]


class Decoder:
    """Unpack one body from its beginning to its end."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding == "gzip"
        self._head = b""
        self._stream = zlib.decompressobj(_GZIP_BITS) if self._is_gzip else None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes unpack to, at most `PIECE_BYTES` at a time.

        Raises:
            CodingError: They are not in this coding.
        """
        if self._stream is None:
            self._head += data
            if len(self._head) < _HEADER_BYTES:
                return
            data, self._head = self._head, b""
            self._stream = zlib.decompressobj(_bits_of(data))
        while data:
            if self._stream.eof:
                if not self._is_gzip:
                    raise CodingError("Something follows the end of the packed body.")
                # RFC 1952 section 2.2: "A gzip file consists of a series of "members"".
                self._stream = zlib.decompressobj(_GZIP_BITS)
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise CodingError("The body is not in the coding that its headers name.") from error
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if piece:
                yield piece

    def finish(self) -> Iterator[bytes]:
        """Yield what is left at the end.

        Raises:
            CodingError: The packed body breaks off.
        """
        if self._stream is None:
            if self._head:
                raise CodingError("The packed body breaks off.")
            return
        while not self._stream.eof:
            try:
                piece = self._stream.decompress(self._stream.unconsumed_tail, PIECE_BYTES)
            except zlib.error as error:
                raise CodingError("The body is not in the coding that its headers name.") from error
            if not piece and not self._stream.eof:
                raise CodingError("The packed body breaks off.")
            if piece:
                yield piece


def _bits_of(data: bytes) -> int:
    """Choose between the two things that servers call deflate (RFC 9110 section 8.4.1.2)."""
    is_wrapped = (
        data[0] & _METHOD_MASK == _DEFLATE_METHOD
        and int.from_bytes(data[:_HEADER_BYTES], "big") % _HEADER_DIVISOR == 0
    )
    return _ZLIB_BITS if is_wrapped else _RAW_BITS
