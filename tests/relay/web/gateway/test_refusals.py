"""What the gateway does not do, whoever asks."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fediverse.wire import open_server
from tests.images import encode, marker
from tests.relay.web.gateway.scene import NAME, OWN_DOMAIN, open_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fediverse.wire import WireRequest
    from tests.relay.web.gateway.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURE = encode(marker(5), "PNG")


async def exchange_raw(scene: Scene, data: bytes) -> bytes:
    """Send bytes to the gateway and return all that comes back until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.gateway.port)
    writer.write(data)
    answer = b""
    async with asyncio.timeout(10):
        # Who is refused before all was read is cut off, whatever was said before.
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                answer += piece
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


def connect(authority: str, *lines: str) -> bytes:
    return "\r\n".join([f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", *lines, "", ""]).encode()


@contextlib.asynccontextmanager
async def open_tls(
    scene: Scene, *, name: str = NAME, sni: str | None = None, protocols: tuple[str, ...] = ()
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a tunnel to the origin by hand, and TLS in it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.gateway.port)
    try:
        writer.write(connect(f"{name}:{scene.origin.port}"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        context = scene.trust()
        if protocols:
            context.set_alpn_protocols(list(protocols))
        await writer.start_tls(context, server_hostname=sni or name)
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def test_nothing_is_fetched_from_a_blocked_host_nor_below_it(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path, blocked=frozenset({"remote.example", "127.0.0.1"})) as scene:
        with pytest.raises(httpx.ProxyError, match="403"):
            await scene.get(scene.origin.serve_media("/a.png", PICTURE))
        assert (await scene.get(scene.plain.serve_media("/a.png", PICTURE))).status_code == 403
        assert scene.origin.requests == scene.plain.requests == []


async def test_a_name_that_only_ends_like_a_blocked_one_is_not_blocked(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path, blocked=frozenset({"dia.remote.example", "example"[1:]})) as scene:
        assert (await scene.get(scene.origin.serve_media("/a.png", PICTURE))).status_code == 200


@pytest.mark.parametrize(
    "addresses",
    [
        ("10.0.0.1",),
        ("169.254.169.254",),
        ("::1",),
        ("::ffff:127.0.0.1",),
        ("64:ff9b::7f00:1",),
        ("2002:7f00:1::",),
        ("127.0.0.1", "10.0.0.1"),
        ("127.0.0.66",),
    ],
)
async def test_a_name_that_leads_where_nobody_may_go_is_refused(
    scene: Scene, addresses: tuple[str, ...]
) -> None:
    # A name of its own: a connection that was vetted when it was opened may be used again.
    label = "-".join(addresses).replace(":", "x").replace(".", "-")
    name = f"{label}.remote.example"
    scene.names.given[name] = addresses
    scene.origin.serve_media("/a.png", PICTURE)
    answer = await scene.get(f"https://{name}:{scene.origin.port}/a.png")
    assert (answer.status_code, answer.content) == (403, b"Not available through this proxy.\n")
    assert scene.origin.requests == []


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_an_address_in_whatever_spelling_is_judged_before_it_is_asked(scene: Scene, host: str) -> None:
    asked = f"GET http://{host}:{scene.plain.port}/ HTTP/1.1\r\nHost: {host}:{scene.plain.port}\r\n"
    answer = await exchange_raw(scene, f"{asked}Connection: close\r\n\r\n".encode())
    assert answer.split(b" ")[1] in {b"400", b"403"}
    refused = await exchange_raw(scene, connect(f"{host}:{scene.plain.port}"))
    # Where a certificate can be made, the refusal comes when the address is about to be dialled.
    assert refused.split(b" ")[1] in {b"400", b"403"}
    assert scene.plain.requests == []


async def test_only_the_given_ports_are_dialled(scene: Scene) -> None:
    assert (await exchange_raw(scene, connect(f"{NAME}:22"))).startswith(b"HTTP/1.1 403 ")
    assert (await scene.get("http://media.remote.example:25/")).status_code == 403


async def test_the_password_is_asked_for_and_held_against_the_right_one(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path, password="corr:ect") as scene:
        secure = scene.origin.serve_media("/a.png", PICTURE)
        plain = scene.plain.serve_media("/a.png", PICTURE)
        for credentials in ("", "breakwater:wrong@", "corr%3Aect:@"):
            async with scene.backend(credentials=credentials) as backend:
                refused = await backend.get(plain)
                assert refused.status_code == 407
                assert refused.headers["Proxy-Authenticate"].startswith('Basic realm="')
                with pytest.raises(httpx.ProxyError, match="407"):
                    await backend.get(secure)
        assert scene.origin.requests == scene.plain.requests == []
        async with scene.backend(credentials="breakwater:corr%3Aect@") as backend:
            for url in (secure, plain):
                assert (await backend.get(url)).content == PICTURE
        assert scene.plain.requests[0].header("Proxy-Authorization") is None
        challenge = await exchange_raw(scene, connect(f"{NAME}:{scene.origin.port}"))
        assert b"\r\nProxy-Authenticate: Basic realm=" in challenge


async def test_a_client_from_elsewhere_is_not_served(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path, clients=("192.0.2.0/24",)) as scene:
        url = scene.plain.serve_media("/a.png", PICTURE)
        answer = await exchange_raw(scene, f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert scene.plain.requests == []


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT media.remote.example HTTP/1.1\r\n\r\n",
        b"CONNECT user@media.remote.example:443 HTTP/1.1\r\n\r\n",
        b"CONNECT https://media.remote.example:443 HTTP/1.1\r\n\r\n",
        b"CONNECT media.remote.example:443/x HTTP/1.1\r\n\r\n",
        b"CONNECT media.remote.example:0 HTTP/1.1\r\n\r\n",
        b"CONNECT media.remote.example:99999 HTTP/1.1\r\n\r\n",
        b"CONNECT 127.1:443 HTTP/1.1\r\n\r\n",
        b"CONNECT media.remote.example:443 HTTP/2.0\r\n\r\n",
        b"CONNECT media.remote.example:443 HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"CONNECT media.remote.example:443 HTTP/1.1\r\nHost : a\r\n\r\n",
        b"CONNECT media.remote.example:443 HTTP/1.1\nHost: a\r\n\r\n",
        b"CONNECT media.remote.example:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        b"CONNECT media.remote.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT  media.remote.example:443 HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_connect_that_can_be_read_in_two_ways_is_refused(scene: Scene, head: bytes) -> None:
    assert (await exchange_raw(scene, head)).startswith(b"HTTP/1.1 400 ")


async def test_a_head_without_an_end_is_cut(scene: Scene) -> None:
    endless = b"CONNECT media.remote.example:443 HTTP/1.1\r\n" + b"X-Filler: aaaaaaaa\r\n" * 2000
    answer = await exchange_raw(scene, endless)
    assert answer.startswith(b"HTTP/1.1 431 ") or not answer


async def test_what_is_neither_tls_nor_http_after_a_connect_is_not_carried(scene: Scene) -> None:
    for words in (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET", b"EHLO mail.example\r\n", b"SSH-2.0-x\r\n"):
        answer = await exchange_raw(scene, connect(f"{NAME}:{scene.origin.port}") + words)
        assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n" or not answer
    assert scene.origin.requests == []


async def test_h2_is_declined_and_the_connection_works(scene: Scene) -> None:
    scene.origin.serve_media("/a.png", PICTURE)
    async with open_tls(scene, protocols=("h2", "http/1.1")) as (reader, writer):
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.write(f"GET /a.png HTTP/1.1\r\nHost: {NAME}:{scene.origin.port}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(len(PICTURE)) == PICTURE


async def test_a_tls_name_other_than_the_one_asked_for_is_not_served(scene: Scene) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with open_tls(scene, sni="other.remote.example"):
            pass


@pytest.mark.parametrize(
    "head",
    [
        "GET /a.png HTTP/1.1\r\nHost: other.remote.example\r\n\r\n",
        "GET /a.png HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n\r\n",
        "GET /a.png HTTP/1.1\r\nHost: media.remote.example:1\r\n\r\n",
        "GET https://other.remote.example/a.png HTTP/1.1\r\nHost: {own}\r\n\r\n",
        "GET http://{own}/a.png HTTP/1.1\r\nHost: {own}\r\n\r\n",
        "GET /a.png HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: {own}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: {own}\r\n\r\n",
        "CONNECT {own} HTTP/1.1\r\nHost: {own}\r\n\r\n",
    ],
)
async def test_inside_a_tunnel_only_its_own_host_is_asked(scene: Scene, head: str) -> None:
    async with open_tls(scene) as (reader, writer):
        writer.write(head.format(own=f"{NAME}:{scene.origin.port}").encode())
        async with asyncio.timeout(10):
            assert (await reader.read()).split(b" ")[1] == b"400"
    assert scene.origin.requests == []


async def test_an_upgrade_is_declined(scene: Scene) -> None:
    url = scene.plain.serve_media("/ws", b"words", "text/plain")
    head = f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1:{scene.plain.port}\r\nConnection: Upgrade\r\n"
    declined = await exchange_raw(scene, f"{head}Upgrade: websocket\r\n\r\n".encode())
    assert declined.startswith(b"HTTP/1.1 501 ")
    assert scene.plain.requests == []


async def test_a_request_that_comes_back_to_us_ends(scene: Scene) -> None:
    url = scene.plain.serve_media("/a.png", PICTURE)
    await scene.get(url)
    via = scene.plain.requests[0].header("Via") or ""
    assert (await scene.get(url, Via=f"1.0 other, {via}")).status_code == 508
    assert (await scene.get(url, Via="1.0 other")).status_code == 200


async def test_the_backend_is_not_shown_its_own_domain(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await exchange_raw(scene, connect(f"files.{OWN_DOMAIN}:{scene.origin.port}"))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert "no_proxy" in caplog.text


async def test_a_link_to_a_private_address_is_no_mistake_of_the_admins(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await exchange_raw(scene, connect(f"127.0.0.1:{scene.origin.port}"))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert not caplog.records


async def test_an_origin_that_nobody_vouches_for_is_not_asked(scene: Scene) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.load_cert_chain(scene.folder / "server.pem")
    asked: list[WireRequest] = []

    async def answer(request: WireRequest, writer: asyncio.StreamWriter) -> bool:
        asked.append(request)
        return False

    # The certificate is for names below remote.example, and this is another one.
    async with open_server(answer, tls=stranger) as port:
        scene.names.given["wrong.other.example"] = ("127.0.0.1",)
        assert scene.origin.port != port
        refused = await exchange_raw(scene, connect(f"wrong.other.example:{port}"))
        assert refused.startswith(b"HTTP/1.1 403 ")
    url = f"https://wrong.other.example:{scene.origin.port}/a.png"
    assert (await scene.get(url)).status_code == 502
    assert asked == scene.origin.requests == []
