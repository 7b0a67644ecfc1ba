"""How answers are read off a connection, and when a connection is used again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from relay.backends.answer import MAX_ANSWER_BYTES
from relay.backends.client import BackendAnswer, BackendDown, open_backend
from relay.backends.connection import build_request
from signatures.message import RequestMessage
from tests.fediverse.wire import open_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signatures.message import Headers
    from tests.fediverse.wire import WireRequest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TAKEN = BackendAnswer(status=200, headers=(), body=b"ok")
BROKEN = BackendDown(reason="broken")


def _message(*, target: str = "/inbox", method: str = "POST", headers: Headers = ()) -> RequestMessage:
    return RequestMessage(
        method=method,
        scheme="https",
        authority="instance.example",
        target=target,
        headers=headers,
        body=b"{}",
    )


class Scripted:
    """A backend that writes bytes; an answer that ends its connection is followed by None."""

    def __init__(self, *answers: bytes | None) -> None:
        self.url = ""
        self.connections: list[asyncio.StreamWriter] = []
        self.hosts: list[str | None] = []
        self._answers = list(answers)

    async def answer(self, request: WireRequest, writer: asyncio.StreamWriter) -> bool:
        if writer not in self.connections:
            self.connections.append(writer)
        self.hosts.append(request.header("Host"))
        writer.write(self._answers.pop(0) or b"")
        await writer.drain()
        is_end = bool(self._answers) and self._answers[0] is None
        if is_end:
            self._answers.pop(0)
        return not is_end


@contextlib.asynccontextmanager
async def _open(*answers: bytes | None) -> AsyncIterator[Scripted]:
    scripted = Scripted(*answers)
    async with open_server(scripted.answer) as port:
        scripted.url = f"http://127.0.0.1:{port}"
        yield scripted


async def _ask(*answers: bytes | None) -> BackendAnswer | BackendDown:
    async with _open(*answers) as scripted, open_backend(scripted.url, timeout_s=5) as client:
        return await client.send(_message())


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
    ids=["chunked", "with a trailer", "after hints", "after continue"],
)
async def test_an_answer_is_the_same_however_it_is_framed(wire: bytes) -> None:
    assert await _ask(wire) == TAKEN


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    assert await _ask(b"HTTP/1.1 200 OK\r\n\r\nok", None) == TAKEN


async def test_an_answer_without_a_body_is_whole() -> None:
    answer = await _ask(b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n")
    assert answer == BackendAnswer(status=204, headers=(("X-A", "1"),), body=b"")


async def test_an_answer_longer_than_any_inbox_gives_is_cut() -> None:
    size = MAX_ANSWER_BYTES + 1
    answer = await _ask(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size)
    assert isinstance(answer, BackendAnswer)
    assert answer.body == b"x" * MAX_ANSWER_BYTES


@pytest.mark.parametrize(
    "answers",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", None),
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"", None),
        (b"220 mail.example ESMTP\r\n",),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,),
    ],
    ids=[
        "short",
        "unfinished",
        "half a head",
        "nothing",
        "no HTTP",
        "upgraded",
        "two lengths",
        "endless head",
    ],
)
async def test_what_is_no_whole_answer_is_a_broken_backend(answers: tuple[bytes | None, ...]) -> None:
    assert await _ask(*answers) == BROKEN


async def test_a_connection_is_used_again() -> None:
    async with _open(OK, OK, OK) as scripted, open_backend(scripted.url, timeout_s=5) as client:
        assert [await client.send(_message()) for _ in range(3)] == [TAKEN] * 3
        assert len(scripted.connections) == 1


@pytest.mark.parametrize(
    "first",
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",),
        (OK, None),
        (OK + OK,),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", None),
    ],
    ids=["announced end", "end", "one answer too many", "old version"],
)
async def test_a_connection_that_ended_or_cannot_be_trusted_is_not_used_again(
    first: tuple[bytes | None, ...],
) -> None:
    async with _open(*first, OK) as scripted, open_backend(scripted.url, timeout_s=5) as client:
        assert await client.send(_message()) == TAKEN
        # What else the backend did on the first connection has arrived.
        await _let_everything_arrive(scripted)
        assert await client.send(_message()) == TAKEN
        assert len(scripted.connections) == 2


async def _let_everything_arrive(scripted: Scripted) -> None:
    """Wait until a later exchange on a connection of its own is over."""
    host, _, port = scripted.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    await writer.wait_closed()


async def test_an_answer_that_nobody_waits_for_any_more_goes_to_nobody_else() -> None:
    reached = asyncio.Event()
    first = True

    async def answer(_: WireRequest, writer: asyncio.StreamWriter) -> bool:
        nonlocal first
        if first:
            first = False
            reached.set()
            await asyncio.Event().wait()
        writer.write(OK)
        return True

    async with open_server(answer) as port, open_backend(f"http://127.0.0.1:{port}", timeout_s=5) as client:
        async with asyncio.TaskGroup() as group:
            given_up = group.create_task(client.send(_message()))
            await reached.wait()
            given_up.cancel()
        assert await client.send(_message()) == TAKEN


async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    async with _open(OK, OK, OK) as scripted, open_backend(scripted.url, timeout_s=5) as client:
        assert await asyncio.gather(*(client.send(_message()) for _ in range(3))) == [TAKEN] * 3
        assert len(scripted.connections) == 3


async def test_a_request_without_a_host_names_the_backend() -> None:
    async with _open(OK) as scripted, open_backend(scripted.url, timeout_s=5) as client:
        await client.send(_message())
        assert scripted.hosts == [scripted.url.removeprefix("http://")]


@pytest.mark.parametrize(
    "message",
    [
        _message(headers=(("X", "a\r\nEvil: 1"),)),
        _message(headers=(("X", "a\nEvil: 1"),)),
        _message(headers=(("X", "a\rEvil: 1"),)),
        _message(headers=(("X\r\nEvil", "1"),)),
        _message(headers=(("X", "a\0"),)),
        _message(target="/inbox HTTP/1.1\r\nEvil: 1\r\n"),
        _message(target="/in box"),
        _message(method="POST /other"),
    ],
)
def test_no_part_of_a_head_breaks_out_of_its_place(message: RequestMessage) -> None:
    with pytest.raises(ValueError, match="head"):
        build_request(message, authority="instance.example")
