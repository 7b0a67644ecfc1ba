"""Files to sweep, sources that misbehave, and somebody who watches."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from PIL import Image

from relay.sweep.source import Opened, StoredFile
from scanner.canary import draw_canary
from tests.images import encode, marker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.sweep.counting import Counters, Result
    from relay.sweep.source import Entry, Source

BROKEN = b"\x89PNG\r\n\x1a\nno"
PAGE = b"<!doctype html><html><body>a page</body></html>"


@cache
def picture(seed: int = 1) -> bytes:
    return encode(marker(seed, width=96, height=96), "PNG")


@cache
def fresh_canary() -> bytes:
    """The canary with one pixel changed: only its looks give it away."""
    image = Image.open(io.BytesIO(draw_canary())).convert("RGB")
    image.putpixel((0, 0), (1, 2, 3))
    return encode(image, "PNG")


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


async def list_all(source: Source, after: bytes = b"") -> list[Entry]:
    return [entry async for entry in source.list_files(after)]


async def read(source: Source, file: Entry) -> bytes:
    assert isinstance(file, StoredFile)
    async with source.open(file) as opened:
        return b"".join([chunk async for chunk in opened.chunks])


@dataclass
class Watching:
    """Remembers what it sees."""

    expected: list[int] = field(default_factory=list)
    seen: list[Result] = field(default_factory=list)

    def expect(self, files: int) -> None:
        self.expected.append(files)

    def see(self, result: Result, counters: Counters) -> None:
        del counters
        self.seen.append(result)

    @property
    def names(self) -> list[str]:
        return [result.entry.name for result in self.seen]


class ListedSource:
    """A source that is a list in memory.

    Attributes:
        files: What it holds, in the order of the names.
        opened: Which files were opened, in order.
    """

    name = "test:listed"
    by_hand = "Remove them through your server."

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.opened: list[str] = []

    async def check(self) -> None:
        pass

    async def count(self) -> int | None:
        return len(self.files)

    async def list_files(self, after: bytes) -> AsyncIterator[Entry]:
        for name in sorted(self.files):
            if name.encode() > after:
                yield StoredFile(name=name, cursor=name.encode(), key=name)

    @asynccontextmanager
    async def open(self, file: StoredFile) -> AsyncIterator[Opened]:
        self.opened.append(file.name)

        async def chunks() -> AsyncIterator[bytes]:
            yield self.files[file.name]

        yield Opened(chunks=chunks())
