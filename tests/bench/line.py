"""A post with a 1080p picture through the whole line: from the POST until the backend has received it.

The relay verifies, stores the delivery durably (the embedded database, its fsync on), fetches the picture
over HTTP, decodes it in the sandbox, hashes and matches it, records the verdict and forwards the post. Every
picture is one that the relay has not seen, a mosaic of photographs that ship with scikit-image. One post at a
time.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from typing import TYPE_CHECKING

from PIL import ImageDraw

from relay.clock import SystemClock
from tests.bench.line_relay import open_relay_process
from tests.bench.pdq import mosaic
from tests.fediverse import Fediverse, RecordingBackend, send
from tests.fediverse.shapes import create, like, mastodon_note
from tests.images import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fediverse import Actor

NAMES = ("scan_p50_ms", "scan_classifier_p50_ms")

TARGETS_MS = {"scan_p50_ms": 30.0, "scan_classifier_p50_ms": 100.0}
CLASSIFIERS = {"scan_p50_ms": "none", "scan_classifier_p50_ms": "embedded"}

POSTS = 40
WARM_UP = 10
ROUNDS = 3
QUALITY = 85
# So that what the relay still does for the last post, attesting for instance, is no part of the next one.
GAP_SECONDS = 0.05


def run() -> Iterator[dict[str, object]]:
    """Measure without a classifier and with the embedded one."""
    pictures = draw_pictures(WARM_UP + POSTS * ROUNDS)
    for name in NAMES:
        yield asyncio.run(measure(name, pictures))


def draw_pictures(count: int) -> list[bytes]:
    """Draw pictures that differ in a few pixels, and so in every digest."""
    base = mosaic(1920, 1080)
    pictures = []
    for number in range(count):
        picture = base.copy()
        ImageDraw.Draw(picture).text((8, 8), f"number {number}", fill="white")
        pictures.append(encode(picture, "JPEG", quality=QUALITY))
    return pictures


async def measure(name: str, pictures: list[bytes]) -> dict[str, object]:
    """Post one picture after the other, and report the medians of the rounds."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        fediverse = await enter(Fediverse(SystemClock()))
        origin = await fediverse.open_origin()
        backend = await enter(RecordingBackend.open())
        relay = await enter(
            open_relay_process(
                backend_url=backend.url,
                reachable=f"127.0.0.1:{origin.port}",
                settings={"BREAKWATER_SCANNER_CLASSIFIER": CLASSIFIERS[name]},
            )
        )
        actor = origin.create_actor("alice")
        await fediverse.deliver(actor, like(actor, "https://here.example/notes/1"), relay.inbox)

        async def post(number: int) -> float:
            url = origin.serve_media(f"/media/{number}.jpg", pictures[number], "image/jpeg")
            return await post_picture(actor, url, fediverse=fediverse, inbox=relay.inbox, backend=backend)

        for number in range(WARM_UP):
            await post(number)
        rounds = []
        for first in range(WARM_UP, len(pictures), POSTS):
            times = []
            for number in range(first, first + POSTS):
                times.append(await post(number))
                await asyncio.sleep(GAP_SECONDS)
            rounds.append(sorted(times))
    medians = sorted(statistics.median(times) for times in rounds)
    value, target = medians[len(medians) // 2], TARGETS_MS[name]
    return {
        "name": name,
        "value": round(value, 1),
        "unit": "ms",
        "peer": None,
        "peer_value": None,
        "ratio": None,
        "target": target,
        "holds": value <= target,
        "runs": [round(one, 1) for one in medians],
        "p95_ms": round(statistics.median(times[int(len(times) * 0.95)] for times in rounds), 1),
        "picture_bytes": len(pictures[0]),
    }


async def post_picture(
    actor: Actor, url: str, *, fediverse: Fediverse, inbox: str, backend: RecordingBackend
) -> float:
    """Post a picture and return after how many milliseconds the backend had it."""
    activity = create(actor, mastodon_note(actor, [url], media_type="image/jpeg"))
    message = fediverse.sign_and_build(actor, activity, inbox)
    port = int(inbox.rpartition(":")[2].partition("/")[0])
    arriving = asyncio.ensure_future(_arrival(backend, len(backend.requests) + 1))
    started = time.perf_counter()
    answer = await send(message, host="127.0.0.1", port=port)
    if answer.status != 202:
        raise RuntimeError(f"the relay answered {answer.status}")
    return (await arriving - started) * 1000


async def _arrival(backend: RecordingBackend, count: int) -> float:
    await backend.wait_for(count)
    return time.perf_counter()


if __name__ == "__main__":
    for line in run():
        print(line)
