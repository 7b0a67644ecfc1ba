"""Parts, conditions and heads: what a client of files asks for besides the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scanner.canary import draw_canary
from tests.fediverse import behaviours as do
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.relay.web.gateway.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURE = encode(marker(5), "PNG")
SIZE = len(PICTURE)


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, SIZE),
        ("Bytes = 5-5", 5, 6),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=10-{SIZE * 2}", 10, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
    ],
)
async def test_a_part_is_cut_from_the_examined_whole(scene: Scene, value: str, start: int, stop: int) -> None:
    url = scene.origin.on("/a.png", do.serve(PICTURE, headers={"ETag": '"x"'}))
    answer = await scene.get(url, Range=value)
    assert answer.status_code == 206
    assert answer.content == PICTURE[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)
    assert answer.headers["ETag"] == '"x"'
    assert scene.origin.requests[0].header("Range") is None


@pytest.mark.parametrize("value", ["bytes=0-1,5-6", "bytes=9-3", "bytes=-", "lines=0-1", "bytes=a-b"])
async def test_what_is_no_single_part_is_answered_with_the_whole(scene: Scene, value: str) -> None:
    answer = await scene.get(scene.origin.serve_media("/a.png", PICTURE), Range=value)
    assert (answer.status_code, answer.content) == (200, PICTURE)


@pytest.mark.parametrize("value", [f"bytes={SIZE}-", f"bytes={SIZE + 9}-{SIZE + 99}", "bytes=-0"])
async def test_a_part_that_is_not_there_cannot_be_delivered(scene: Scene, value: str) -> None:
    answer = await scene.get(scene.origin.serve_media("/a.png", PICTURE), Range=value)
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


async def test_no_part_of_the_canary_is_delivered(scene: Scene) -> None:
    url = scene.origin.serve_media("/a.png", draw_canary())
    for value in ("bytes=0-0", "bytes=-1", f"bytes={len(draw_canary())}-"):
        assert (await scene.get(url, Range=value)).status_code == 403


async def test_a_signed_range_goes_on_and_the_part_that_comes_back_is_withheld(scene: Scene) -> None:
    headers = {"Content-Range": f"bytes 0-9/{SIZE}"}
    url = scene.origin.on("/a.png", do.serve(PICTURE[:10], status=206, headers=headers))
    signed = 'keyId="k",headers="(request-target) host range",signature="AAAA"'
    answer = await scene.get(url, Range="bytes=0-9", Signature=signed)
    assert answer.status_code == 403
    assert scene.origin.requests[0].header("Range") == "bytes=0-9"


async def test_a_head_is_answered_with_the_origins_own(scene: Scene) -> None:
    url = scene.origin.serve_media("/a.png", PICTURE)
    async with scene.backend() as backend:
        answer = await backend.head(url)
        after = await backend.get(url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(SIZE)
    assert after.content == PICTURE


async def test_conditions_pass_and_what_has_not_changed_has_no_body(scene: Scene) -> None:
    url = scene.origin.on("/a.png", do.serve(b"", None, status=304, headers={"ETag": '"x"'}))
    answer = await scene.get(url, If_None_Match='"x"', If_Modified_Since="Sun, 22 Nov 2026 06:00:00 GMT")
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"x"')
    assert scene.origin.requests[0].header("If-None-Match") == '"x"'
    assert scene.origin.requests[0].header("If-Modified-Since") == "Sun, 22 Nov 2026 06:00:00 GMT"
