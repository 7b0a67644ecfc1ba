"""Memory of a relay without a classifier after some work, by the proportional set sizes of its processes.

The proportional set size counts a page that processes share by their shares, so that the numbers of a tree of
processes can be added up.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import psutil

from relay.clock import SystemClock
from tests.bench.line import draw_pictures, post_picture
from tests.bench.line_relay import open_relay_process
from tests.bench.scan_memory import proportional_mb
from tests.fediverse import Fediverse, RecordingBackend
from tests.fediverse.shapes import like

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("memory_mb",)

TARGET_MB = 300.0
POSTS = 30
LIKES = 500


def run() -> Iterator[dict[str, object]]:
    """Let a relay work, then look."""
    yield asyncio.run(measure())


async def measure() -> dict[str, object]:
    """Send posts with pictures and deliveries without, then read the sizes."""
    pictures = draw_pictures(POSTS)
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        fediverse = await enter(Fediverse(SystemClock()))
        origin = await fediverse.open_origin()
        backend = await enter(RecordingBackend.open())
        relay = await enter(open_relay_process(backend_url=backend.url, reachable=f"127.0.0.1:{origin.port}"))
        actor = origin.create_actor("alice")
        for number, picture in enumerate(pictures):
            url = origin.serve_media(f"/media/{number}.jpg", picture, "image/jpeg")
            await post_picture(actor, url, fediverse=fediverse, inbox=relay.inbox, backend=backend)
        for _ in range(LIKES):
            await fediverse.deliver(actor, like(actor, "https://here.example/notes/1"), relay.inbox)
        sizes = read_sizes(relay.pid)
    value = sizes.pop("relay")
    return {
        "name": "memory_mb",
        "value": round(value, 1),
        "unit": "MB",
        "peer": None,
        "peer_value": None,
        "ratio": None,
        "target": TARGET_MB,
        "holds": value <= TARGET_MB,
        "whole_tree": round(value + sum(sizes.values()), 1),
        **{f"all_{kind}": round(size, 1) for kind, size in sizes.items()},
    }


def read_sizes(pid: int) -> dict[str, float]:
    """Add up the sizes of the relay's processes by kind, in MB."""
    sizes = {"relay": proportional_mb(pid), "database": 0.0, "decoders": 0.0}
    for process in psutil.Process(pid).children(recursive=True):
        kind = "database" if "postgres" in process.name() else "decoders"
        sizes[kind] += proportional_mb(process.pid)
    return sizes


if __name__ == "__main__":
    for line in run():
        print(line)
