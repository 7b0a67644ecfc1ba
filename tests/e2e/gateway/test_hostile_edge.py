"""What the gateway makes of requests that are ambiguous, forged or not meant for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scanner.canary import draw_canary
from tests.e2e.gateway.raw import Line, ask_once, open_line
from tests.e2e.raw import send_raw
from tests.fediverse import behaviours as do

if TYPE_CHECKING:
    from tests.e2e.gateway.backends import PythonBackend
    from tests.e2e.gateway.scene import GatewayScene, TlsOrigin
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

DOCUMENT = do.serve(b"{}", "application/json")
SMUGGLED = b"GET http://smuggled.example/ HTTP/1.1\r\nHost: smuggled.example\r\n\r\n"


def build_get(url: str, *, host: str | None = None, lines: str = "") -> bytes:
    """Write a request for a URL in absolute form."""
    authority = url.partition("://")[2].partition("/")[0] if host is None else host
    return f"GET {url} HTTP/1.1\r\nHost: {authority}\r\n{lines}\r\n".encode()


async def open_tunnel(line: Line, gateway: GatewayScene, host: TlsOrigin) -> str:
    """Open the way to a server behind TLS, and return what stands in `Host`."""
    authority = f"{host.host}:{host.port}"
    assert await line.connect(authority) == 200
    await line.open_tls(gateway.authority, name=host.host)
    return authority


AMBIGUOUS = {
    "two_lengths": "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "a_list_of_lengths": "Content-Length: 2, 2\r\n\r\nab",
    "a_length_with_a_sign": "Content-Length: +2\r\n\r\nab",
    "a_length_and_chunks": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks_and_a_length": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "an_unknown_framing": "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunks_twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks_that_are_not_last": "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a_space_before_the_colon": "X-Spaced : 1\r\n\r\n",
    "a_folded_line": "X-Folded: one\r\n two\r\n\r\n",
    "a_bare_line_end": "X-Bare: one\nX-Other: two\r\n\r\n",
    "a_zero_byte": "X-Zero: a\x00b\r\n\r\n",
    "two_hosts": "Host: other.example\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_that_two_programs_could_read_differently_goes_nowhere(
    name: str, gateway: GatewayScene, origin: Origin
) -> None:
    url = origin.on("/a", DOCUMENT)
    head = f"POST {url} HTTP/1.1\r\nHost: {origin.host}:{origin.port}\r\n"
    statuses, is_closed = await send_raw(
        (head + AMBIGUOUS[name]).encode("latin-1") + SMUGGLED, port=gateway.gateway_port
    )
    assert statuses == [400]
    assert is_closed
    assert origin.requests == []


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_the_same_holds_inside_a_tunnel(name: str, gateway: GatewayScene) -> None:
    host = gateway.tls.good
    host.on("/ambiguous", DOCUMENT)
    async with open_line(gateway.gateway_port) as line:
        authority = await open_tunnel(line, gateway, host)
        head = f"POST /ambiguous HTTP/1.1\r\nHost: {authority}\r\n"
        answer = await line.ask((head + AMBIGUOUS[name]).encode("latin-1") + SMUGGLED)
        assert answer is not None
        assert answer.status == 400
        assert await line.is_closed()
    assert host.count("/ambiguous") == 0


async def test_chunks_of_the_backend_arrive_as_one_body(gateway: GatewayScene, origin: Origin) -> None:
    url = origin.on("/inbox", do.refuse(202))
    head = f"POST {url} HTTP/1.1\r\nHost: {origin.host}:{origin.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await ask_once(
        gateway.gateway_port, head.encode() + b"3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    assert answer is not None
    assert answer.status == 202
    assert origin.requests[-1].body == b"abcdefgh"
    assert origin.requests[-1].header("X-Trailer") is None


@pytest.mark.parametrize("host", ["other.example", "", "127.0.0.1", "10.0.0.1"])
async def test_a_host_header_that_names_another_place_than_the_target_goes_nowhere(
    host: str, gateway: GatewayScene, origin: Origin
) -> None:
    url = origin.on("/a", DOCUMENT)
    answer = await ask_once(gateway.gateway_port, build_get(url, host=host))
    assert answer is not None
    assert answer.status == 400
    assert origin.requests == []


@pytest.mark.parametrize("host", ["other.example", "", "127.0.2.1", "10.0.0.1:443"])
async def test_a_tunnel_leads_to_the_host_that_it_was_opened_for_and_to_no_other(
    host: str, gateway: GatewayScene
) -> None:
    good = gateway.tls.good
    good.on("/fronted", DOCUMENT)
    async with open_line(gateway.gateway_port) as line:
        await open_tunnel(line, gateway, good)
        answer = await line.ask(f"GET /fronted HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer is not None
        assert answer.status in {400, 421}
    assert good.count("/fronted") == 0


@pytest.mark.parametrize(
    "target",
    [
        "/metrics",
        "*",
        "ftp://127.0.1.1/a",
        "https://127.0.1.1/a",
        "http:///a",
        "http://user:word@127.0.1.1/a",
        "http://127.0.1.1\\@10.0.0.1/",
        "HTTP://127.0.1.1:99999/",
        "127.0.1.1:80",
        "//127.0.1.1/a",
    ],
)
async def test_a_target_that_is_no_plain_url_is_refused(target: str, gateway: GatewayScene) -> None:
    asked = f"GET {target} HTTP/1.1\r\nHost: 127.0.1.1\r\nConnection: close\r\n\r\n"
    statuses, _ = await send_raw(asked.encode(), port=gateway.gateway_port)
    assert statuses == [400]


@pytest.mark.parametrize(
    "head",
    [
        "CONNECT 127.0.2.1 HTTP/1.1\r\n\r\n",
        "CONNECT http://127.0.2.1:443/ HTTP/1.1\r\n\r\n",
        "CONNECT 127.0.2.1:0 HTTP/1.1\r\n\r\n",
        "CONNECT 127.0.2.1:443 HTTP/2.0\r\n\r\n",
        "CONNECT user@127.0.2.1:443 HTTP/1.1\r\n\r\n",
        "CONNECT  127.0.2.1:443 HTTP/1.1\r\n\r\n",
        "CONNECT 127.0.2.1:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "CONNECT 127.0.2.1:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "CONNECT 127.0.2.1:443 HTTP/1.1\r\nX-Folded: 1\r\n 2\r\n\r\n",
        "CONNECT 127.0.2.1:443 HTTP/1.1\nHost: a\r\n\r\n",
    ],
)
async def test_a_connect_that_cannot_be_read_in_one_way_is_refused(head: str, gateway: GatewayScene) -> None:
    statuses, is_closed = await send_raw(head.encode(), port=gateway.gateway_port)
    assert statuses == [400]
    assert is_closed


@pytest.mark.parametrize("filler", ["X-Filler: " + "a" * 100_000 + "\r\n", "X-Filler: a\r\n" * 20_000])
@pytest.mark.parametrize("first", ["GET http://127.0.1.1/ HTTP/1.1", "CONNECT 127.0.1.1:443 HTTP/1.1"])
async def test_a_head_that_does_not_end_is_cut_off(first: str, filler: str, gateway: GatewayScene) -> None:
    statuses, is_closed = await send_raw(
        f"{first}\r\nHost: 127.0.1.1\r\n{filler}".encode(), port=gateway.gateway_port
    )
    assert statuses in ([400], [431], [])
    assert is_closed


@pytest.mark.parametrize(
    "inside",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"EHLO example.com\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x80\x2e\x01\x03\x01",
    ],
)
async def test_a_tunnel_carries_nothing_that_cannot_be_examined(inside: bytes, gateway: GatewayScene) -> None:
    good = gateway.tls.good
    before = len(good.requests)
    async with open_line(gateway.gateway_port) as line:
        assert await line.connect(f"{good.host}:{good.port}") == 200
        line.writer.write(inside)
        assert await line.is_closed()
    assert len(good.requests) == before


async def test_plain_http_inside_a_tunnel_is_examined_like_any(gateway: GatewayScene, origin: Origin) -> None:
    origin.on("/document", DOCUMENT)
    origin.serve_media("/canary.png", draw_canary())
    authority = f"{origin.host}:{origin.port}"
    async with open_line(gateway.gateway_port) as line:
        assert await line.connect(authority) == 200
        statuses = []
        for path, host in (("/document", authority), ("/canary.png", authority), ("/document", "a.example")):
            answer = await line.ask(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert answer is not None
            statuses.append(answer.status)
    assert statuses == [200, 403, 400]
    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    "request_line",
    ["CONNECT 127.0.2.1:443", "GET http://127.0.1.1/", "GET https://other.example/", "OPTIONS *"],
)
async def test_a_tunnel_holds_no_second_proxy(request_line: str, gateway: GatewayScene) -> None:
    async with open_line(gateway.gateway_port) as line:
        authority = await open_tunnel(line, gateway, gateway.tls.good)
        answer = await line.ask(f"{request_line} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        assert answer is None or answer.status == 400


async def test_an_upgrade_to_another_protocol_is_declined(gateway: GatewayScene, origin: Origin) -> None:
    url = origin.on("/socket", DOCUMENT)
    answer = await ask_once(
        gateway.gateway_port, build_get(url, lines="Connection: upgrade\r\nUpgrade: websocket\r\n")
    )
    assert answer is not None
    assert answer.status == 501
    assert origin.requests == []


async def test_what_is_between_the_backend_and_the_gateway_reaches_no_origin(
    backend: PythonBackend, origin: Origin, gateway: GatewayScene
) -> None:
    url = origin.on("/a", DOCUMENT)
    lines = (
        "Proxy-Authorization: Basic YTpi\r\nProxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
        "Connection: X-Private, keep-alive\r\nX-Private: secret\r\nTE: trailers\r\nUpgrade: h2c\r\n"
    )
    answer = await ask_once(gateway.gateway_port, build_get(url, lines=lines))
    assert answer is not None
    assert answer.status == 200
    names = {name.lower() for name, _ in origin.requests[-1].headers}
    assert names == {"host", "accept-encoding", "via"}


async def test_an_origin_cannot_speak_for_the_gateway(backend: PythonBackend, origin: Origin) -> None:
    headers = {
        "Proxy-Authenticate": "Basic",
        "Connection": "X-Private",
        "X-Private": "1",
        "Keep-Alive": "timeout=1",
        "X-Public": "2",
    }
    got = await backend.fetch(origin.on("/a", do.serve(b"{}", "application/json", headers=headers)))
    names = {name.lower() for name, _ in got.headers}
    assert "x-public" in names
    assert not names & {"proxy-authenticate", "x-private", "keep-alive"}


async def test_a_connection_serves_one_request_after_the_other_and_each_its_own(
    gateway: GatewayScene, origin: Origin
) -> None:
    async with open_line(gateway.gateway_port) as line:
        for number in range(5):
            url = origin.on(f"/{number}", do.serve(str(number).encode(), "text/plain"))
            answer = await line.ask(build_get(url))
            assert answer is not None
            assert answer.body == str(number).encode()


async def test_a_flood_of_connections_that_say_nothing_keeps_nobody_out(
    gateway: GatewayScene, backend: PythonBackend, origin: Origin
) -> None:
    url = origin.on("/a", DOCUMENT)
    lines = [open_line(gateway.gateway_port) for _ in range(200)]
    try:
        for line in lines:
            await line.__aenter__()
        assert (await backend.fetch(url)).status == 200
    finally:
        for line in lines:
            await line.__aexit__(None, None, None)
