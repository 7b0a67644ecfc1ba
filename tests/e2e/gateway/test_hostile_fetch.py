"""Where a backend must not be led: its own network, the relay's, and servers that are not who they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.gateway.raw import ask_once, open_line
from tests.fediverse import behaviours as do
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.gateway.backends import NodeBackend, PythonBackend
    from tests.e2e.gateway.scene import GatewayScene
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

# What may be dialled here on loopback is named by network, and everything below lies outside of it.
PRIVATE = (
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "0.0.0.0",  # noqa: S104 (asked for, not listened on)
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001::7f00:1]",
    "[fe80::1]",
    "[fc00::1]",
    "[fec0::1]",
    "[ff02::1]",
)
# Other ways to write 127.0.0.1 that some resolver somewhere reads.
ODD = (
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.1",
    "127.0.0.1.",
    "127.000.000.001",
    "[fe80::1%25lo]",
    "[::1",
    "%31%32%37.0.0.1",
    "a@127.0.0.1",
    "127.0.0.1\\@example.com",
    "",
)


@pytest.mark.parametrize("host", PRIVATE)
@pytest.mark.parametrize("port", [80, 443])
async def test_no_private_address_is_asked_by_http(host: str, port: int, gateway: GatewayScene) -> None:
    asked = f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    answer = await ask_once(gateway.gateway_port, asked.replace(":80", "").encode())
    assert answer is not None
    assert answer.status == 403


@pytest.mark.parametrize("host", PRIVATE)
async def test_no_private_address_is_asked_through_a_tunnel(host: str, gateway: GatewayScene) -> None:
    name = host.strip("[]")
    async with open_line(gateway.gateway_port) as line:
        status = await line.connect(f"{host}:443")
        if status == 200:
            # Opened on this side only: the address is judged when something is asked for.
            await line.open_tls(gateway.authority, name=name)
            answer = await line.ask(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert answer is not None
            status = answer.status
    assert status == 403


@pytest.mark.parametrize("host", ODD)
async def test_a_host_that_programs_read_differently_is_refused(host: str, gateway: GatewayScene) -> None:
    asked = f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    answer = await ask_once(gateway.gateway_port, asked.encode())
    assert answer is None or answer.status in {400, 403}
    async with open_line(gateway.gateway_port) as line:
        assert await line.connect(f"{host}:443") in {400, 403}


@pytest.mark.parametrize("door", ["inbox", "admin", "gateway", "backend"])
async def test_neither_the_relay_nor_its_backend_is_asked_for_the_backend(
    door: str, gateway: GatewayScene
) -> None:
    """Their ports may be dialled and loopback is allowed here, so that only whose they are refuses them."""
    port = {
        "inbox": gateway.relay.port,
        "admin": gateway.relay.admin_port,
        "gateway": gateway.gateway_port,
        "backend": gateway.server.port,
    }[door]
    place = f"127.0.0.1:{port}"
    answer = await ask_once(
        gateway.gateway_port, f"GET http://{place}/metrics HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()
    )
    assert answer is not None
    assert answer.status == 403
    async with open_line(gateway.gateway_port) as line:
        status = await line.connect(place)
        if status == 200:
            await line.open_tls(gateway.authority, name="127.0.0.1")
            answer = await line.ask(f"GET / HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
            assert answer is not None
            status = answer.status
        assert status == 403
    assert gateway.server.requests == []


async def test_a_port_that_is_not_named_is_not_dialled(
    gateway: GatewayScene, backend: PythonBackend, origin: Origin
) -> None:
    assert (await backend.fetch("http://127.0.1.1:25/")).status == 403
    assert (await backend.fetch("https://127.0.1.1:22/")).status == 403


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "//10.0.0.1/",
    ],
)
async def test_a_redirect_comes_back_as_it_is_and_the_next_hop_is_judged_anew(
    location: str, backend: PythonBackend, origin: Origin
) -> None:
    got = await backend.fetch(origin.on("/away", do.redirect(location)))
    assert (got.status, got.header("Location")) == (302, location)
    assert len(origin.requests) == 1
    if location.startswith("http"):
        assert (await backend.fetch(location)).status == 403


async def test_hops_and_loops_are_the_backends_to_count(backend: PythonBackend, origin: Origin) -> None:
    url = origin.on("/round", do.redirect("/round"))
    for _ in range(8):
        assert (await backend.fetch(url)).status == 302
    assert len(origin.requests) == 8


@pytest.mark.parametrize("kind", ["expired", "misnamed", "unknown"])
@pytest.mark.parametrize("client", ["python", "node"])
async def test_a_server_that_is_not_who_it_says_is_told_nothing(
    kind: str, client: str, gateway: GatewayScene, backend: PythonBackend, node: NodeBackend
) -> None:
    impostor = getattr(gateway.tls, kind)
    url = impostor.serve_media("/a.png", encode(marker(51, width=64, height=64), "PNG"))
    got = await (node if client == "node" else backend).fetch(url)
    assert got.status == 502
    assert b"PNG" not in got.body
    assert impostor.requests == []


async def test_a_server_that_speaks_no_tls_is_not_asked_without_it(
    backend: PythonBackend, origin: Origin
) -> None:
    url = origin.serve_media("/a.png", b"plain").replace("http://", "https://")
    # It waits for the end of a line that never comes.
    assert (await backend.fetch(url)).status == 504
    assert origin.requests == []


async def test_the_proxy_that_the_relays_own_environment_names_is_never_asked(
    gateway: GatewayScene, backend: PythonBackend, origin: Origin
) -> None:
    assert (await backend.fetch(origin.on("/a", do.serve(b"{}", "application/json")))).status == 200
    assert (await backend.fetch(gateway.tls.good.on("/a", do.serve(b"{}", "application/json")))).status == 200
    assert gateway.trap.requests == []


async def test_a_request_that_comes_back_to_the_gateway_goes_no_further(
    gateway: GatewayScene, backend: PythonBackend, origin: Origin
) -> None:
    url = origin.on("/a", do.serve(b"{}", "application/json"))
    await backend.fetch(url)
    via = origin.requests[-1].header("Via")
    assert via is not None
    got = await backend.fetch(url, headers=(("Via", via),))
    assert got.status == 508
    assert len(origin.requests) == 1
