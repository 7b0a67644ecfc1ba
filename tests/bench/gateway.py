"""The gateway on a real relay: what gets past it, what it costs, and what it holds in memory.

`gateway_unscanned`: a thousand fetches by httpx and by undici from origins that cloak by User-Agent, by
count, by Range and by time; what is counted is deliveries whose bytes have no verdict that releases them.

`gateway_overhead`: a picture whose digest is known, over a connection that is kept, beside the same request
through a bare forwarding proxy of the same server and client library on the same loop. The origin is on this
machine and answers at once, which no real one does, so that the proxies' own work is all that there is. Told
beside it: what that comes to with an origin that is 20 ms away, and with several requests on their way at a
time, where both proxies and everything around them share the processors. Rounds of both in turn; a ratio is
the median of the rounds' ratios.

`gateway_memory`: a hundred clients that fetch files of 20 MB at the same time; what counts is the most memory
that the relay's own process holds above what it held before. The scanner's processes are others.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.bench.line_relay import RelayProcess, free_ports, open_relay_process
from tests.bench.pdq import mosaic
from tests.e2e.gateway.backends import Backend, open_node_backend, open_python_backend
from tests.e2e.gateway.cloaking import Cloak
from tests.e2e.gateway.scene import open_gateway_scene
from tests.e2e.gateway.unscanned import fetch_many
from tests.e2e.world import World
from tests.images import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

NAMES = ("gateway_unscanned", "gateway_overhead", "gateway_memory")

FETCHES = 1_000

TARGET_RATIO = 1.5
PICTURE_BYTES = 200_000
REQUESTS = 160
AT_ONCE = 4
ROUNDS = 9
FAR_MS = 20

CLIENTS, FEWER = 100, 20
FILE_SIDE = 2_585
"""Noise of so many pixels a side has 20 MB, however it is packed."""
HOSTS = 10
TARGET_MB = 200.0
"""A tenth of what is on its way at once: two megabytes a client for its buffers, however long its file is."""
_SAMPLE_SECONDS = 0.02


def run() -> Iterator[dict[str, object]]:
    """Run all three."""
    yield asyncio.run(count_unscanned())
    yield asyncio.run(measure_overhead())
    yield asyncio.run(measure_memory())


async def count_unscanned() -> dict[str, object]:
    """Fetch a thousand times from origins that cloak."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        world = await enter(World.open())
        scene = await enter(open_gateway_scene(world))
        cloak = Cloak()
        urls = [*cloak.show_on(world.take_origin()), *cloak.show_on(scene.tls.good)]
        backends: list[Backend] = [await enter(open_python_backend(scene.proxy, scene.authority))]
        with contextlib.suppress(pytest.skip.Exception):
            backends.append(await enter(open_node_backend(scene.proxy, scene.authority)))
        began = time.perf_counter()
        tally = await fetch_many(FETCHES, backends=backends, urls=urls, cloak=cloak, database=scene.database)
        seconds = time.perf_counter() - began
    delivered, withheld = sum(tally.delivered.values()), sum(tally.withheld.values())
    if delivered + withheld != FETCHES or not delivered or not withheld:
        raise RuntimeError(f"not every fetch was answered: {Counter(tally.others)}")
    return {
        "name": "gateway_unscanned",
        "value": len(tally.unscanned),
        "unit": f"of {FETCHES} fetches",
        "target": 0,
        "holds": not tally.unscanned,
        "delivered": delivered,
        "withheld": withheld,
        "clients": len(backends),
        "fetches_per_second": round(FETCHES / seconds, 1),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Milliseconds a request through both proxies, round by round."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        return [one / other for one, other in zip(self.ours, self.theirs, strict=True)]


async def measure_overhead() -> dict[str, object]:
    """Fetch a known picture through both proxies in turn."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        picture = await asyncio.to_thread(draw_picture, folder / "picture.png", PICTURE_BYTES)
        size = picture.stat().st_size
        stage = await stack.enter_async_context(open_stage(picture, delays_ms=(0, FAR_MS)))
        bare = await stack.enter_async_context(open_peer("proxy"))
        near, far = (url + "known.png" for url in stage.urls)

        async def compare(url: str, at_once: int) -> Compared:
            times: dict[int, list[float]] = {stage.gateway_port: [], bare: []}
            for number in range(ROUNDS + 1):
                for port, found in times.items():
                    one = await fetch_in_rows(port, url, at_once)
                    if number:  # The first opens the connections, and has the picture examined.
                        found.append(one)
            return Compared(ours=times[stage.gateway_port], theirs=times[bare])

        alone, loaded = await compare(near, 1), await compare(near, AT_ONCE)
        distant = await compare(far, AT_ONCE)
    ratio = statistics.median(alone.ratios)
    return {
        "name": "gateway_overhead",
        "value": round(statistics.median(alone.ours), 2),
        "unit": "ms",
        "peer": "a bare forwarding proxy with the same server library",
        "peer_value": round(statistics.median(alone.theirs), 2),
        "ratio": round(ratio, 2),
        "target": f"<= {TARGET_RATIO} of the peer",
        "holds": ratio <= TARGET_RATIO,
        "ratios": [round(one, 2) for one in sorted(alone.ratios)],
        f"ratio_{AT_ONCE}_at_once": round(statistics.median(loaded.ratios), 2),
        f"ratio_origin_{FAR_MS}_ms_away": round(statistics.median(distant.ratios), 2),
        "picture_bytes": size,
    }


async def fetch_in_rows(port: int, url: str, at_once: int) -> float:
    """Fetch over so many connections, on each one request after the other; return milliseconds a request."""

    async def fetch_in_a_row() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for _ in range(REQUESTS // at_once):
                status, _ = await fetch(reader, writer, url)
                if status != 200:
                    raise RuntimeError(f"the proxy answered {status}")
        finally:
            writer.close()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(fetch_in_a_row())
    return (time.perf_counter() - began) / (REQUESTS // at_once * at_once) * 1000


async def measure_memory() -> dict[str, object]:
    """Let few and many clients fetch long files, first known ones, then such as have to be examined."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        picture = await asyncio.to_thread(draw_noise, folder / "noise.png")
        size = picture.stat().st_size
        stage = await stack.enter_async_context(open_stage(picture, delays_ms=(0,) * HOSTS))

        def name(client: int, kind: str) -> str:
            return f"{stage.urls[client % HOSTS]}{kind}.png"

        await fetch_all([name(0, "known")], stage.gateway_port)
        few = await watch(
            stage.relay, lambda: fetch_all([name(n, "known") for n in range(FEWER)], stage.gateway_port)
        )
        many = await watch(
            stage.relay, lambda: fetch_all([name(n, "known") for n in range(CLIENTS)], stage.gateway_port)
        )
        fresh = await watch(
            stage.relay, lambda: fetch_all([name(n, f"fresh{n}") for n in range(CLIENTS)], stage.gateway_port)
        )
    if set(few.statuses) | set(many.statuses) != {200}:
        raise RuntimeError(f"not every file was delivered: {few.statuses} {many.statuses}")
    growth = many.growth_mb - few.growth_mb
    return {
        "name": "gateway_memory",
        "value": round(many.growth_mb, 1),
        "unit": "MB",
        "peer": f"{FEWER} clients",
        "peer_value": round(few.growth_mb, 1),
        "ratio": round(many.growth_mb / max(few.growth_mb, 1), 2),
        "target": f"<= {TARGET_MB:.0f} MB for {CLIENTS} clients with 20 MB each",
        "holds": many.growth_mb <= TARGET_MB,
        "growth_from_few_to_many": round(growth, 1),
        "seconds": round(many.seconds, 1),
        "all_unknown": round(fresh.growth_mb, 1),
        "all_unknown_statuses": {str(status): count for status, count in sorted(fresh.statuses.items())},
        "file_bytes": size,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a process held while something was done."""

    growth_mb: float
    seconds: float
    statuses: Counter[int]


async def watch(relay: RelayProcess, do: Callable[[], Awaitable[Counter[int]]]) -> Watched:
    """Do something, and look at the relay's memory meanwhile."""
    before = most = read_resident_mb(relay.pid)
    began = time.perf_counter()
    doing = asyncio.ensure_future(do())
    while not doing.done():
        most = max(most, read_resident_mb(relay.pid))
        await asyncio.sleep(_SAMPLE_SECONDS)
    seconds = time.perf_counter() - began
    return Watched(growth_mb=most - before, seconds=seconds, statuses=await doing)


def read_resident_mb(pid: int) -> float:
    """Return the memory that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


async def fetch_all(urls: Sequence[str], port: int) -> Counter[int]:
    """Fetch all at the same time, each over a connection of its own, and count the statuses."""

    async def fetch_one(url: str) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            status, _ = await fetch(reader, writer, url)
        finally:
            writer.close()
        return status

    async with asyncio.TaskGroup() as group:
        fetching = [group.create_task(fetch_one(url)) for url in urls]
    return Counter(one.result() for one in fetching)


async def fetch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> tuple[int, int]:
    """Ask a proxy for a URL, read the answer to its end and return its status and length."""
    authority = url.partition("://")[2].partition("/")[0]
    writer.write(f"GET {url} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: bench\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    left = length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while left:
        left -= len(await reader.read(min(left, 1 << 18)))
    return int(head.split(b" ", 2)[1]), length


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A relay with its gateway open, and origins.

    Attributes:
        urls: Where the origins' paths begin.
    """

    relay: RelayProcess
    gateway_port: int
    urls: tuple[str, ...]


@contextlib.asynccontextmanager
async def open_stage(picture: Path, *, delays_ms: Sequence[int]) -> AsyncIterator[Stage]:
    """Run a relay whose gateway opens no TLS, and origins so far away that serve a picture."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        names = [f"127.0.3.{number + 1}" for number in range(len(delays_ms))]
        ports = [
            await enter(open_peer("origin", name, str(picture), str(delay)))
            for name, delay in zip(names, delays_ms, strict=True)
        ]
        (gateway_port,) = free_ports(1)
        settings = {
            "FETCH_ALLOW_PRIVATE": "127.0.3.0/24",
            "GATEWAY_ENABLED": "true",
            "GATEWAY_OPENS_TLS": "false",
            "GATEWAY_PORT": str(gateway_port),
            "GATEWAY_PORTS": ",".join(map(str, ports)),
        }
        relay = await enter(
            open_relay_process(
                backend_url="http://127.0.0.1:9",
                settings={f"BREAKWATER_{name}": value for name, value in settings.items()},
            )
        )
        yield Stage(
            relay=relay,
            gateway_port=gateway_port,
            urls=tuple(f"http://{name}:{port}/" for name, port in zip(names, ports, strict=True)),
        )


@contextlib.asynccontextmanager
async def open_peer(kind: str, *arguments: str) -> AsyncIterator[int]:
    """Run an origin or a bare proxy, and yield its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench._gateway_peers",
        kind,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


def draw_picture(path: Path, size: int) -> Path:
    """Write a PNG of about so many bytes."""
    side = 64
    encoded = b""
    while len(encoded) < size:
        side = side * 5 // 4
        encoded = encode(mosaic(side, side), "PNG")
    path.write_bytes(encoded)
    return path


def draw_noise(path: Path) -> Path:
    """Write a PNG of 20 MB."""
    noise = np.random.default_rng(1).integers(0, 256, (FILE_SIDE, FILE_SIDE, 3), dtype=np.uint8)
    path.write_bytes(encode(Image.fromarray(noise), "PNG", compress_level=0))
    return path


if __name__ == "__main__":
    for line in run():
        print(line)
