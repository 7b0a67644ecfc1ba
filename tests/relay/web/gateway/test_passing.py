"""What is not media passes as it comes, both ways."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tests.fediverse import behaviours as do
from tests.images import encode, marker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.relay.web.gateway.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACTIVITY = json.dumps({"@context": "https://www.w3.org/ns/activitystreams", "type": "Note"}).encode()
PAGE = b"<!DOCTYPE html><html><head><title>BM</title></head><body>" + b"x" * 100_000 + b"</body></html>"


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (ACTIVITY, "application/activity+json"),
        (PAGE, "text/html; charset=utf-8"),
        ("<html><body>こんにちは".encode("shift-jis"), "text/html; charset=Shift_JIS"),
        (b"User-agent: *\nDisallow:\n", "text/plain"),
        (b"BM is a short text", "text/plain"),
        (b"The free encyclopedia", "text/plain"),
        (b"plain words without a type", None),
        (b"#EXTM3U\n#EXT-X-VERSION:7\nsegment.mp4\n", "audio/mpegurl"),
        (b"%PDF-1.7 \x00\x01", "application/pdf"),
        (b"%PDF-1.7\n" + b"% words\n" * 1_000 + b"stream\n\x00\x01", "application/pdf"),
        (("\ufeff<html>" + "a\u3042" * 5_000).encode("utf-16-le"), "text/html; charset=utf-16"),
        (b"", "text/html"),
    ],
)
async def test_what_is_no_media_arrives_untouched(
    scene: Scene, data: bytes, content_type: str | None
) -> None:
    before = _count_media(scene)
    answer = await scene.get(scene.origin.on("/a", do.serve(data, content_type, headers={"X-A": "b"})))
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers.get("Content-Type") == content_type
    assert answer.headers["X-A"] == "b"
    assert _count_media(scene) == before


def _count_media(scene: Scene) -> list[str]:
    counted = scene.line.metrics.render()[0].decode().splitlines()
    return [line for line in counted if line.startswith("breakwater_media_total")]


async def test_a_packed_page_stays_packed(scene: Scene) -> None:
    packed = gzip.compress(PAGE, mtime=0)
    url = scene.origin.on("/a", do.serve(packed, "text/html", headers={"Content-Encoding": "gzip"}))
    answer = await scene.get(url)
    assert answer.content == PAGE
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Length"] == str(len(packed))


async def test_a_redirect_is_for_the_backend_to_follow(scene: Scene) -> None:
    url = scene.origin.on("/a", do.redirect("/b"))
    answer = await scene.get(url)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/b")
    assert scene.origin.count("/b") == 0


async def test_a_signed_get_reaches_the_origin_with_every_signed_byte(scene: Scene) -> None:
    url = scene.origin.serve_media("/a%20b/%7Euser?x=%2F&y=1", encode(marker(2), "PNG"))
    covered = "(request-target) host date accept"
    signature = f'keyId="https://social.example/actor#main-key",headers="{covered}",signature="AA=="'
    headers = {
        "Accept": "image/*;q=0.9, */*",
        "Date": "Sun, 22 Nov 2026 06:00:00 GMT",
        "Signature": signature,
        "User-Agent": "http.rb/5.1.1 (Mastodon/4.5.0; +https://social.example/)",
    }
    async with scene.backend() as backend:
        assert (await backend.get(url, headers=headers)).status_code == 404
    (request,) = scene.origin.requests
    assert request.target == "/a%20b/%7Euser?x=%2F&y=1"
    assert request.header("Host") == f"{scene.origin.host}:{scene.origin.port}"
    for name, value in headers.items():
        assert request.header(name) == value


async def test_only_what_belongs_to_the_connection_or_to_us_stays_behind(scene: Scene) -> None:
    url = scene.plain.serve_media("/a", b"words", "text/plain")
    async with scene.backend(credentials="breakwater:word@") as backend:
        await backend.get(
            url,
            headers={
                "Accept-Encoding": "gzip, br",
                "Connection": "keep-alive, X-Hop",
                "X-Hop": "secret",
                "Proxy-Connection": "keep-alive",
                "Keep-Alive": "timeout=5",
                "TE": "trailers",
                "Range": "bytes=0-1",
                "If-Range": '"x"',
                "Authorization": "Bearer x",
                "Cookie": "a=b",
            },
        )
    (request,) = scene.plain.requests
    names = {name.lower() for name, _ in request.headers}
    assert (
        names & {"x-hop", "proxy-connection", "proxy-authorization", "keep-alive", "te", "range", "if-range"}
        == set()
    )
    assert request.header("Accept-Encoding") == "identity"
    assert (request.header("Authorization"), request.header("Cookie")) == ("Bearer x", "a=b")
    assert "breakwater" not in (request.header("Via") or "").lower()


async def test_what_a_signature_covers_stays_even_if_it_would_be_changed(scene: Scene) -> None:
    url = scene.origin.serve_media("/a", b"words", "text/plain")
    covered = 'sig1=("@method" "accept-encoding" "range");created=1;keyid="k"'
    await scene.get(url, Accept_Encoding="gzip", Range="bytes=0-1", Signature_Input=covered)
    aws = "AWS4-HMAC-SHA256 Credential=k, SignedHeaders=accept-encoding;host;range, Signature=0"
    await scene.get(url, Accept_Encoding="gzip", Range="bytes=0-1", Authorization=aws)
    for request in scene.origin.requests:
        assert (request.header("Accept-Encoding"), request.header("Range")) == ("gzip", "bytes=0-1")


async def test_a_delivery_is_passed_on_byte_for_byte(scene: Scene) -> None:
    url = scene.origin.on("/inbox", do.serve(b"", None, status=202))
    async with scene.backend() as backend:
        answer = await backend.post(
            url,
            content=ACTIVITY,
            headers={"Content-Type": "application/activity+json", "Digest": "SHA-256=x"},
        )
    assert answer.status_code == 202
    (request,) = scene.origin.requests
    assert (request.method, request.body) == ("POST", ACTIVITY)
    assert request.header("Content-Length") == str(len(ACTIVITY))
    assert request.header("Digest") == "SHA-256=x"


async def test_a_long_body_streams_up_framed_as_the_backend_framed_it(scene: Scene) -> None:
    url = scene.origin.on("/upload", do.serve(b"", None, status=201))
    data = bytes(range(256)) * 4000

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), 50_000):
            yield data[at : at + 50_000]

    async with scene.backend() as backend:
        whole = await backend.put(url, content=data)
        chunked = await backend.put(url, content=pieces())
    assert (whole.status_code, chunked.status_code) == (201, 201)
    first, second = scene.origin.requests
    assert first.body == second.body == data
    assert first.header("Content-Length") == str(len(data))
    assert (second.header("Content-Length"), second.header("Transfer-Encoding")) == (None, "chunked")


async def test_a_backend_that_waits_to_be_told_so_may_send_its_body(scene: Scene) -> None:
    url = scene.plain.on("/inbox", do.serve(b"", None, status=202))
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.gateway.port)
    writer.write(
        f"POST {url} HTTP/1.1\r\nHost: 127.0.0.1:{scene.plain.port}\r\nContent-Length: 2\r\n"
        "Expect: 100-continue\r\n\r\n".encode()
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
    writer.close()
    await writer.wait_closed()
    assert scene.plain.requests[0].body == b"{}"
    assert scene.plain.requests[0].header("Expect") is None


async def test_one_connection_serves_many_requests(scene: Scene) -> None:
    picture, seen = encode(marker(2), "PNG"), set()
    async with scene.backend() as backend:
        for number in range(5):
            answer = await backend.get(scene.origin.serve_media(f"/{number}.png", picture))
            assert answer.content == picture
            seen.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            withheld = await backend.get(scene.origin.serve_media(f"/{number}.svg", b"<svg/>"))
            assert withheld.status_code == 403
    assert len(seen) == 1
