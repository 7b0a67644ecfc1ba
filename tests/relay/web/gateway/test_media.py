"""Media through the gateway: what is delivered is what was examined, or nothing."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import httpx
import pytest

from relay.web.gateway import verdicts
from scanner.canary import draw_canary
from signatures.fields import ATTESTATION_HEADER, build_attestation_field
from tests.fediverse import behaviours as do
from tests.fediverse.wire import build_head
from tests.images import encode, marker
from tests.relay.web.gateway.scene import open_scene

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from relay.model import Media
    from tests.fediverse.behaviours import Behaviour
    from tests.fediverse.wire import WireRequest
    from tests.relay.web.gateway.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURE = encode(marker(5), "PNG")
WITHHELD = b"Not available through this proxy.\n"


def serve_in_chunks(*chunks: bytes, content_type: str = "image/png") -> Behaviour:
    """Serve a body in chunks, each written by itself."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(build_head(200, (("Transfer-Encoding", "chunked"), ("Content-Type", content_type))))
        for chunk in chunks:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    return behave


async def test_a_picture_arrives_byte_for_byte_with_the_origins_own_headers(scene: Scene) -> None:
    url = scene.origin.on(
        "/a.png",
        do.serve(PICTURE, "image/png", headers={"ETag": '"x"', "X-Odd": "Grüße".encode().decode("latin-1")}),
    )
    answer = await scene.get(url)
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert answer.headers["ETag"] == '"x"'
    assert set(answer.headers) == {"content-length", "content-type", "etag", "x-odd"}
    assert (b"X-Odd", "Grüße".encode()) in answer.headers.raw


async def test_the_canary_is_withheld_by_an_answer_that_says_nothing(scene: Scene) -> None:
    answer = await scene.get(scene.origin.serve_media("/a.png", draw_canary()))
    assert answer.status_code == 403
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content == WITHHELD


async def test_a_second_fetch_of_known_bytes_does_not_examine_them_again(scene: Scene) -> None:
    picture = encode(marker(77), "PNG")
    url = scene.origin.serve_media("/a.png", picture)
    examined = []
    scan = scene.line.tools.scans.scanning.scan

    async def count(data: bytes, **options: str | None) -> object:
        examined.append(len(data))
        return await scan(data, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(scene.line.tools.scans.scanning), "scan", lambda _, data, **rest: count(data, **rest)
        )
        first, second = await scene.get(url), await scene.get(url)
    assert first.content == second.content == picture
    assert examined == [len(picture)]


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", None, "text/plain"])
async def test_a_picture_is_examined_whatever_it_is_called(scene: Scene, content_type: str | None) -> None:
    answer = await scene.get(scene.origin.serve_media("/a", draw_canary(), content_type))
    assert answer.status_code == 403


@pytest.mark.parametrize("status", [201, 203, 404, 500])
async def test_a_picture_is_examined_whatever_the_status(scene: Scene, status: int) -> None:
    url = scene.origin.on("/a", do.serve(draw_canary(), status=status))
    assert (await scene.get(url)).status_code == 403


async def test_a_picture_in_the_answer_to_a_post_is_examined(scene: Scene) -> None:
    url = scene.origin.serve_media("/a", draw_canary())
    async with scene.backend() as backend:
        assert (await backend.post(url, content=b"{}")).status_code == 403


async def test_one_byte_at_a_time_hides_nothing(scene: Scene) -> None:
    canary = draw_canary()
    tiny = [canary[at : at + 1] for at in range(64)]
    url = scene.origin.on("/a", serve_in_chunks(*tiny, canary[64:], content_type="application/octet-stream"))
    assert (await scene.get(url)).status_code == 403
    honest = scene.origin.on("/b", serve_in_chunks(PICTURE[:1], PICTURE[1:2], PICTURE[2:]))
    assert (await scene.get(honest)).content == PICTURE


@pytest.mark.parametrize(
    ("beginning", "content_type"),
    [
        (b"\x00\x01\x02garbage", "image/png"),
        (b"\x00\x01\x02garbage", "application/octet-stream"),
        (b"\x00\x01\x02garbage", None),
        (b"Once upon a time there was a picture. " * 200, "image/png"),
        (b"<html><body>" + b" " * 5000, "image/png"),
    ],
)
async def test_what_stands_before_a_picture_does_not_bring_it_through(
    scene: Scene, beginning: bytes, content_type: str | None
) -> None:
    url = scene.origin.serve_media("/a", beginning + draw_canary(), content_type)
    answer = await scene.get(url)
    assert (answer.status_code, answer.content) == (403, WITHHELD)


async def test_a_drawing_of_vectors_is_withheld_like_all_that_cannot_be_examined(scene: Scene) -> None:
    drawing = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'
    for name, content_type in (
        ("/a", "image/svg+xml"),
        ("/b", "application/octet-stream"),
        ("/c", "text/xml"),
    ):
        assert (await scene.get(scene.origin.serve_media(name, drawing, content_type))).status_code == 403


@pytest.mark.parametrize(
    "headers", [{"User_Agent": "Breakwater"}, {"User_Agent": "Mastodon/4.5"}, {"Range": "bytes=0-9"}]
)
async def test_an_origin_that_shows_everybody_something_else_brings_nothing_through(
    scene: Scene, headers: dict[str, str]
) -> None:
    """Cloaking by agent, by count and by range: there is one request, and its answer is what is examined."""
    url = scene.origin.on(
        "/a",
        do.by_user_agent(
            "mastodon", do.serve(draw_canary()), do.in_turn(do.serve(PICTURE), do.serve(draw_canary()))
        ),
    )
    for _ in range(3):
        answer = await scene.get(url, **headers)
        assert answer.content == WITHHELD or PICTURE.startswith(answer.content)
    assert all(request.header("Range") is None for request in scene.origin.requests)
    assert len(scene.origin.requests) == 3


async def test_a_packed_picture_is_examined_and_delivered_unpacked(scene: Scene) -> None:
    for name, coding, packed in (
        ("/gzip", "gzip", gzip.compress(PICTURE, mtime=0)),
        ("/members", "x-gzip", gzip.compress(PICTURE[:999], mtime=0) + gzip.compress(PICTURE[999:], mtime=0)),
        ("/zlib", "deflate", zlib.compress(PICTURE)),
        ("/raw", "deflate", zlib.compress(PICTURE, wbits=-15)),
    ):
        headers = {"Content-Encoding": coding, "Content-Digest": "sha-256=:AAAA:"}
        answer = await scene.get(scene.origin.on(name, do.serve(packed, headers=headers)))
        assert (answer.status_code, answer.content) == (200, PICTURE), name
        assert "Content-Encoding" not in answer.headers
        assert "Content-Digest" not in answer.headers
        assert answer.headers["Content-Length"] == str(len(PICTURE))


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", lambda data: gzip.compress(data, mtime=0)),
        ("gzip", lambda data: gzip.compress(b"", mtime=0) + gzip.compress(data, mtime=0)),
        ("deflate", zlib.compress),
        ("br", lambda data: data),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data, mtime=0), mtime=0)),
    ],
)
@pytest.mark.parametrize("content_type", ["image/png", "text/html", None])
async def test_no_coding_brings_the_canary_through(
    scene: Scene, coding: str, pack: object, content_type: str | None
) -> None:
    assert callable(pack)
    url = scene.origin.on(
        "/a", do.serve(pack(draw_canary()), content_type, headers={"Content-Encoding": coding})
    )
    assert (await scene.get(url)).status_code == 403


async def test_a_bomb_has_nothing_to_go_off_in(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path, fetch_max_media_bytes="1000000") as scene:
        url = scene.origin.on("/a", do.gzip_bomb())
        assert (await scene.get(url)).status_code == 403
        assert (
            await scene.get(scene.origin.on("/b", do.gzip_bomb(content_type="text/html")))
        ).status_code == 403


async def test_a_packed_body_that_breaks_off_is_no_answer(scene: Scene) -> None:
    packed = gzip.compress(PICTURE, mtime=0)
    for name, data in (
        ("/half", packed[: len(packed) // 2]),
        ("/other", PICTURE),
        ("/more", packed + b"more"),
    ):
        url = scene.origin.on(name, do.serve(data, headers={"Content-Encoding": "gzip"}))
        assert (await scene.get(url)).status_code == 502, name


async def test_what_is_too_long_to_be_examined_is_withheld_unless_the_policy_lets_it_pass(
    dsn: str, tmp_path: Path
) -> None:
    long = PICTURE + bytes(100_000)
    chunks = [long[at : at + 8192] for at in range(0, len(long), 8192)]
    async with open_scene(dsn, tmp_path, fetch_max_media_bytes=str(len(PICTURE))) as scene:
        for name, behaviour in (("/said", do.serve(long)), ("/unsaid", serve_in_chunks(*chunks))):
            assert (await scene.get(scene.origin.on(name, behaviour))).status_code == 403


async def test_what_is_too_long_passes_whole_where_the_policy_says_so(dsn: str, tmp_path: Path) -> None:
    long = PICTURE + bytes(3_000_000)
    chunks = [long[at : at + 8192] for at in range(0, len(long), 8192)]
    packed = gzip.compress(long, mtime=0)
    async with open_scene(
        dsn, tmp_path, fetch_max_media_bytes="2000000", policy_conditions_unscannable="release"
    ) as scene:
        for name, behaviour in (
            ("/said", do.serve(long)),
            ("/unsaid", serve_in_chunks(*chunks)),
            ("/packed", do.serve(packed, headers={"Content-Encoding": "gzip"})),
        ):
            answer = await scene.get(scene.origin.on(name, behaviour))
            assert (answer.status_code, answer.content) == (200, long), name


async def test_a_long_file_lies_nowhere_in_the_clear_while_it_is_held(scene: Scene) -> None:
    long = PICTURE + bytes(range(256)) * 12_000
    answer = await scene.get(scene.origin.serve_media("/a.png", long))
    assert (answer.status_code, answer.content) == (200, long)
    assert list((scene.folder / "copies").iterdir()) == []


async def test_a_part_that_nobody_asked_for_is_withheld(scene: Scene) -> None:
    part = draw_canary()[100:]
    headers = {"Content-Range": f"bytes 100-{len(draw_canary()) - 1}/{len(draw_canary())}"}
    for name, content_type in (
        ("/a", "image/png"),
        ("/b", "text/plain"),
        ("/c", "multipart/byteranges; boundary=x"),
    ):
        url = scene.origin.on(name, do.serve(part, content_type, status=206, headers=headers))
        assert (await scene.get(url)).status_code == 403
    url = scene.origin.serve_media(
        "/d", b"--x\r\n\r\n" + draw_canary(), "multipart/x-mixed-replace; boundary=x"
    )
    assert (await scene.get(url)).status_code == 403


async def test_two_types_at_once_are_withheld(scene: Scene) -> None:
    url = scene.origin.on("/a", do.serve(PICTURE, "text/html", headers={"content-type": "image/png"}))
    assert (await scene.get(url)).status_code == 403


async def test_a_body_that_breaks_off_is_never_delivered_as_media(scene: Scene) -> None:
    short = scene.origin.on("/a", do.lie_about_length(PICTURE, len(PICTURE) + 10))
    assert (await scene.get(short)).status_code == 502
    longer = scene.origin.on("/b", do.lie_about_length(PICTURE + draw_canary(), len(PICTURE)))
    assert (await scene.get(longer)).status_code == 502


async def test_an_empty_body_is_no_media(scene: Scene) -> None:
    answer = await scene.get(scene.origin.serve_media("/a.png", b""))
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_file_of_sound_or_film_is_withheld_until_it_can_be_examined(scene: Scene) -> None:
    film = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41" + bytes(1000)
    assert (await scene.get(scene.origin.serve_media("/a.mp4", film, "video/mp4"))).status_code == 403
    assert (await scene.get(scene.origin.serve_media("/b", film, "text/plain"))).status_code == 403


async def test_the_attestation_beside_a_picture_is_handed_on_to_the_line(scene: Scene) -> None:
    picture = encode(marker(171), "PNG")
    field = build_attestation_field(b"what a peer may have signed")
    url = scene.origin.on("/a.png", do.serve(picture, headers={ATTESTATION_HEADER: field}))
    seen: list[Media] = []
    examine = verdicts.examine_bytes

    async def note(media: Media, *rest: object, **more: object) -> object:
        seen.append(media)
        return await examine(media, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "examine_bytes", note)
        answer = await scene.get(url)
    assert (answer.content, answer.headers[ATTESTATION_HEADER]) == (picture, field)
    assert [(one.data, one.attestation) for one in seen] == [(picture, b"what a peer may have signed")]


async def test_an_attestation_that_cannot_be_read_is_counted_and_ignored(scene: Scene) -> None:
    picture = encode(marker(172), "PNG")
    url = scene.origin.on("/a.png", do.serve(picture, headers={ATTESTATION_HEADER: "nonsense"}))
    count = 'breakwater_attestations_total{outcome="malformed"}'
    assert count not in scene.line.tools.metrics.render()[0].decode()
    assert (await scene.get(url)).content == picture
    assert f"{count} 1.0" in scene.line.tools.metrics.render()[0].decode()


@pytest.mark.parametrize("coding", [None, "gzip"])
@pytest.mark.parametrize(
    "beginning", [b"Once upon a time there was a picture. ", b"<html>a \x0b stray", b'{"a": "']
)
async def test_a_text_that_goes_on_as_something_else_does_not_arrive(
    scene: Scene, beginning: bytes, coding: str | None
) -> None:
    """Some programs look for sound and film behind whatever stands before them."""
    film = b"\x00\x00\x01\xba" + draw_canary()
    body = beginning + b"text " * 20_000 + film
    headers = {} if coding is None else {"Content-Encoding": coding}
    sent = body if coding is None else gzip.compress(body, mtime=0)
    url = scene.origin.on("/a", do.serve(sent, "text/plain", headers=headers))
    arrived = bytearray()

    async def read() -> None:
        async with scene.backend() as backend, backend.stream("GET", url) as answer:
            async for piece in answer.aiter_raw():
                arrived.extend(piece)

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    assert film not in arrived
    assert len(arrived) < len(sent)
