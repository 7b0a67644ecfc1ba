"""pict-rs' validator on a real relay: what a burst lets through, and how long one file waits.

The relay is a process of its own with the embedded database, its fsync on, and no classifier. What is asked
is what pict-rs asks: the file in chunks, over a connection that it keeps. Fresh pictures are mosaics of
photographs of one and a half megapixels, each with bytes of its own.

`validator_burst_unscanned` counts the files that pict-rs would have stored although they are marked, or
although no verdict that releases them was in the database: 40 clients at once with 4 files each, one in ten
the test picture or one that looks like it, a third of the others copies.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import random
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from db import verdicts
from db.pool import open_database
from scanner.canary import draw_canary
from scanner.report import Verdict
from tests.bench.line_relay import free_ports, open_relay_process
from tests.bench.pdq import mosaic
from tests.images import encode
from tests.pictrs import PictRs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NAMES = ("validator_burst_unscanned", "validator_p50_ms", "validator_again_p50_ms", "validator_burst_p50_ms")

TARGET_MS = 30.0
CLIENTS = 40
IMAGES_EACH = 4
BAD_SHARE = 10

WARM_UP = 10
ROUNDS = 3
FILES = 40
WIDTH, HEIGHT = 1_440, 1_080
QUALITY = 85
SECRET = "the-secret-of-the-benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One file that was sent.

    Attributes:
        data: Its bytes.
        is_accepted: Whether pict-rs would have stored it.
        ms: How long it waited for the answer.
    """

    data: bytes
    is_accepted: bool
    ms: float


class Validated:
    """A relay with an open validator."""

    def __init__(self, port: int, dsn: str) -> None:
        self._port = port
        self.dsn = dsn

    def open(self) -> PictRs:
        return PictRs(port=self._port, path=f"/{SECRET}/validate")


def run() -> Iterator[dict[str, object]]:
    """Measure one file at a time, then the burst."""
    yield from asyncio.run(measure_one_by_one())
    yield from asyncio.run(measure_burst())


@contextlib.asynccontextmanager
async def open_validated() -> AsyncIterator[Validated]:
    """Run a relay with its validator open, on a database that can be looked into."""
    (port,) = free_ports(1)
    settings = {
        "BREAKWATER_DOORS_VALIDATOR": "true",
        "BREAKWATER_DOORS_PORT": str(port),
        "BREAKWATER_DOORS_SECRET": SECRET,
    }
    async with open_relay_process(backend_url="http://127.0.0.1:9", settings=settings) as relay:
        yield Validated(port, relay.dsn)


def draw_jpegs(count: int, *, first: int = 0) -> list[bytes]:
    """Draw pictures that differ in a few pixels, and so in every digest."""
    base = mosaic(WIDTH, HEIGHT)
    pictures = []
    for number in range(first, first + count):
        picture = base.copy()
        ImageDraw.Draw(picture).text((8, 8), f"number {number}", fill="white")
        pictures.append(encode(picture, "JPEG", quality=QUALITY))
    return pictures


def look_alike(number: int) -> bytes:
    """Encode the test picture with one pixel changed: other bytes, the same looks."""
    image = Image.open(io.BytesIO(draw_canary())).convert("RGB")
    image.putpixel((number, 0), (1, 2, 3))
    return encode(image, "PNG")


async def measure_one_by_one() -> list[dict[str, object]]:
    """Send fresh files one after the other, then the same ones again."""
    pictures = draw_jpegs(WARM_UP + ROUNDS * FILES)
    async with open_validated() as validated, validated.open() as pictrs:
        await _send_all(pictrs, pictures[:WARM_UP], "image/jpeg")
        rounds = [
            await _send_all(pictrs, pictures[first : first + FILES], "image/jpeg")
            for first in range(WARM_UP, len(pictures), FILES)
        ]
        again = [await _send_all(pictrs, pictures[WARM_UP : WARM_UP + FILES], "image/jpeg") for _ in rounds]
    for uploads in (*rounds, *again):
        if not all(one.is_accepted for one in uploads):
            raise RuntimeError("the validator refused an ordinary picture")
    return [
        _timed("validator_p50_ms", rounds, target=TARGET_MS, picture_bytes=len(pictures[0])),
        _timed("validator_again_p50_ms", again, target=None, picture_bytes=len(pictures[0])),
    ]


async def measure_burst() -> list[dict[str, object]]:
    """Let all clients send at once, and look afterwards what stands behind each acceptance."""
    dice = random.Random(11)
    count = CLIENTS * IMAGES_EACH
    canary = draw_canary()
    bad = [canary if number % 2 else look_alike(number) for number in range(count // BAD_SHARE)]
    fresh = draw_jpegs((count - len(bad)) * 2 // 3, first=10_000)
    files = [*bad, *fresh, *(dice.choice(fresh) for _ in range(count - len(bad) - len(fresh)))]
    dice.shuffle(files)
    async with open_validated() as validated:
        async with validated.open() as warm:
            await _send_all(warm, draw_jpegs(WARM_UP, first=20_000), "image/jpeg")
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            clients = [
                group.create_task(_send_as_client(validated, files[number::CLIENTS]))
                for number in range(CLIENTS)
            ]
        seconds = time.perf_counter() - started
        uploads = [one for client in clients for one in client.result()]
        accepted = {one.data for one in uploads if one.is_accepted}
        examined = await _find_released(validated.dsn, accepted)
    unscanned = sum(one.is_accepted and (one.data in bad or one.data not in examined) for one in uploads)
    refused = sum(not one.is_accepted and one.data not in bad for one in uploads)
    return [
        {
            "name": "validator_burst_unscanned",
            "value": unscanned,
            "unit": "files",
            "peer": None,
            "peer_value": None,
            "ratio": None,
            "target": 0,
            "holds": unscanned == 0,
            "of": count,
            "marked": len(bad),
            "ordinary_refused": refused,
            "files_per_second": round(count / seconds, 1),
        },
        _timed("validator_burst_p50_ms", [uploads], target=None, picture_bytes=len(fresh[0])),
    ]


async def _send_as_client(validated: Validated, files: list[bytes]) -> list[Upload]:
    async with validated.open() as pictrs:
        uploads = []
        for data in files:
            kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
            uploads += await _send_all(pictrs, [data], kind)
        return uploads


async def _send_all(pictrs: PictRs, files: list[bytes], content_type: str) -> list[Upload]:
    uploads = []
    for data in files:
        started = time.perf_counter()
        is_accepted = await pictrs.accepts(data, content_type)
        ms = (time.perf_counter() - started) * 1000
        uploads.append(Upload(data=data, is_accepted=is_accepted, ms=ms))
    return uploads


async def _find_released(dsn: str, files: set[bytes]) -> set[bytes]:
    """Find the files of which the relay's own database says that nothing was found in them."""
    found = set()
    async with open_database(dsn, min_size=1, max_size=2) as database, database.connection() as conn:
        for data in files:
            stored = await verdicts.find_latest(conn, hashlib.sha256(data).digest())
            if stored is not None and stored.verdict == Verdict.NO_MATCH:
                found.add(data)
    return found


def _timed(
    name: str, rounds: list[list[Upload]], *, target: float | None, picture_bytes: int
) -> dict[str, object]:
    times = [sorted(one.ms for one in uploads) for uploads in rounds]
    medians = sorted(statistics.median(one) for one in times)
    value = medians[len(medians) // 2]
    return {
        "name": name,
        "value": round(value, 1),
        "unit": "ms",
        "peer": None,
        "peer_value": None,
        "ratio": None,
        "target": target,
        "holds": target is None or value <= target,
        "runs": [round(one, 1) for one in medians],
        "p95_ms": round(statistics.median(one[int(len(one) * 0.95)] for one in times), 1),
        "picture_bytes": picture_bytes,
    }


if __name__ == "__main__":
    for line in run():
        print(line)
