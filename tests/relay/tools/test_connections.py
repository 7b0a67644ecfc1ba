"""Fetches that must not begin: private addresses by every road, and TLS that proves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model import FetchFailure, Media
from relay.tools.connections import AddressRefusedError, Lookup, VettingResolver
from relay.tools.fetching import open_guarded_client
from relay.tools.policy import FetchPolicy
from tests.fediverse import Fediverse, FrozenClock, Origin
from tests.fediverse import behaviours as do
from tests.fediverse.wire import WireRequest, open_server
from tests.relay.tools.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

STRICT = FetchPolicy(allow_http=True, ports=None)
TLS = ssl.create_default_context()
# The certificate check reads the machine's own clock, and nothing lets a test set it.
TODAY = datetime.now(UTC)  # noqa: TID251 (the certificates have to be valid while the test runs)


class SocketSpy:
    """Makes sockets and remembers whom they were told to dial."""

    def __init__(self) -> None:
        self.made = 0
        self.dialled: list[tuple[str, int]] = []

    def make(self, family: int, kind: int, protocol: int) -> socket.socket:
        self.made += 1
        return socket.socket(family, kind, protocol)

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Record every connection that the running loop begins."""
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect

        async def spy(sock: socket.socket, address: tuple[str, int]) -> None:
            self.dialled.append(address[:2])
            await connect(sock, address)

        loop.sock_connect = spy  # type: ignore[method-assign, assignment]  # (a spy in the loop's place)
        try:
            yield
        finally:
            loop.sock_connect = connect  # type: ignore[method-assign]  # (and the loop's own back)


def answering(*answers: Sequence[str]) -> Lookup:
    """Look up with one answer a call, the last one from then on."""
    calls = 0

    async def lookup(host: str, port: int) -> tuple[str, ...]:
        nonlocal calls
        calls += 1
        return tuple(answers[min(calls, len(answers)) - 1])

    return lookup


@contextlib.asynccontextmanager
async def open_tls_media(
    context: ssl.SSLContext, behaviour: do.Behaviour | None = None
) -> AsyncIterator[int]:
    """Open a TLS server that behaves like this, and yield its port."""
    chosen = behaviour or do.serve(b"drawn marker")

    async def answer(request: WireRequest, writer: asyncio.StreamWriter) -> bool:
        return await chosen(request, 1, writer)

    async with open_server(answer, tls=context) as port:
        yield port


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "::",
        "0.0.0.0",  # noqa: S104 (an address to refuse)
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "10.0.0.7",
        "169.254.169.254",
        "fe80::1%1",
        "not an address",
    ],
)
async def test_a_name_of_a_private_address_is_never_dialled(address: str, clock: FrozenClock) -> None:
    spy = SocketSpy()
    async with open_guarded_client(
        STRICT, clock, lookup=answering([address]), make_socket=spy.make
    ) as client:
        with spy.watch():
            outcome = await client.fetch_media("http://media.example/a.png")
    assert outcome is FetchFailure.REFUSED_ADDRESS
    assert (spy.made, spy.dialled) == (0, [])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://0.0.0.0/",
        "http://169.254.169.254/latest/meta-data",
        "http://168.63.129.16/",
    ],
)
async def test_a_literal_address_does_not_pass_by_the_gate(url: str, clock: FrozenClock) -> None:
    spy = SocketSpy()
    async with open_guarded_client(STRICT, clock, make_socket=spy.make) as client:
        with spy.watch():
            assert await client.fetch_media(url) is FetchFailure.REFUSED_ADDRESS
    assert (spy.made, spy.dialled) == (0, [])


async def test_a_mixed_answer_is_refused_whole(origin: Origin, clock: FrozenClock) -> None:
    spy = SocketSpy()
    rules = replace(STRICT, allow_private=(ip_network("127.0.0.1/32"),))
    async with open_guarded_client(
        rules, clock, lookup=answering(["127.0.0.1", "10.0.0.7"]), make_socket=spy.make
    ) as client:
        with spy.watch():
            outcome = await client.fetch_media(f"http://media.example:{origin.port}/a")
    assert outcome is FetchFailure.REFUSED_ADDRESS
    assert (spy.dialled, origin.requests) == ([], [])


async def test_after_rebinding_only_the_vetted_address_was_ever_dialled(
    world: Fediverse, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing behind the check may resolve on its own account.
    monkeypatch.setattr(socket, "getaddrinfo", None)
    public = await world.open_origin(host="127.0.0.2")
    # 127.0.0.2 plays the public address; the private server listens on the same port of 127.0.0.3.
    reached: list[object] = []
    listener = socket.create_server(("127.0.0.3", public.port))
    private = await asyncio.start_server(lambda *_: reached.append(_), sock=listener)
    url = f"http://media.example:{public.port}/a"
    public.serve_media("/a", b"drawn marker")
    rules = replace(STRICT, allow_private=(ip_network("127.0.0.2/32"),))
    spy = SocketSpy()
    async with (
        private,
        open_guarded_client(
            rules, clock, lookup=answering(["127.0.0.2"], ["127.0.0.3"]), make_socket=spy.make
        ) as client,
    ):
        with spy.watch():
            first = await client.fetch_media(url)
            # Another port is another look-up, so that the name server gets its second say.
            second = await client.fetch_media(f"http://media.example:{public.port + 1}/a")
    assert isinstance(first, Media)
    assert second is FetchFailure.REFUSED_ADDRESS
    assert spy.dialled == [("127.0.0.2", public.port)]
    assert reached == []


async def test_a_kept_connection_is_not_resolved_again(world: Fediverse, clock: FrozenClock) -> None:
    public = await world.open_origin(host="127.0.0.2")
    public.serve_media("/a", b"drawn marker")
    rules = replace(STRICT, allow_private=(ip_network("127.0.0.2/32"),))
    spy = SocketSpy()
    async with open_guarded_client(
        rules, clock, lookup=answering(["127.0.0.2"], ["10.0.0.1"]), make_socket=spy.make
    ) as client:
        with spy.watch():
            for _ in range(3):
                assert isinstance(await client.fetch_media(f"http://media.example:{public.port}/a"), Media)
    assert spy.dialled == [("127.0.0.2", public.port)]


async def test_the_second_address_is_tried_when_the_first_does_not_answer(
    world: Fediverse, clock: FrozenClock
) -> None:
    origin = await world.open_origin(host="127.0.0.2")
    origin.serve_media("/a", b"drawn marker")
    rules = replace(STRICT, allow_private=(ip_network("127.0.0.0/8"),))
    lookup = answering(["127.0.0.3", "127.0.0.2"])
    async with open_guarded_client(rules, clock, lookup=lookup) as client:
        assert isinstance(await client.fetch_media(f"http://media.example:{origin.port}/a"), Media)


async def test_our_own_address_is_refused_under_any_name(origin: Origin, clock: FrozenClock) -> None:
    own = (ip_address("127.0.0.1"), origin.port)
    rules = replace(STRICT, allow_private=(ip_network("127.0.0.0/8"),), refused=(own,))
    async with open_guarded_client(rules, clock, lookup=answering(["127.0.0.1"])) as client:
        assert await client.fetch_media(origin.url("/inbox")) is FetchFailure.REFUSED_ADDRESS
        named = f"http://relay.example:{origin.port}/inbox"
        assert await client.fetch_media(named) is FetchFailure.REFUSED_ADDRESS
    assert origin.requests == []


async def test_a_redirect_to_a_private_address_is_never_dialled(world: Fediverse, clock: FrozenClock) -> None:
    public, private = await world.open_origin(host="127.0.0.2"), await world.open_origin(host="127.0.0.3")
    url = public.on("/a", do.redirect(private.url("/secret")))
    rules = replace(STRICT, allow_private=(ip_network("127.0.0.2/32"),))
    async with open_guarded_client(rules, clock) as client:
        assert await client.fetch_media(url) is FetchFailure.REFUSED_ADDRESS
    assert private.requests == []


async def test_plain_http_and_other_ports_take_an_explicit_setting(
    origin: Origin, clock: FrozenClock
) -> None:
    loopback = (ip_network("127.0.0.0/8"),)
    async with open_guarded_client(FetchPolicy(allow_private=loopback), clock) as client:
        assert await client.fetch_media(origin.url("/a")) is FetchFailure.REFUSED_URL
        assert await client.fetch_media("https://media.example:22/") is FetchFailure.REFUSED_URL
    async with open_guarded_client(FetchPolicy(allow_private=loopback, allow_http=True), clock) as client:
        assert await client.fetch_media(origin.url("/a")) is FetchFailure.REFUSED_URL
    assert origin.requests == []


async def test_the_exact_endpoint_of_our_own_test_origin_is_open_and_nothing_beside_it(
    world: Fediverse, clock: FrozenClock
) -> None:
    own, other = await world.open_origin(), await world.open_origin()
    rules = FetchPolicy(allow_private=((IPv4Address("127.0.0.1"), own.port),))
    async with open_guarded_client(rules, clock) as client:
        assert isinstance(await client.fetch_media(own.serve_media("/canary", b"drawn")), Media)
        assert await client.fetch_media(other.serve_media("/x", b"drawn")) is FetchFailure.REFUSED_URL
        # A name that leads there is not the endpoint itself.
        assert await client.fetch_media(f"http://localhost:{own.port}/canary") is FetchFailure.REFUSED_URL


async def test_proxies_of_the_environment_are_ignored(
    world: Fediverse, clock: FrozenClock, policy: FetchPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, proxy = await world.open_origin(), await world.open_origin()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url(""))
    async with open_guarded_client(policy, clock) as client:
        assert isinstance(await client.fetch_media(origin.serve_media("/a", b"drawn")), Media)
    assert proxy.requests == []


async def test_a_netrc_earns_nobody_a_password(
    origin: Origin, clock: FrozenClock, policy: FetchPolicy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with open_guarded_client(policy, clock) as client:
        await client.fetch_media(origin.serve_media("/a", b"drawn"))
    assert origin.requests[0].header("Authorization") is None


@given(st.lists(st.one_of(st.text(), st.text(alphabet="htps:/[]@.%127x\\?#", max_size=30)), max_size=5))
def test_no_text_makes_a_fetch_raise(texts: list[str]) -> None:
    def stay_at_home(family: int, kind: int, protocol: int) -> socket.socket:
        raise OSError("a text that happens to be a public address is not dialled from a test")

    async def fetch_all() -> list[object]:
        async with open_guarded_client(
            STRICT, FrozenClock(), tls=TLS, lookup=answering([]), make_socket=stay_at_home
        ) as client:
            return [
                await client.fetch_media(prefix + text)
                for text in texts
                for prefix in ("", "http://", "https://a/")
            ]

    assert all(isinstance(outcome, FetchFailure) for outcome in asyncio.run(fetch_all()))


async def test_a_name_without_an_answer_is_unresolved(clock: FrozenClock) -> None:
    async def fail(host: str, port: int) -> tuple[str, ...]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    for lookup in (fail, answering([])):
        async with open_guarded_client(STRICT, clock, lookup=lookup) as client:
            outcome = await client.fetch_media("http://media.example/a")
        assert outcome is FetchFailure.UNRESOLVED


async def test_a_name_server_that_never_answers_ends_in_a_timeout(clock: FrozenClock) -> None:
    async def stall(host: str, port: int) -> tuple[str, ...]:
        await asyncio.Event().wait()
        return ()

    hasty = replace(STRICT, connect_timeout=timedelta(seconds=0.1))
    async with open_guarded_client(hasty, clock, lookup=stall) as client:
        assert await client.fetch_media("http://media.example/a") is FetchFailure.TIMEOUT


async def test_more_addresses_than_can_be_judged_are_refused() -> None:
    many = [f"93.184.215.{number}" for number in range(65)]
    resolver = VettingResolver(answering(many), rules=STRICT.rules, timeout_seconds=1)
    with pytest.raises(AddressRefusedError):
        await resolver.resolve("media.example", 443)


async def test_a_port_nobody_listens_on_is_unreachable(policy: FetchPolicy, clock: FrozenClock) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with open_guarded_client(policy, clock) as client:
            assert await client.fetch_media(f"http://127.0.0.1:{port}/") is FetchFailure.UNREACHABLE


@pytest.mark.parametrize(
    ("certified", "valid_days", "outcome"),
    [
        ("media.example", (-1, 1), None),
        ("media.example", (-3, -1), FetchFailure.TLS),
        ("media.example", (1, 3), FetchFailure.TLS),
        ("other.example", (-1, 1), FetchFailure.TLS),
        ("example", (-1, 1), FetchFailure.TLS),
        ("*.media.example", (-1, 1), FetchFailure.TLS),
    ],
)
async def test_a_certificate_is_for_this_name_and_this_time(
    certified: str,
    valid_days: tuple[int, int],
    outcome: FetchFailure | None,
    clock: FrozenClock,
    tmp_path: Path,
) -> None:
    begins, ends = valid_days
    authority = Authority.create(TODAY)
    context = authority.issue(
        certified,
        begins=TODAY + timedelta(days=begins),
        ends=TODAY + timedelta(days=ends),
        folder=tmp_path,
    )
    async with open_tls_media(context) as port:
        rules = FetchPolicy(ports=None, allow_private=(ip_network("127.0.0.0/8"),))
        async with open_guarded_client(
            rules, clock, tls=authority.trusted(), lookup=answering(["127.0.0.1"])
        ) as client:
            fetched = await client.fetch_media(f"https://media.example:{port}/a")
    assert (None if isinstance(fetched, Media) else fetched) is outcome


async def test_an_unknown_authority_proves_nothing(clock: FrozenClock, tmp_path: Path) -> None:
    context = Authority.create(TODAY).issue(
        "media.example", begins=TODAY - timedelta(days=1), ends=TODAY + timedelta(days=1), folder=tmp_path
    )
    async with open_tls_media(context) as port:
        rules = FetchPolicy(ports=None, allow_private=(ip_network("127.0.0.0/8"),))
        async with open_guarded_client(rules, clock, lookup=answering(["127.0.0.1"])) as client:
            assert await client.fetch_media(f"https://media.example:{port}/a") is FetchFailure.TLS


async def test_a_redirect_from_https_to_http_is_not_followed(
    origin: Origin, clock: FrozenClock, tmp_path: Path
) -> None:
    authority = Authority.create(TODAY)
    context = authority.issue(
        "media.example", begins=TODAY - timedelta(days=1), ends=TODAY + timedelta(days=1), folder=tmp_path
    )
    target = origin.serve_media("/a", b"drawn")
    rules = FetchPolicy(allow_http=True, ports=None, allow_private=(ip_network("127.0.0.0/8"),))
    async with (
        open_tls_media(context, do.redirect(target)) as port,
        open_guarded_client(rules, clock, tls=authority.trusted(), lookup=answering(["127.0.0.1"])) as client,
    ):
        assert await client.fetch_media(f"https://media.example:{port}/a") is FetchFailure.REFUSED_URL
    assert origin.requests == []


async def test_plain_text_on_a_tls_port_is_a_tls_failure(clock: FrozenClock) -> None:
    async def answer_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    rules = FetchPolicy(ports=None, allow_private=(ip_network("127.0.0.0/8"),))
    async with await asyncio.start_server(answer_plainly, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_guarded_client(rules, clock) as client:
            assert await client.fetch_media(f"https://127.0.0.1:{port}/a") is FetchFailure.TLS
