"""Read the body of an answer: its beginning first, then all of it, packed or unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.web.gateway.coding import CodingError, Decoder
from relay.web.gateway.kinds import WINDOW_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The most that may be packed around less than a window; an honest kilobyte unpacks to as much or more.
_MAX_PACKED_BYTES: Final = 256 * 1024

# Nobody packs longer texts, except to keep whoever looks into them busy.
_MAX_TEXT_BYTES: Final = 256 * 1024 * 1024


class AnswerBody:
    """A body that is on its way.

    Args:
        chunks: What comes, after transfer decoding.
        coding: The content coding; None for none.
    """

    def __init__(self, chunks: AsyncIterator[bytes], *, coding: str | None) -> None:
        self._chunks = chunks
        self._coding = coding
        self._begun: list[bytes] = []

    async def begin(self) -> bytes:
        """Return the first bytes inside the coding: the whole window, or all of a shorter body.

        However small the pieces are in which they come, the window is full before anybody judges it.

        Raises:
            TransferBroken: The body broke off.
            CodingError: It is not in its coding, or hides its beginning behind packed nothings.
        """
        window = bytearray()
        decoder = None if self._coding is None else Decoder(self._coding)
        size = 0
        async for chunk in self._chunks:
            self._begun.append(chunk)
            size += len(chunk)
            if decoder is None:
                window += chunk
            else:
                for piece in decoder.feed(chunk):
                    window += piece
                    if len(window) >= WINDOW_BYTES:
                        break
                if size > _MAX_PACKED_BYTES and len(window) < WINDOW_BYTES:
                    raise CodingError("Too much is packed around too little.")
            if len(window) >= WINDOW_BYTES:
                return bytes(window[:WINDOW_BYTES])
        if decoder is not None:
            for piece in decoder.finish():
                window += piece
        return bytes(window[:WINDOW_BYTES])

    async def packed(self) -> AsyncIterator[bytes]:
        """Yield the body as it came, from its first byte.

        Raises:
            TransferBroken: It broke off.
        """
        begun, self._begun = self._begun, []
        for chunk in begun:
            yield chunk
        async for chunk in self._chunks:
            yield chunk

    async def packed_text(self) -> AsyncIterator[bytes]:
        """Yield the body as it came, as long as it is the text that it began as.

        Raises:
            TransferBroken: It broke off.
            CodingError: It is not in its coding, or goes on as something else.
        """
        decoder = None if self._coding is None else Decoder(self._coding)
        size = 0
        async for chunk in self.packed():
            for piece in (chunk,) if decoder is None else decoder.feed(chunk):
                size += len(piece)
                if b"\x00" in piece or (decoder is not None and size > _MAX_TEXT_BYTES):
                    raise CodingError("The body began as a text and is none, or has no end.")
            yield chunk

    async def unpacked(self) -> AsyncIterator[bytes]:
        """Yield what is inside the coding, from its first byte.

        Raises:
            TransferBroken: It broke off.
            CodingError: It is not in its coding.
        """
        if self._coding is None:
            async for chunk in self.packed():
                yield chunk
            return
        decoder = Decoder(self._coding)
        async for chunk in self.packed():
            for piece in decoder.feed(chunk):
                yield piece
        for piece in decoder.finish():
            yield piece
