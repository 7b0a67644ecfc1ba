"""Answers through the gateway end where they say: nobody takes the one for a part of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway.raw import open_line
from tests.fediverse import behaviours as do

if TYPE_CHECKING:
    from tests.relay.web.gateway.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")


def build_get(url: str) -> bytes:
    authority = url.partition("://")[2].partition("/")[0]
    return f"GET {url} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


@pytest.mark.parametrize("status", [200, 205, 206, 404, 416])
async def test_an_answer_is_as_long_as_it_says_whatever_its_status(scene: Scene, status: int) -> None:
    first = scene.plain.on("/a", do.serve(b"hello", "text/plain", status=status))
    second = scene.plain.on("/b", do.serve(b"the second", "text/plain"))
    async with open_line(scene.gateway.port) as line:
        answer = await line.ask(build_get(first))
        after = await line.ask(build_get(second))
    assert answer is not None
    assert answer.header("Content-Length") == str(len(answer.body))
    assert after is not None
    assert (after.status, after.body) == (200, b"the second")


@pytest.mark.parametrize(
    "rest",
    [
        b"Transfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"Transfer-Encoding\t: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"Content-Length : 2\r\n\r\nok",
        b"X-Any : a\r\nContent-Length: 2\r\n\r\nok",
        b"X Any: a\r\nContent-Length: 2\r\n\r\nok",
        b"X(Any): a\r\nContent-Length: 2\r\n\r\nok",
        b"X-Any: a\rb\r\nContent-Length: 2\r\n\r\nok",
        b": a\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_a_header_that_programs_read_differently_reaches_nobody(scene: Scene, rest: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    url = scene.plain.on("/a", do.answer_raw(head + rest))
    async with open_line(scene.gateway.port) as line:
        answer = await line.ask(build_get(url))
    assert answer is not None
    assert answer.status == 502
