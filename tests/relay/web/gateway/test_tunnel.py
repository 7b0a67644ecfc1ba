"""A gateway without an authority: it blocks hosts, and sees nothing else."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from relay.web.gateway.tunnel import pump
from scanner.canary import draw_canary
from tests.images import encode, marker
from tests.relay.web.gateway.scene import NAME, open_scene

if TYPE_CHECKING:
    from pathlib import Path


async def test_https_passes_unseen_and_the_start_says_so(
    dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_scene(dsn, tmp_path, opens_tls=False) as scene:
        assert "can only block hosts" in caplog.text
        answer = await scene.get(scene.origin.serve_media("/a.png", draw_canary()))
        assert answer.content == draw_canary()
        # What is not encrypted is still examined.
        assert (await scene.get(scene.plain.serve_media("/a.png", draw_canary()))).status_code == 403


async def test_a_tunnel_leads_to_vetted_addresses_alone(dsn: str, tmp_path: Path) -> None:
    async with open_scene(dsn, tmp_path, opens_tls=False, blocked=frozenset({"bad.remote.example"})) as scene:
        picture = encode(marker(1), "PNG")
        scene.origin.serve_media("/a.png", picture)
        for addresses in (
            ("10.0.0.1",),
            ("127.0.0.1", "169.254.169.254"),
            ("::ffff:127.0.0.1",),
            ("127.0.0.66",),
        ):
            scene.names.given[NAME] = addresses
            with pytest.raises(httpx.ProxyError, match="403"):
                await scene.get(scene.origin.url("/a.png"))
        with pytest.raises(httpx.ProxyError, match="403"):
            await scene.get(f"https://bad.remote.example:{scene.origin.port}/a.png")
        assert scene.origin.requests == []
        scene.names.given[NAME] = ("127.0.0.1",)
        assert (await scene.get(scene.origin.url("/a.png"))).content == picture


async def test_where_nobody_listens_the_backend_is_told_so(dsn: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    async with open_scene(dsn, tmp_path, opens_tls=False, more_ports=frozenset({port})) as scene:
        with pytest.raises(httpx.ProxyError, match="502"):
            await scene.get(f"https://{NAME}:{port}/")


def _pair() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    one.settimeout(0)
    other.settimeout(0)
    return one, other


async def test_bytes_go_both_ways_until_both_sides_have_ended() -> None:
    loop = asyncio.get_running_loop()
    (backend, left), (right, origin) = _pair(), _pair()
    with backend, left, right, origin:
        async with asyncio.TaskGroup() as group:
            pumping = group.create_task(pump(left, right))
            await loop.sock_sendall(backend, b"asked")
            assert await loop.sock_recv(origin, 100) == b"asked"
            backend.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(origin, 100) == b""
            await loop.sock_sendall(origin, b"answered")
            assert await loop.sock_recv(backend, 100) == b"answered"
            assert not pumping.done()
            origin.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(backend, 100) == b""


async def test_a_tunnel_on_which_nothing_moves_ends() -> None:
    (backend, left), (right, origin) = _pair(), _pair()
    with backend, left, right, origin:
        async with asyncio.timeout(10):
            await pump(left, right, idle=timedelta(milliseconds=20))
