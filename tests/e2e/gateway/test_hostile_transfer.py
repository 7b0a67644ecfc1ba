"""What a hostile or broken origin can do once it is asked: none of it reaches the backend as a whole file."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scanner.canary import draw_canary
from tests.e2e.gateway.cloaking import draw_harmless
from tests.fediverse import behaviours as do
from tests.images import encode, marker

if TYPE_CHECKING:
    import asyncio

    from tests.e2e.gateway.backends import NodeBackend, PythonBackend
    from tests.e2e.gateway.scene import GatewayScene
    from tests.fediverse import Origin
    from tests.fediverse.wire import WireRequest

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HARMLESS = encode(marker(61, width=96, height=96), "PNG")
PAGE = b"<!doctype html><title>a page</title>" * 500


def endless(begin: bytes, content_type: str) -> do.Behaviour:
    """Begin like a picture, and never end."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + f"{len(begin):x}\r\n".encode() + begin + b"\r\n")
        while not writer.transport.is_closing():
            writer.write(b"10000\r\n" + bytes(65_536) + b"\r\n")
            await writer.drain()
        return False

    return behave


@pytest.mark.parametrize("content_type", ["image/png", "text/plain", "application/octet-stream"])
async def test_an_endless_picture_is_refused_at_the_bound(
    content_type: str, gateway: GatewayScene, backend: PythonBackend, origin: Origin
) -> None:
    got = await backend.fetch(origin.on("/endless", endless(SIGNATURE, content_type)))
    assert got.status == 403
    assert len(got.body) < 100


async def test_a_declared_length_beyond_the_bound_is_refused_before_the_body(
    backend: PythonBackend, origin: Origin
) -> None:
    url = origin.on("/huge.png", do.stall_after(SIGNATURE + bytes(8192), declared=10_000_000_000))
    assert (await backend.fetch(url)).status == 403


@pytest.mark.parametrize("kind", ["picture", "page"])
async def test_a_body_shorter_than_declared_is_never_delivered_as_whole(
    kind: str, backend: PythonBackend, node: NodeBackend, origin: Origin, gateway: GatewayScene
) -> None:
    data, content_type = (HARMLESS, "image/png") if kind == "picture" else (PAGE, "text/html")
    lie = do.lie_about_length(data, len(data) + 10, content_type=content_type)
    got = await backend.fetch(origin.on("/short", lie))
    assert got.status == 502 or not got.is_whole
    other = await node.fetch(gateway.tls.good.on("/short", lie))
    assert other.status == 502 or not other.is_whole


async def test_what_follows_the_declared_length_reaches_nobody(
    backend: PythonBackend, origin: Origin
) -> None:
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/plain\r\n\r\nforged"
    lie = do.lie_about_length(HARMLESS + forged, len(HARMLESS))
    url = origin.on("/a.png", do.in_turn(lie, do.serve(b"honest", "text/plain")))
    assert (await backend.fetch(url)).body == HARMLESS
    assert (await backend.fetch(url)).body == b"honest"


@pytest.mark.parametrize("kind", ["picture", "page"])
async def test_one_byte_a_second_ends_early(kind: str, backend: PythonBackend, origin: Origin) -> None:
    data, content_type = (HARMLESS, "image/png") if kind == "picture" else (PAGE, "text/html")
    got = await backend.fetch(
        origin.on("/drip", do.drip(data, interval_seconds=1, content_type=content_type))
    )
    assert got.status == 504


@pytest.mark.parametrize("size", [4, 4_500])
async def test_a_picture_that_stops_coming_is_not_delivered(
    size: int, backend: PythonBackend, origin: Origin
) -> None:
    data = draw_harmless(61_000)
    url = origin.on("/stop.png", do.stall_after(data[:size], declared=len(data)))
    assert (await backend.fetch(url)).status == 504


async def test_an_answer_that_never_begins_is_a_timeout(backend: PythonBackend, origin: Origin) -> None:
    assert (await backend.fetch(origin.on("/never", do.stall()))).status == 504


BROKEN = {
    "no_http": b"no http at all\r\n\r\n",
    "nothing": b"",
    "two_lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a_negative_length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a_length_and_chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    ),
    "packed_chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "a_long_header": b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "a_thousand_headers": (
        b"HTTP/1.1 200 OK\r\n"
        + b"".join(b"X-%d: 1\r\n" % n for n in range(1000))
        + b"Content-Length: 0\r\n\r\n"
    ),
    "another_protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_http_is_a_bad_gateway(name: str, backend: PythonBackend, origin: Origin) -> None:
    got = await backend.fetch(origin.on("/broken", do.answer_raw(BROKEN[name])))
    assert got.status == 502


@pytest.mark.parametrize("name", ["broken_chunks", "chunks_without_an_end"])
async def test_a_body_whose_chunks_break_is_never_whole(
    name: str, backend: PythonBackend, origin: Origin
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"2000\r\n" + b"<p>" + b"a" * 0x1FFD + b"\r\n" + (b"ZZ\r\n" if name == "broken_chunks" else b"")
    got = await backend.fetch(origin.on("/broken", do.answer_raw(head + body)))
    assert got.status == 502 or not got.is_whole


async def test_endless_headers_end_the_request(backend: PythonBackend, origin: Origin) -> None:
    assert (await backend.fetch(origin.on("/headers", do.flood_headers()))).status == 502


PACKED = {
    "gzip": gzip.compress(draw_canary(), mtime=0),
    "x-gzip": gzip.compress(draw_canary(), mtime=0),
    "deflate": zlib.compress(draw_canary()),
    "identity, gzip": gzip.compress(draw_canary(), mtime=0),
    "gzip, gzip": gzip.compress(gzip.compress(draw_canary(), mtime=0), mtime=0),
    "br": b"\x0b\x02\x80" + draw_canary()[:5] + b"\x03",
    "zstd": b"\x28\xb5\x2f\xfd" + draw_canary()[:200],
    "aws-chunked": draw_canary(),
    "x-unheard-of": draw_canary(),
}


@pytest.mark.parametrize("coding", PACKED)
@pytest.mark.parametrize("content_type", ["image/png", "text/html"])
async def test_no_coding_hides_the_canary(
    coding: str, content_type: str, backend: PythonBackend, origin: Origin
) -> None:
    served = do.serve(PACKED[coding], content_type, headers={"Content-Encoding": coding})
    got = await backend.fetch(origin.on("/packed", served))
    assert got.status in {403, 502}
    assert len(got.body) < 100


async def test_a_packed_picture_is_delivered_as_what_was_examined(
    backend: PythonBackend, origin: Origin
) -> None:
    data = draw_harmless(61_100)
    packed = gzip.compress(data, mtime=0)
    url = origin.on("/packed.png", do.serve(packed, headers={"Content-Encoding": "gzip"}))
    got = await backend.fetch(url)
    assert got.status == 200
    assert (got.body, got.header("Content-Encoding")) in ((data, None), (packed, "gzip"))


@pytest.mark.parametrize("begin", [SIGNATURE, b""])
async def test_a_bomb_has_nothing_to_go_off_in(
    begin: bytes, gateway: GatewayScene, backend: PythonBackend, origin: Origin
) -> None:
    bomb = gzip.compress(begin + bytes(400_000_000), mtime=0)
    before = read_peak_bytes(gateway.relay.pid)
    got = await backend.fetch(origin.on("/bomb.png", do.serve(bomb, headers={"Content-Encoding": "gzip"})))
    assert got.status == 403
    assert read_peak_bytes(gateway.relay.pid) - before < 150_000_000


def build_png_header(width: int, height: int) -> bytes:
    """Build a PNG that claims a size and holds nothing of it."""

    def build_chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = build_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return SIGNATURE + header + build_chunk(b"IDAT", zlib.compress(bytes(1000))) + build_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (build_png_header(50_000, 50_000), "image/png"),
        (build_png_header(2**31 - 1, 2**31 - 1), "image/png"),
        (b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b",", "image/gif"),
    ],
)
async def test_a_picture_that_claims_a_monstrous_size_is_refused(
    body: bytes, content_type: str, gateway: GatewayScene, backend: PythonBackend, origin: Origin
) -> None:
    before = read_peak_bytes(gateway.relay.pid)
    got = await backend.fetch(origin.on("/bomb", do.serve(body, content_type)))
    assert got.status == 403
    assert read_peak_bytes(gateway.relay.pid) - before < 50_000_000


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (PAGE, "image/png", 403),
        (b'{"type": "Delete"}', "image/png", 403),
        (b"%PDF-1.7\n" + bytes(100), "image/png", 403),
        (b"\x89PNG\r\n\x1a\n", "image/png", 403),
        (HARMLESS[: len(HARMLESS) // 2], "image/png", 403),
        (HARMLESS, "video/mp4", 403),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://10.0.0.1/\n", "video/mp4", 403),
        (b"", "image/png", 200),
    ],
)
async def test_what_is_not_what_it_says_is_no_picture(
    body: bytes, content_type: str, status: int, backend: PythonBackend, origin: Origin
) -> None:
    got = await backend.fetch(origin.on("/lie.png", do.serve(body, content_type)))
    assert got.status == status
    assert body == b"" or body not in got.body


def read_peak_bytes(pid: int) -> int:
    """Return the most memory that a process ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
