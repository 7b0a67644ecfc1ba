"""What the backend gets is what the sender sent, and what it answers is what the sender gets."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from relay.backends.client import BackendAnswer, BackendDown, open_backend
from signatures.message import RequestMessage
from tests.e2e.process import free_ports
from tests.fediverse.backend import RecordingBackend, ScriptedAnswer
from tests.fediverse.wire import open_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signatures.message import Headers
    from tests.fediverse.wire import WireRequest

BODY = b'{"type":"Like"}'


def _message(*, target: str = "/inbox", headers: Headers = (), body: bytes = BODY) -> RequestMessage:
    return RequestMessage(
        method="POST",
        scheme="https",
        authority="instance.example",
        target=target,
        headers=(("Host", "instance.example"), *headers),
        body=body,
    )


@pytest.fixture
async def behind() -> AsyncIterator[RecordingBackend]:
    async with RecordingBackend.open() as opened:
        yield opened


async def _send(behind: RecordingBackend, message: RequestMessage) -> WireRequest:
    async with open_backend(behind.url, timeout_s=5) as client:
        assert isinstance(await client.send(message), BackendAnswer)
    return behind.requests[-1]


@pytest.mark.parametrize(
    "target",
    [
        "/inbox",
        "/users/%41lice/inbox",
        "/users/al%2Dice/inbox?x=%7E&y=a+b",
        "/inbox?",
        "/inbox?a=1&a=2&&",
        "/inbox?q=%E2%82%AC",
        "/@a@b/inbox",
        "/users/a!$'()*,inbox/inbox",
    ],
)
async def test_the_target_is_sent_as_it_was_written(target: str, behind: RecordingBackend) -> None:
    assert (await _send(behind, _message(target=target))).target == target


async def test_headers_keep_their_order_their_case_and_their_repetitions(behind: RecordingBackend) -> None:
    headers = (
        ("digest", "SHA-256=x"),
        ("X-Two", "b"),
        ("SIGNATURE", 'keyId="k"'),
        ("X-Two", "a"),
        ("Accept-Encoding", "gzip, zstd"),
        ("Empty", ""),
    )

    request = await _send(behind, _message(headers=headers))

    assert [pair for pair in request.headers if pair[0].lower() not in {"host", "content-length"}] == list(
        headers
    )
    assert request.header("Host") == "instance.example"
    assert request.header("Content-Length") == str(len(BODY))


async def test_a_name_in_two_spellings_keeps_both_values(behind: RecordingBackend) -> None:
    """Else the backend verifies other headers than the relay did."""
    request = await _send(behind, _message(headers=(("X-Two", "b"), ("x-two", "a"))))

    assert [value for name, value in request.headers if name.lower() == "x-two"] == ["b", "a"]


async def test_nothing_is_added_that_the_sender_did_not_say(behind: RecordingBackend) -> None:
    request = await _send(behind, _message())

    assert {name.lower() for name, _ in request.headers} == {"host", "content-length"}


async def test_what_belongs_to_one_connection_ends_there(behind: RecordingBackend) -> None:
    names = (
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Connection",
        "Proxy-Authorization",
    )

    request = await _send(behind, _message(headers=tuple((name, "x") for name in names)))

    assert not {name.lower() for name, _ in request.headers} & {name.lower() for name in names}


@pytest.mark.parametrize("body", [b"", b"\0\xff\r\n" * 1000, bytes(1 << 20)], ids=len)
async def test_the_body_is_sent_octet_for_octet(body: bytes, behind: RecordingBackend) -> None:
    assert (await _send(behind, _message(body=body))).body == body


async def test_the_answer_comes_back_without_what_belonged_to_its_connection(
    behind: RecordingBackend,
) -> None:
    behind.script(
        ScriptedAnswer(
            status=299,
            body=b"taken",
            headers=(("X-A", "1"), ("X-A", "2"), ("Keep-Alive", "timeout=5"), ("Proxy-Authenticate", "x")),
        )
    )
    async with open_backend(behind.url, timeout_s=5) as client:
        answer = await client.send(_message())

    assert answer == BackendAnswer(status=299, headers=(("X-A", "1"), ("X-A", "2")), body=b"taken")


async def test_no_cookie_is_ever_sent_back(behind: RecordingBackend) -> None:
    behind.script(ScriptedAnswer(status=200, headers=(("Set-Cookie", "a=b; Path=/"),)))
    async with open_backend(behind.url, timeout_s=5) as client:
        for _ in range(2):
            await client.send(_message())

    assert behind.requests[-1].header("Cookie") is None


async def test_a_backend_that_is_not_there_is_down() -> None:
    (port,) = free_ports(1)
    async with open_backend(f"http://127.0.0.1:{port}", timeout_s=5) as client:
        assert await client.send(_message()) == BackendDown(reason="refused")


async def test_a_backend_that_does_not_answer_in_time_is_down(behind: RecordingBackend) -> None:
    behind.pause()
    async with open_backend(behind.url, timeout_s=0.2) as client:
        assert await client.send(_message()) == BackendDown(reason="timeout")


async def test_a_connection_that_breaks_is_down(behind: RecordingBackend) -> None:
    behind.script(0)
    async with open_backend(behind.url, timeout_s=5) as client:
        assert await client.send(_message()) == BackendDown(reason="broken")


@contextlib.asynccontextmanager
async def _open_piecemeal(pieces: list[bytes], read: asyncio.Event) -> AsyncIterator[str]:
    """A backend that sends its answer in pieces, the later ones only when the first one was taken."""

    async def answer(_: WireRequest, writer: asyncio.StreamWriter) -> bool:
        size = sum(map(len, pieces))
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + pieces[0])
        await writer.drain()
        for piece in pieces[1:]:
            with contextlib.suppress(TimeoutError):
                # Long enough for the first piece to be read by itself.
                async with asyncio.timeout(0.05):
                    await read.wait()
            writer.write(piece)
            await writer.drain()
        return False

    async with open_server(answer) as port:
        yield f"http://127.0.0.1:{port}"


async def test_an_answer_in_pieces_comes_back_whole() -> None:
    async with (
        _open_piecemeal([b"one ", b"two ", b"three"], asyncio.Event()) as url,
        open_backend(url, timeout_s=5) as client,
    ):
        answer = await client.send(_message())

    assert isinstance(answer, BackendAnswer)
    assert answer.body == b"one two three"
