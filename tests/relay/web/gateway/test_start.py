"""The gateway starts with the relay, or the relay says why it cannot."""

from __future__ import annotations

import socket

import httpx
import pytest

from relay.errors import StartupError
from tests.e2e.process import free_ports
from tests.images import encode, marker
from tests.relay.line import open_line


async def test_without_an_authority_the_relay_does_not_start_and_says_what_to_do(dsn: str) -> None:
    with pytest.raises(StartupError, match=r"breakwater keys ca.*gateway\.opens_tls = false"):
        async with open_line(dsn, gateway_enabled="true"):
            pass


async def test_a_port_that_is_taken_is_named(dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ExceptionGroup) as refused:
            async with open_line(
                dsn, gateway_enabled="true", gateway_opens_tls="false", gateway_port=str(port)
            ):
                pass
        assert refused.group_contains(StartupError, match=rf"Port {port} .*gateway\.port")


async def test_the_relay_opens_it_where_it_is_switched_on(dsn: str) -> None:
    (port,) = free_ports(1)
    picture = encode(marker(3), "PNG")
    async with open_line(
        dsn,
        gateway_enabled="true",
        gateway_opens_tls="false",
        gateway_port=str(port),
        gateway_ports=",".join(map(str, range(32_768, 61_000))),
    ) as line:
        url = line.origin.serve_media("/a.png", picture)
        async with httpx.AsyncClient(proxy=f"http://127.0.0.1:{port}", trust_env=False) as backend:
            answer = await backend.get(url)
            own = await backend.get(f"{line.relay.admin_url}/livez")
    assert (answer.status_code, answer.content) == (200, picture)
    assert own.status_code == 403
