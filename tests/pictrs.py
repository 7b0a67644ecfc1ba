"""pict-rs as a validator meets it: the bytes on the wire, as its external validation sends them.

A POST with the type that it detected and its own User-Agent; the file in chunks as it comes from a disk,
without a length; nothing that says where the file is from. A connection is used again as long as the other
side keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Self

from tests.fediverse.wire import MAX_LINE_BYTES, WireResponse, _read_body, _read_headers

if TYPE_CHECKING:
    from types import TracebackType

USER_AGENT: Final = "pict-rs v0.5.0-main"
PATIENCE_SECONDS: Final = 30
_CHUNK_SIZES: Final = (8_192, 65_536, 1, 32_768)


class PictRs:
    """One connection of pict-rs to its validator."""

    def __init__(self, *, port: int, path: str) -> None:
        self._port = port
        self._path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def accepts(self, data: bytes, content_type: str) -> bool:
        """Tell whether pict-rs would store a file: whatever is no 2xx in time is a refusal."""
        try:
            answer = await self.ask(data, content_type)
        except (OSError, EOFError):
            return False
        return 200 <= answer.status < 300

    async def ask(self, data: bytes, content_type: str) -> WireResponse:
        """Send a file and return the answer.

        Raises:
            OSError: The connection broke, or nothing came in time (TimeoutError).
            EOFError: It ended before the answer did.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                reader, writer = self._streams = self._streams or await asyncio.open_connection(
                    "127.0.0.1", self._port, limit=MAX_LINE_BYTES
                )
                writer.write(self._build_head(content_type))
                for chunk in _cut(data):
                    writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                    await writer.drain()
                writer.write(b"0\r\n\r\n")
                await writer.drain()
                answer = await _read_answer(reader)
        except BaseException:
            await self._close()
            raise
        if (answer.header("Connection") or "").lower() == "close":
            await self._close()
        return answer

    def _build_head(self, content_type: str) -> bytes:
        lines = (
            f"POST {self._path} HTTP/1.1",
            f"content-type: {content_type}",
            f"user-agent: {USER_AGENT}",
            "accept: */*",
            f"host: 127.0.0.1:{self._port}",
            "transfer-encoding: chunked",
        )
        return "\r\n".join((*lines, "", "")).encode()

    async def _close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()


def _cut(data: bytes) -> list[bytes]:
    """Cut a file into chunks of sizes that take turns."""
    chunks: list[bytes] = []
    at = 0
    while at < len(data):
        size = _CHUNK_SIZES[len(chunks) % len(_CHUNK_SIZES)]
        chunks.append(data[at : at + size])
        at += size
    return chunks


async def _read_answer(reader: asyncio.StreamReader) -> WireResponse:
    status = int((await reader.readuntil(b"\r\n")).split(b" ")[1])
    headers = await _read_headers(reader)
    return WireResponse(
        status=status, headers=headers, body=await _read_body(reader, headers, until_close=True)
    )
