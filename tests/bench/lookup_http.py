"""A picture in over HTTP, whether a list holds it out: our look-up door beside a service of the usual make.

The peer is one worker of a WSGI service that takes the same multipart form and does what such services do:
the hasher and the PDQ index of `threatexchange`, over the same 100,000 hashes. Ours is the real relay process
with its sandbox, its embedded database and the same list. Four clients send one picture after the other;
runs through the one and the other alternate on the same two cores, which the clients share. The peer closes
its connection after each answer, as synchronous workers do. Half of the pictures are listed, and every answer
is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import multiprocessing
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from threatexchange.signal_type.pdq.signal import PdqSignal
from werkzeug.formparser import parse_form_data
from werkzeug.serving import WSGIRequestHandler, make_server

from db.hashlists import NewHashList, import_list
from db.pool import open_database
from relay.clock import SystemClock
from scanner.hashtable import HashKind, HashTable
from tests.bench.line_relay import free_ports, open_relay_process
from tests.bench.pdq import mosaic
from tests.images import encode, marker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

NAMES = ("lookup_http", "lookup_http_p50_ms")

TARGET: Final = 10.0
LISTED: Final = 100_000
PICTURES: Final = 16
CLIENTS: Final = 4
ROUNDS: Final = 3
SECONDS: Final = 5.0
WIDTH, HEIGHT = 1_440, 1_080
SECRET = "the-secret-of-the-benchmark"
_BOUNDARY: Final = "a-boundary-that-no-picture-holds"
_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is sent.

    Attributes:
        body: The whole form.
        is_listed: Whether the list holds it.
    """

    body: bytes
    is_listed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Where it is sent, and how the answer is read."""

    port: int
    path: str
    is_match: Callable[[Any], bool]


def run() -> Iterator[dict[str, object]]:
    """Measure both services in turns."""
    yield from asyncio.run(measure())


async def measure() -> list[dict[str, object]]:
    """Open both services, send the same pictures to both, and compare."""
    files = _draw_pictures()
    hashes = [PdqSignal.hash_from_bytes(data) for data in files]
    pictures = [Picture(body=_build_form(data), is_listed=at % 2 == 0) for at, data in enumerate(files)]
    noise = np.random.default_rng(1).bytes(LISTED * 32)
    listed = [noise[at : at + 32].hex() for at in range(0, len(noise), 32)] + hashes[::2]
    async with _open_ours(listed) as ours, _open_peer(listed) as peer:
        for service in (ours, peer):
            await _send_for(service, pictures, seconds=1.0)
        rounds = [
            [await _send_for(service, pictures, seconds=SECONDS) for service in (ours, peer)]
            for _ in range(ROUNDS)
        ]
    rates = [[len(times) / SECONDS for times in one] for one in rounds]
    ratios = [mine / theirs for mine, theirs in rates]
    medians = [statistics.median(time for one in rounds for time in one[place]) for place in (0, 1)]
    return [
        {
            "name": "lookup_http",
            "value": round(statistics.median(one[0] for one in rates), 1),
            "unit": "requests/s",
            "peer": "one WSGI worker with threatexchange's hasher and index",
            "peer_value": round(statistics.median(one[1] for one in rates), 1),
            "ratio": round(statistics.median(ratios), 1),
            "target": f">= {TARGET:.0f} x the peer's",
            "holds": statistics.median(ratios) >= TARGET,
            "ratios": [round(one, 1) for one in ratios],
        },
        {
            "name": "lookup_http_p50_ms",
            "value": round(medians[0] * 1000, 1),
            "unit": "ms",
            "peer": "as above",
            "peer_value": round(medians[1] * 1000, 1),
            "ratio": round(medians[1] / medians[0], 1),
        },
    ]


def _draw_pictures() -> list[bytes]:
    base = mosaic(WIDTH, HEIGHT)
    pictures = []
    for number in range(PICTURES):
        picture = base.copy()
        # So large that the looks, and not only the bytes, differ.
        picture.paste(marker(900 + number, width=WIDTH // 2, height=HEIGHT), (0, 0))
        pictures.append(encode(picture, "JPEG", quality=85))
    return pictures


def _build_form(data: bytes) -> bytes:
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()


async def _send_for(service: Service, pictures: Sequence[Picture], *, seconds: float) -> list[float]:
    """Have every client send picture after picture; return how long each answer took, in seconds."""
    until = time.perf_counter() + seconds
    async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as group:
        clients = [
            group.create_task(_send_as_client(service, pictures[first:] + pictures[:first], until))
            for first in range(CLIENTS)
        ]
    return [took for client in clients for took in client.result()]


async def _send_as_client(service: Service, pictures: Sequence[Picture], until: float) -> list[float]:
    times: list[float] = []
    while time.perf_counter() < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1 << 20)
        try:
            is_kept = True
            while is_kept and time.perf_counter() < until:
                picture = pictures[len(times) % len(pictures)]
                started = time.perf_counter()
                writer.write(_build_head(service, picture))
                writer.write(picture.body)
                await writer.drain()
                answer, is_kept = await _read_answer(reader)
                times.append(time.perf_counter() - started)
                if service.is_match(answer) is not picture.is_listed:
                    raise RuntimeError("a service answered wrongly")
        finally:
            writer.close()
    return times


def _build_head(service: Service, picture: Picture) -> bytes:
    return (
        f"POST {service.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(picture.body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n\r\n"
    ).encode()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[Any, bool]:
    """Read one answer, and whether the connection is kept."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(line.partition(":")[2] for line in head.splitlines() if line.startswith("content-length"))
    return json.loads(await reader.readexactly(int(length))), "connection: close" not in head


@contextlib.asynccontextmanager
async def _open_ours(listed: Sequence[str]) -> AsyncIterator[Service]:
    (port,) = free_ports(1)
    settings = {
        "BREAKWATER_DOORS_LOOKUP": "true",
        "BREAKWATER_DOORS_PORT": str(port),
        "BREAKWATER_DOORS_SECRET": SECRET,
    }
    packed = np.frombuffer(bytes.fromhex("".join(listed)), dtype=np.uint8).reshape(-1, 32)
    table = HashTable.from_rows({HashKind.PDQ: packed})
    async with open_relay_process(backend_url="http://127.0.0.1:9", settings=settings) as relay:
        new = NewHashList(
            name="bench",
            version="1",
            category="spam",
            distance=31,
            min_quality=50,
            is_dihedral=False,
            digest=table.digest(),
        )
        async with open_database(relay.dsn) as database, database.connection() as conn:
            values = {"pdq": table.get_rows(HashKind.PDQ).tobytes()}
            await import_list(conn, new, values, now=SystemClock().now())
        service = Service(
            port=port, path=f"/{SECRET}/lookup", is_match=lambda said: said["verdict"] == "match"
        )
        await _wait_until_loaded(service)
        yield service


async def _wait_until_loaded(service: Service) -> None:
    """Wait until the relay has read the list, which the first listed picture tells."""
    listed = Picture(body=_build_form(_draw_pictures()[0]), is_listed=True)
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            with contextlib.suppress(ExceptionGroup):
                await _send_for(service, [listed], seconds=0.1)
                return


@contextlib.asynccontextmanager
async def _open_peer(listed: Sequence[str]) -> AsyncIterator[Service]:
    (port,) = free_ports(1)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve_peer, args=(port, list(listed)), daemon=True)
    process.start()
    try:
        await _wait_until_listening(port)
        yield Service(port=port, path="/lookup", is_match=lambda said: bool(said["matches"]))
    finally:
        process.kill()
        process.join()


async def _wait_until_listening(port: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.1)


class _Silent(WSGIRequestHandler):
    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


def _serve_peer(port: int, listed: list[str]) -> None:
    index = PdqSignal.get_index_cls().build([(one, place) for place, one in enumerate(listed)])

    def answer(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        _, _, files = parse_form_data(environ)
        buffer = io.BytesIO()
        files["file"].save(buffer)
        found = index.query(PdqSignal.hash_from_bytes(buffer.getvalue()))
        body = json.dumps({"matches": [one.metadata for one in found]}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    make_server("127.0.0.1", port, answer, request_handler=_Silent).serve_forever()
