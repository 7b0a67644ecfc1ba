"""Media through the gateway: what is delivered is what was examined, or nothing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from scanner.canary import draw_canary
from tests.fediverse import behaviours as do
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.relay.web.gateway.scene import Scene

PICTURE = encode(marker(5), "PNG")


async def test_a_picture_arrives_byte_for_byte_with_the_origins_own_headers(scene: Scene) -> None:
    url = scene.origin.on(
        "/a.png", do.serve(PICTURE, "image/png", headers={"ETag": '"x"', "X-Odd": "Gr\u00fc\u00dfe"})
    )
    answer = await scene.get(url)
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert answer.headers["ETag"] == '"x"'
    assert set(answer.headers) == {"content-length", "content-type", "etag", "x-odd"}


async def test_the_canary_is_withheld_by_an_answer_that_says_nothing(scene: Scene) -> None:
    answer = await scene.get(scene.origin.serve_media("/a.png", draw_canary()))
    assert answer.status_code == 403
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content == b"Not available through this proxy.\n"


async def test_a_second_fetch_of_known_bytes_does_not_examine_them_again(scene: Scene) -> None:
    url = scene.origin.serve_media("/a.png", PICTURE)
    first, second = await scene.get(url), await scene.get(url)
    assert first.content == second.content == PICTURE
    assert hashlib.sha256(second.content).hexdigest() == hashlib.sha256(PICTURE).hexdigest()
    counted = scene.line.metrics.render()[0].decode()
    assert 'breakwater_media_total{decision="release",door="gateway",verdict="no-match"} 2.0' in counted


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", None, "text/plain"])
async def test_a_picture_is_examined_whatever_it_is_called(scene: Scene, content_type: str | None) -> None:
    answer = await scene.get(scene.origin.serve_media("/a", draw_canary(), content_type))
    assert answer.status_code == 403
