"""The instance's own media through the front: what is served is what was examined, or nothing."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.model import MediaDecision
from relay.stages.decide import Condition
from scanner.canary import draw_canary
from signatures.digests import repr_digest_of
from signatures.fields import ATTESTATION_HEADER
from tests.fediverse import behaviours as do
from tests.fediverse.wire import build_head
from tests.images import encode, marker
from tests.relay.web.front.scene import open_scene

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from relay.line import Tools
    from tests.fediverse.behaviours import Behaviour
    from tests.fediverse.wire import WireRequest
    from tests.relay.web.front.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURE = encode(marker(301), "PNG")
DIGEST = repr_digest_of(hashlib.sha256(PICTURE).digest())
NOT_FOUND = b"Not found.\n"


def serve_parts(data: bytes, content_type: str) -> Behaviour:
    """Serve bytes as a server does that knows ranges of the form `bytes=a-b`."""

    async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        asked = request.header("Range")
        first, last = (int(one) for one in asked[6:].split("-")) if asked else (0, len(data) - 1)
        part = data[first : last + 1]
        headers = [("Content-Type", content_type), ("Content-Length", str(len(part)))]
        if asked:
            headers.append(("Content-Range", f"bytes {first}-{last}/{len(data)}"))
        writer.write(build_head(206 if asked else 200, tuple(headers)) + part)
        await writer.drain()
        return True

    return behave


async def test_a_picture_arrives_byte_for_byte_with_its_digest_and_the_servers_own_headers(
    scene: Scene,
) -> None:
    headers = {
        "ETag": '"x"',
        "Cache-Control": "public, max-age=2419200, immutable",
        "Repr-Digest": "sha-256=:AA==:",
    }
    scene.server.on("/system/a.png", do.serve(PICTURE, headers=headers))
    answer = await scene.get("/system/a.png")
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert dict(answer.headers) == {
        "content-type": "image/png",
        "content-length": str(len(PICTURE)),
        "etag": '"x"',
        "cache-control": "public, max-age=2419200, immutable",
        # The server's own claim about the bytes gives way to what they are.
        "repr-digest": DIGEST,
    }


async def test_what_policy_withholds_is_answered_as_what_the_front_does_not_have(scene: Scene) -> None:
    scene.server.serve_media("/system/a.png", draw_canary())
    scene.server.serve_media("/private/a.png", PICTURE)
    withheld, again, elsewhere = [
        await scene.get(path) for path in ("/system/a.png", "/system/a.png", "/private/a.png")
    ]
    for answer in (withheld, again, elsewhere):
        assert (answer.status_code, answer.content) == (404, NOT_FOUND)
        assert answer.headers["Cache-Control"] == "no-store"
    assert set(withheld.headers) == set(again.headers) == set(elsewhere.headers)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-3"}, {"If_None_Match": '"other"'}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_nothing_that_is_asked_tells_more_of_what_is_withheld(
    scene: Scene, method: str, headers: dict[str, str]
) -> None:
    scene.server.serve_media("/system/a.png", draw_canary())
    answer = await scene.get("/system/a.png", method=method, **headers)
    assert answer.status_code == 404
    assert "Repr-Digest" not in answer.headers
    assert answer.content == (NOT_FOUND if method == "GET" else b"")


async def test_who_asks_for_the_head_alone_gets_the_head_of_what_is_served(scene: Scene) -> None:
    scene.server.serve_media("/system/a.png", PICTURE)
    answer = await scene.get("/system/a.png", method="HEAD", Range="bytes=0-3")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(PICTURE))
    assert answer.headers["Repr-Digest"] == DIGEST


async def test_a_part_comes_from_the_copy_that_was_examined_and_tells_the_digest_of_the_whole(
    scene: Scene,
) -> None:
    scene.server.serve_media("/system/a.png", PICTURE)
    answer = await scene.get("/system/a.png", Range="bytes=10-29")
    assert (answer.status_code, answer.content) == (206, PICTURE[10:30])
    assert answer.headers["Content-Range"] == f"bytes 10-29/{len(PICTURE)}"
    assert answer.headers["Repr-Digest"] == DIGEST
    assert scene.server.requests[-1].header("Range") is None


async def test_conditions_are_the_servers_to_answer(scene: Scene) -> None:
    scene.server.on("/system/a.png", do.serve(b"", None, status=304, headers={"ETag": '"x"'}))
    answer = await scene.get("/system/a.png", If_None_Match='"x"')
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"x"')
    assert scene.server.requests[-1].header("If-None-Match") == '"x"'


@pytest.mark.parametrize(
    ("behaviour", "status", "content"),
    [
        (do.serve(b'{"a": 1}', "application/json"), 200, b'{"a": 1}'),
        (do.serve(b"<html>gone", "text/html", status=410), 410, b"<html>gone"),
        (do.redirect("https://files.example/a.png"), 302, b"elsewhere"),
        (do.serve(b"", None, status=204), 204, b""),
    ],
)
async def test_what_is_no_media_passes_as_it_came(
    scene: Scene, behaviour: Behaviour, status: int, content: bytes
) -> None:
    scene.server.on("/system/a", behaviour)
    answer = await scene.get("/system/a")
    assert (answer.status_code, answer.content) == (status, content)
    assert "Repr-Digest" not in answer.headers


async def test_a_picture_inside_a_coding_is_examined_and_delivered_without_it(scene: Scene) -> None:
    coded = {"Content-Encoding": "gzip"}
    scene.server.on("/system/a.png", do.serve(gzip.compress(PICTURE), headers=coded))
    scene.server.on("/system/b.png", do.serve(gzip.compress(draw_canary()), headers=coded))
    answer = await scene.get("/system/a.png")
    assert (answer.content, answer.headers["Repr-Digest"]) == (PICTURE, DIGEST)
    assert "Content-Encoding" not in answer.headers
    assert (await scene.get("/system/b.png")).status_code == 404


async def test_a_picture_is_examined_whatever_it_is_called(scene: Scene) -> None:
    scene.server.serve_media("/system/a", draw_canary(), "text/html")
    assert (await scene.get("/system/a")).status_code == 404


async def test_what_breaks_off_is_not_delivered(scene: Scene) -> None:
    scene.server.on("/system/a.png", do.lie_about_length(PICTURE, len(PICTURE) + 5))
    assert (await scene.get("/system/a.png")).status_code == 502


async def test_media_too_long_to_be_examined_is_withheld_unless_policy_says_otherwise(
    line_tools: Tools, tmp_path: Path
) -> None:
    async with open_scene(replace(line_tools, max_media_bytes=100), tmp_path) as scene:
        scene.server.on("/system/a.mp4", serve_parts(PICTURE, "video/mp4"))
        assert (await scene.get("/system/a.mp4")).status_code == 404
        assert (await scene.get("/system/a.mp4", Range="bytes=0-3")).status_code == 404


async def test_parts_of_long_media_that_policy_releases_come_from_the_server(
    line_tools: Tools, tmp_path: Path
) -> None:
    conditions = {**line_tools.policy.conditions, Condition.UNSCANNABLE: MediaDecision.RELEASE}
    loose = replace(line_tools, max_media_bytes=100, policy=replace(line_tools.policy, conditions=conditions))
    async with open_scene(loose, tmp_path) as scene:
        scene.server.on("/system/a.mp4", serve_parts(PICTURE, "video/mp4"))
        whole = await scene.get("/system/a.mp4")
        part = await scene.get("/system/a.mp4", Range="bytes=10-29")
        assert (whole.status_code, whole.content) == (200, PICTURE)
        assert (part.status_code, part.content) == (206, PICTURE[10:30])
        # Nobody looked at it, so that nothing is said about it.
        for answer in (whole, part):
            assert "Repr-Digest" not in answer.headers
            assert ATTESTATION_HEADER not in answer.headers


async def test_a_server_that_ignores_the_range_the_second_time_gets_nothing_past(
    line_tools: Tools, tmp_path: Path
) -> None:
    conditions = {**line_tools.policy.conditions, Condition.UNSCANNABLE: MediaDecision.RELEASE}
    loose = replace(line_tools, max_media_bytes=100, policy=replace(line_tools.policy, conditions=conditions))
    async with open_scene(loose, tmp_path) as scene:
        scene.server.on("/system/a.mp4", do.in_turn(do.serve(PICTURE, "video/mp4"), do.serve(draw_canary())))
        assert (await scene.get("/system/a.mp4", Range="bytes=0-9")).status_code == 503
