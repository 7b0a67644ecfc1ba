"""Origins that show the canary to some and a harmless picture to others, each time other bytes."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from db import verdicts
from scanner.canary import draw_canary
from tests.fediverse import FrozenClock
from tests.fediverse import behaviours as do
from tests.images import encode, marker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from db.pool import Database
    from tests.e2e.gateway.backends import Got
    from tests.fediverse import Origin
    from tests.fediverse.wire import WireRequest

SIDE = 128
RELEASED = "no-match"


@cache
def _harmless() -> Image.Image:
    return marker(41, width=SIDE, height=SIDE)


@cache
def _canary() -> Image.Image:
    return Image.open(io.BytesIO(draw_canary())).convert("RGB")


def draw_harmless(number: int) -> bytes:
    """Draw a picture that was never seen before, for every number another."""
    picture = _harmless().copy()
    ImageDraw.Draw(picture).text((2, 2), str(number), fill="white")
    return encode(picture, "PNG")


def draw_fresh_canary(number: int) -> bytes:
    """Draw the canary with one pixel changed: only its looks give it away."""
    picture = _canary().copy()
    picture.putpixel((number % 512, number // 512), (1, 2, 3))
    return encode(picture, "PNG")


@dataclass(slots=True)
class Cloak:
    """What one origin showed to whom.

    Attributes:
        clock: By which it changes its mind; told to move by whoever fetches.
        harmless: Every harmless body that was shown, by its digest.
        canaries: Every other one, by its digest.
    """

    clock: FrozenClock = field(default_factory=FrozenClock)
    harmless: dict[bytes, bytes] = field(default_factory=dict)
    canaries: dict[bytes, bytes] = field(default_factory=dict)
    _drawn: int = 0

    def show_on(self, origin: Origin) -> list[str]:
        """Serve a path for every way to cloak, and return their URLs."""
        return [
            origin.on("/by-user-agent.png", self._when(_is_a_stranger)),
            origin.on("/by-count.png", self._when(lambda _, number: number % 3 == 0)),
            origin.on("/by-range.png", self._when(_asks_for_a_part)),
            origin.on("/by-time.png", self._when(lambda *_: self.clock.now().minute % 2 == 1)),
        ]

    def _when(self, is_canary: Callable[[WireRequest, int], bool]) -> do.Behaviour:
        async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
            body = self._draw(is_canary=is_canary(request, number))
            given = request.header("Range")
            if given is None:
                return await do.serve(body)(request, number, writer)
            start, stop = read_range(given, len(body))
            ranged = do.serve(
                body[start:stop],
                status=206,
                headers={"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"},
            )
            return await ranged(request, number, writer)

        return behave

    def _draw(self, *, is_canary: bool) -> bytes:
        self._drawn += 1
        body = (draw_fresh_canary if is_canary else draw_harmless)(self._drawn)
        (self.canaries if is_canary else self.harmless)[hashlib.sha256(body).digest()] = body
        return body

    async def find_unscanned(self, got: Got, database: Database) -> str | None:
        """Say what is wrong with a delivery; None where these bytes were scanned and may be released."""
        if got.status not in {200, 206}:
            return f"content in the answer {got.status}" if len(got.body) > len(REFUSAL) else None
        if got.status == 200:
            digest: bytes | None = got.sha256
        else:
            digest = next((key for key, whole in self.harmless.items() if got.body in whole), None)
        if digest is None or digest in self.canaries:
            return "bytes that nothing examined"
        async with database.connection() as conn:
            verdict = await verdicts.find_latest(conn, digest)
        if verdict is None:
            return "bytes without a verdict"
        return None if verdict.verdict == RELEASED else f"bytes with the verdict {verdict.verdict}"


REFUSAL = b"Not available through this proxy yet.\n"


def _is_a_stranger(request: WireRequest, _: int) -> bool:
    """Tell whether whoever asks looks like a server's own client, and not like somebody who examines."""
    return "breakwater" not in (request.header("User-Agent") or "").lower()


def _asks_for_a_part(request: WireRequest, _: int) -> bool:
    return request.header("Range") is not None


def read_range(value: str, size: int) -> tuple[int, int]:
    """Read `bytes=FIRST-LAST`, or the same without the last, as start and stop."""
    first, _, last = value.removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1 if last else size, size)
