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
    url = scene.origin.on("/parts.png", do.serve(PICTURE, headers={"ETag": '"x"'}))
    answer = await scene.get(url, Range=value)
    assert answer.status_code == 206
    assert answer.content == PICTURE[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)
    assert answer.headers["ETag"] == '"x"'
    assert scene.origin.requests[0].header("Range") is None


@pytest.mark.parametrize("value", ["bytes=0-1,5-6", "bytes=9-3", "bytes=-", "lines=0-1", "bytes=a-b"])
async def test_what_is_no_single_part_is_answered_with_the_whole(scene: Scene, value: str) -> None:
    answer = await scene.get(scene.origin.serve_media("/parts.png", PICTURE), Range=value)
    assert (answer.status_code, answer.content) == (200, PICTURE)


@pytest.mark.parametrize("value", [f"bytes={SIZE}-", f"bytes={SIZE + 9}-{SIZE + 99}", "bytes=-0"])
async def test_a_part_that_is_not_there_cannot_be_delivered(scene: Scene, value: str) -> None:
    answer = await scene.get(scene.origin.serve_media("/parts.png", PICTURE), Range=value)
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


async def test_no_part_of_the_canary_is_delivered(scene: Scene) -> None:
    url = scene.origin.serve_media("/parts.png", draw_canary())
    for value in ("bytes=0-0", "bytes=-1", f"bytes={len(draw_canary())}-"):
        assert (await scene.get(url, Range=value)).status_code == 403


async def test_a_signed_range_goes_on_and_the_part_that_comes_back_is_withheld(scene: Scene) -> None:
    headers = {"Content-Range": f"bytes 0-9/{SIZE}"}
    url = scene.origin.on("/parts.png", do.serve(PICTURE[:10], status=206, headers=headers))
    signed = 'keyId="k",headers="(request-target) host range",signature="AAAA"'
    answer = await scene.get(url, Range="bytes=0-9", Signature=signed)
    assert answer.status_code == 403
    assert scene.origin.requests[0].header("Range") == "bytes=0-9"


async def test_a_head_is_answered_with_the_origins_own(scene: Scene) -> None:
    url = scene.origin.serve_media("/parts.png", PICTURE)
    async with scene.backend() as backend:
        answer = await backend.head(url)
        after = await backend.get(url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(SIZE)
    assert after.content == PICTURE


async def test_conditions_pass_and_what_has_not_changed_has_no_body(scene: Scene) -> None:
    url = scene.origin.on("/parts.png", do.serve(b"", None, status=304, headers={"ETag": '"x"'}))
    answer = await scene.get(url, If_None_Match='"x"', If_Modified_Since="Sun, 22 Nov 2026 06:00:00 GMT")
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"x"')
    assert scene.origin.requests[0].header("If-None-Match") == '"x"'
    assert scene.origin.requests[0].header("If-Modified-Since") == "Sun, 22 Nov 2026 06:00:00 GMT"


async def test_parts_of_two_files_are_never_put_together(scene: Scene) -> None:
    """Each of the files is harmless, and what a client would make of their parts was never examined."""
    other = encode(marker(6), "PNG")
    url = scene.origin.on("/swapped.png", do.in_turn(do.serve(PICTURE), do.serve(other), do.serve(other)))
    first = await scene.get(url, Range="bytes=0-99")
    second = await scene.get(url, Range="bytes=100-")
    third = await scene.get(url, Range="bytes=100-")
    assert (first.status_code, first.content) == (206, PICTURE[:100])
    assert (second.status_code, second.content) == (200, other)
    assert (third.status_code, third.content) == (206, other[100:])


async def test_the_rest_of_another_file_does_not_follow_a_whole_one(scene: Scene) -> None:
    other = encode(marker(6), "PNG")
    url = scene.origin.on("/resumed.png", do.in_turn(do.serve(PICTURE), do.serve(other)))
    assert (await scene.get(url)).content == PICTURE
    rest = await scene.get(url, Range=f"bytes={SIZE - 1}-")
    assert (rest.status_code, rest.content) == (200, other)


async def test_which_part_it_is_says_the_gateway_alone(scene: Scene) -> None:
    headers = {"Content-Range": "bytes 0-3/10"}
    url = scene.origin.on("/claimed.png", do.serve(PICTURE, headers=headers))
    part = await scene.get(url, Range="bytes=5-9")
    assert part.headers.get_list("Content-Range") == [f"bytes 5-9/{SIZE}"]
    assert "Content-Range" not in (await scene.get(url)).headers


async def test_no_way_past_the_gateway_is_handed_on(scene: Scene) -> None:
    url = scene.origin.on("/a", do.serve(b"<html>", "text/html", headers={"Alt-Svc": 'h3=":443"'}))
    assert "Alt-Svc" not in (await scene.get(url)).headers
