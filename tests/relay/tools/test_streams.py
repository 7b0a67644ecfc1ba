"""Streams: another's request and its answer, passed on unchanged, on vetted connections only."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from relay.model import FetchFailure
from relay.tools.fetching import GuardedClient, open_guarded_client
from relay.tools.policy import FetchPolicy
from relay.tools.streams import Stream, TransferBroken
from tests.fediverse import Fediverse, FrozenClock, Origin
from tests.fediverse import behaviours as do
from tests.fediverse.wire import WireRequest, build_head, open_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signatures.message import Headers

MARKER = b"\x89PNG\r\n\x1a\n drawn marker"
SOON = timedelta(seconds=0.2)
LONG = bytes(range(256)) * 20_000


@pytest.fixture
async def client(policy: FetchPolicy, clock: FrozenClock) -> AsyncIterator[GuardedClient]:
    async with open_guarded_client(policy, clock) as opened:
        yield opened


async def collect(stream: Stream | FetchFailure) -> bytes:
    assert isinstance(stream, Stream)
    return b"".join([chunk async for chunk in stream.chunks()])


async def get(client: GuardedClient, url: str, headers: Headers = ()) -> tuple[Stream, bytes]:
    async with client.open_stream("GET", url, headers=headers, body=None) as stream:
        assert isinstance(stream, Stream)
        return stream, await collect(stream)


async def fail(
    client: GuardedClient, url: str, *, method: str = "GET", headers: Headers = (), body: bytes | None = None
) -> FetchFailure:
    """Return why there is no stream, or why the body of one did not arrive whole."""
    async with client.open_stream(method, url, headers=headers, body=body) as stream:
        if isinstance(stream, FetchFailure):
            return stream
        with pytest.raises(TransferBroken) as broken:
            await collect(stream)
        return broken.value.failure


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class Lines:
    """A server that counts its connections."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.requests: list[WireRequest] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @contextlib.asynccontextmanager
    async def open(self, behaviour: do.Behaviour) -> AsyncIterator[Lines]:
        async def answer(request: WireRequest, writer: asyncio.StreamWriter) -> bool:
            self.requests.append(request)
            self.ports.append(writer.get_extra_info("peername")[1])
            return await behaviour(request, len(self.requests), writer)

        async with open_server(answer) as self.port:
            yield self


async def test_an_answer_comes_back_as_it_is(client: GuardedClient, origin: Origin) -> None:
    url = origin.on("/a.png", do.serve(LONG, "Image/PNG; charset=binary", headers={"X-Odd": "caf\xe9"}))
    stream, body = await get(client, url)
    assert (str(stream.url), stream.status, stream.reason, body) == (url, 200, "Status", LONG)
    assert stream.headers == (
        ("Content-Length", str(len(LONG))),
        ("X-Odd", "caf\xe9"),
        ("Content-Type", "Image/PNG; charset=binary"),
    )


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 416, 500])
async def test_any_status_comes_back_as_it_is(client: GuardedClient, origin: Origin, status: int) -> None:
    stream, body = await get(client, origin.on("/a", do.refuse(status)))
    assert (stream.status, body) == (status, b"")


async def test_no_redirect_is_followed(client: GuardedClient, origin: Origin) -> None:
    stream, body = await get(client, origin.on("/a", do.redirect("/b")))
    assert (stream.status, body) == (302, b"elsewhere")
    assert ("Location", "/b") in stream.headers
    assert len(origin.requests) == 1


async def test_a_coded_body_stays_as_it_is(client: GuardedClient, origin: Origin) -> None:
    packed = gzip.compress(MARKER, mtime=0)
    url = origin.on("/a", do.serve(packed, headers={"Content-Encoding": "gzip"}))
    assert (await get(client, url))[1] == packed


async def test_a_head_has_a_length_and_no_body(client: GuardedClient, origin: Origin) -> None:
    url = origin.serve_media("/a", LONG)
    async with client.open_stream("HEAD", url, headers=(), body=None) as stream:
        assert isinstance(stream, Stream)
        assert ("Content-Length", str(len(LONG))) in stream.headers
        assert await collect(stream) == b""


async def test_the_request_is_sent_as_it_was_given(client: GuardedClient, origin: Origin) -> None:
    url = origin.serve_media("/a%2Fb?c=d%20e&&", MARKER)
    origin.serve_media("/a%2Fb", MARKER)
    headers = (
        ("Host", "media.example"),
        ("User-Agent", "http.rb/5.1.1 (Mastodon/4.5.0; +https://example.com/)"),
        ("Signature", 'keyId="https://example.com/actor#main-key",signature="…"'.replace("…", "AA==")),
        ("X-Twice", "one"),
        ("X-Twice", "two"),
    )
    await get(client, url, headers)
    assert origin.requests[0].target == "/a%2Fb?c=d%20e&&"
    assert origin.requests[0].headers == headers


async def test_nothing_is_added_but_the_host(client: GuardedClient, origin: Origin) -> None:
    await get(client, origin.serve_media("/a", MARKER))
    assert origin.requests[0].headers == (("Host", f"127.0.0.1:{origin.port}"),)


async def test_an_upload_of_a_known_length_is_sent_with_it(client: GuardedClient, origin: Origin) -> None:
    url = origin.on("/inbox", do.refuse(202))
    headers = (("Content-Type", "application/activity+json"), ("Content-Length", "6"))
    async with client.open_stream("POST", url, headers=headers, body=in_pieces(b"abc", b"def")) as stream:
        assert isinstance(stream, Stream)
        assert stream.status == 202
    assert origin.requests[0].body == b"abcdef"
    assert origin.requests[0].headers[1:] == headers


@pytest.mark.parametrize("headers", [(), (("Transfer-Encoding", "chunked"),)])
async def test_an_upload_of_unknown_length_is_sent_in_chunks(
    client: GuardedClient, origin: Origin, headers: Headers
) -> None:
    url = origin.on("/a", do.refuse(201))
    async with client.open_stream("PUT", url, headers=headers, body=in_pieces(b"abc", b"def")) as stream:
        assert isinstance(stream, Stream)
    assert origin.requests[0].body == b"abcdef"
    assert origin.requests[0].headers[1:] == (("Transfer-Encoding", "chunked"),)


async def test_an_upload_of_bytes_is_sent_with_their_length(client: GuardedClient, origin: Origin) -> None:
    async with client.open_stream("POST", origin.on("/a", do.refuse(202)), headers=(), body=b"abc") as stream:
        assert isinstance(stream, Stream)
    assert (origin.requests[0].body, origin.requests[0].header("Content-Length")) == (b"abc", "3")


@pytest.mark.parametrize(("declared", "pieces"), [("7", (b"abc", b"def")), ("5", (b"abc", b"def"))])
async def test_an_upload_of_another_length_than_was_said_ends_and_leaves_no_connection_behind(
    client: GuardedClient, declared: str, pieces: tuple[bytes, ...]
) -> None:
    async with Lines().open(do.serve(b"early")) as lines:
        headers = (("Content-Length", declared),)
        async with client.open_stream("POST", lines.url, headers=headers, body=in_pieces(*pieces)) as stream:
            assert stream is FetchFailure.UNREACHABLE
        await get(client, lines.url)
        assert len(set(lines.ports)) == len(lines.ports)
        assert lines.requests[-1].method == "GET"


@pytest.mark.parametrize("body", [None, b"abc"])
async def test_bytes_of_another_length_than_is_said_are_not_sent(
    client: GuardedClient, origin: Origin, body: bytes | None
) -> None:
    url = origin.on("/a", do.refuse(202))
    failure = await fail(client, url, method="POST", headers=(("Content-Length", "9"),), body=body)
    assert failure is FetchFailure.MALFORMED
    assert origin.requests == []


async def test_an_answer_may_come_before_the_upload_is_over(client: GuardedClient) -> None:
    goes_on = asyncio.Event()

    async def hesitate() -> AsyncIterator[bytes]:
        yield b"a" * 1000
        await goes_on.wait()

    async def refuse_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(build_head(413, (("Content-Length", "0"),)))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(refuse_at_once, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with client.open_stream("POST", url, headers=(), body=hesitate()) as stream:
            assert isinstance(stream, Stream)
            assert stream.status == 413


async def test_one_who_hesitates_to_upload_is_not_the_origin_that_is_slow(
    policy: FetchPolicy, clock: FrozenClock, origin: Origin
) -> None:
    hasty = replace(policy, connect_timeout=SOON / 2, first_byte_timeout=SOON / 2)
    passed = asyncio.Event()

    async def hesitate() -> AsyncIterator[bytes]:
        yield b"abc"
        asyncio.get_running_loop().call_later(3 * SOON.total_seconds(), passed.set)
        await passed.wait()
        yield b"def"

    async with (
        open_guarded_client(hasty, clock) as client,
        client.open_stream("POST", origin.on("/a", do.refuse(202)), headers=(), body=hesitate()) as stream,
    ):
        assert isinstance(stream, Stream)
    assert origin.requests[0].body == b"abcdef"


async def test_an_upload_is_never_repeated_without_its_beginning(client: GuardedClient) -> None:
    async def serve_once(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
        # The second request on a connection finds it closed, as it happens with connections from a pool.
        if number == 1:
            return await do.serve(b"first")(request, number, writer)
        return False

    async with Lines().open(serve_once) as lines:
        await get(client, lines.url)
        async with client.open_stream("PUT", lines.url, headers=(), body=in_pieces(b"abc")) as stream:
            assert stream is FetchFailure.UNREACHABLE
        assert [request.method for request in lines.requests] == ["GET", "PUT"]


async def test_a_connection_is_used_again_when_the_body_was_read(client: GuardedClient) -> None:
    async with Lines().open(do.serve(LONG)) as lines:
        for _ in range(3):
            assert (await get(client, lines.url))[1] == LONG
        assert len(set(lines.ports)) == 1


async def test_a_connection_whose_body_was_left_unread_is_not_used_again(client: GuardedClient) -> None:
    async with Lines().open(do.serve(LONG)) as lines:
        async with client.open_stream("GET", lines.url, headers=(), body=None) as stream:
            assert isinstance(stream, Stream)
            await anext(stream.chunks())
        assert (await get(client, lines.url))[1] == LONG
        assert len(set(lines.ports)) == 2


async def test_whoever_waits_for_a_connection_does_not_wait_for_the_origin(
    policy: FetchPolicy, clock: FrozenClock
) -> None:
    hasty = replace(policy, connect_timeout=SOON / 2, first_byte_timeout=SOON / 2)
    async with Lines().open(do.serve(LONG)) as lines, open_guarded_client(hasty, clock) as client:
        async with contextlib.AsyncExitStack() as busy:
            for _ in range(16):
                held = client.open_stream("GET", lines.url, headers=(), body=None)
                assert isinstance(await busy.enter_async_context(held), Stream)
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(get(client, lines.url))
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(3 * SOON.total_seconds()):
                        await asyncio.shield(waiting)
                await busy.aclose()
        assert (await waiting)[1] == LONG


async def test_a_slow_reader_is_not_taken_for_a_slow_origin(
    policy: FetchPolicy, clock: FrozenClock, origin: Origin
) -> None:
    url = origin.serve_media("/a", LONG)
    read = 0
    async with (
        open_guarded_client(policy, clock) as client,
        client.open_stream("GET", url, headers=(), body=None) as stream,
    ):
        assert isinstance(stream, Stream)
        async for chunk in stream.chunks():
            read += len(chunk)
            clock.advance(timedelta(minutes=10))
    assert read == len(LONG)


async def test_one_byte_a_second_is_too_slow(policy: FetchPolicy, origin: Origin) -> None:
    # Each reading of the clock is a second later, so that no real second has to pass.
    clock = FrozenClock(tick=timedelta(seconds=1))
    url = origin.on("/a", do.drip(bytes(200)))
    async with open_guarded_client(policy, clock) as client:
        assert await fail(client, url) is FetchFailure.TOO_SLOW


async def test_a_body_that_stops_coming_is_too_slow(
    policy: FetchPolicy, clock: FrozenClock, origin: Origin
) -> None:
    url = origin.on("/a", do.stall_after(MARKER, declared=1000))
    async with open_guarded_client(replace(policy, throughput_grace=SOON), clock) as client:
        assert await fail(client, url) is FetchFailure.TOO_SLOW


async def test_an_endless_body_ends_with_the_total_time(policy: FetchPolicy, origin: Origin) -> None:
    clock = FrozenClock(tick=timedelta(seconds=0.1))
    url = origin.on("/a", do.flood())
    async with open_guarded_client(replace(policy, min_bytes_per_second=1), clock) as client:
        assert await fail(client, url) is FetchFailure.TIMEOUT


async def test_an_answer_that_never_begins_is_a_timeout(
    policy: FetchPolicy, clock: FrozenClock, origin: Origin
) -> None:
    hasty = replace(policy, connect_timeout=SOON / 2, first_byte_timeout=SOON / 2)
    async with open_guarded_client(hasty, clock) as client:
        assert await fail(client, origin.on("/a", do.stall())) is FetchFailure.TIMEOUT


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"no http at all\r\n\r\n",
        b"",
    ],
)
async def test_broken_http_never_looks_like_a_whole_answer(
    client: GuardedClient, origin: Origin, raw: bytes
) -> None:
    failure = await fail(client, origin.on("/a", do.answer_raw(raw)))
    assert failure in (FetchFailure.MALFORMED, FetchFailure.UNREACHABLE)


async def test_endless_headers_end_the_stream(client: GuardedClient, origin: Origin) -> None:
    assert await fail(client, origin.on("/a", do.flood_headers())) is FetchFailure.MALFORMED


async def test_a_body_that_lasts_as_long_as_its_connection_is_read_to_the_end(
    client: GuardedClient, origin: Origin
) -> None:
    url = origin.on("/a", do.answer_raw(b"HTTP/1.0 200 OK\r\n\r\n" + MARKER))
    assert (await get(client, url))[1] == MARKER


@pytest.mark.parametrize(
    "url",
    ["", "/a.png", "ftp://a.example/", "http://user@a.example/", "http://0x7f000001/", "http://a.example:0/"],
)
async def test_what_is_no_admissible_url_is_refused(client: GuardedClient, url: str) -> None:
    assert await fail(client, url) is FetchFailure.REFUSED_URL


async def test_only_the_given_ports_are_dialled_by_http_as_by_https(
    policy: FetchPolicy, clock: FrozenClock, origin: Origin
) -> None:
    url = origin.serve_media("/a", MARKER)
    strict = replace(policy, allow_http=False, ports=frozenset((443,)))
    async with open_guarded_client(strict, clock) as client:

        async def ask(*ports: int) -> Stream | FetchFailure:
            async with client.open_stream(
                "GET", url, headers=(), body=None, ports=frozenset(ports) or None
            ) as stream:
                return stream

        assert isinstance(await ask(443, origin.port), Stream)
        assert await ask(443, 80) is FetchFailure.REFUSED_URL
        assert await ask() is FetchFailure.REFUSED_URL
    assert len(origin.requests) == 1


async def test_an_address_that_may_not_be_dialled_is_refused(
    clock: FrozenClock, world: Fediverse, origin: Origin
) -> None:
    async with open_guarded_client(FetchPolicy(), clock) as client:
        ports = frozenset((origin.port,))
        url = origin.serve_media("/a", MARKER)
        async with client.open_stream("GET", url, headers=(), body=None, ports=ports) as stream:
            assert stream is FetchFailure.REFUSED_ADDRESS
    assert origin.requests == []
