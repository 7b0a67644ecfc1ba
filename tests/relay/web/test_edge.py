"""What the edge reads, what it refuses, and whom it believes."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from relay.web.edge import AmbiguousRequestError, Arrival, is_ambiguous, is_inbox, parse_arrival

if TYPE_CHECKING:
    from aiohttp import web

TRUSTED = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("::1/128"))


class _Transport:
    """A socket whose other end is where a test wants it."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (self._peer, 50_000) if name == "peername" else default

    def is_closing(self) -> bool:
        return False


def _request(
    *headers: tuple[str, str], target: str = "/inbox", peer: str = "127.0.0.1", host: str = "instance.example"
) -> web.Request:
    pairs = CIMultiDict([("Host", host), *headers])
    return make_mocked_request("POST", target, headers=pairs, transport=_Transport(peer))


def _parse(*headers: tuple[str, str], target: str = "/inbox", peer: str = "127.0.0.1") -> Arrival:
    return parse_arrival(_request(*headers, target=target, peer=peer), b"body", trusted_proxies=TRUSTED)


def _values(arrival: Arrival, name: str) -> list[str]:
    return [value for key, value in arrival.message.headers if key.lower() == name.lower()]


def test_the_request_is_read_as_it_was_sent() -> None:
    arrival = _parse(("X-A", "1"), ("x-b", " 2"), ("X-A", "3"), target="/users/%41/inbox?x=%7e")

    message = arrival.message
    assert (message.method, message.target, message.body) == ("POST", "/users/%41/inbox?x=%7e", b"body")
    assert message.authority == "instance.example"
    assert message.headers[:4] == (("Host", "instance.example"), ("X-A", "1"), ("x-b", " 2"), ("X-A", "3"))


@pytest.mark.parametrize(
    ("forwarded", "peer", "remote"),
    [
        ([], "192.0.2.9", "192.0.2.9"),
        (["198.51.100.1"], "192.0.2.9", "192.0.2.9"),
        (["198.51.100.1"], "127.0.0.1", "198.51.100.1"),
        (["203.0.113.5, 198.51.100.1"], "127.0.0.1", "198.51.100.1"),
        (["203.0.113.5", "198.51.100.1, 10.0.0.3"], "127.0.0.1", "198.51.100.1"),
        (["10.0.0.4, 10.0.0.3"], "127.0.0.1", "10.0.0.4"),
        (["203.0.113.5, nonsense"], "127.0.0.1", "127.0.0.1"),
        (["203.0.113.5:4711"], "127.0.0.1", "127.0.0.1"),
        ([""], "127.0.0.1", "127.0.0.1"),
        (["2001:db8::7"], "::1", "2001:db8::7"),
        (["203.0.113.5"], "not an address", "not an address"),
    ],
)
def test_the_sender_is_the_last_hop_that_no_trusted_proxy_is(
    forwarded: list[str], peer: str, remote: str
) -> None:
    arrival = _parse(*(("X-Forwarded-For", value) for value in forwarded), peer=peer)

    assert arrival.remote_address == remote
    assert _values(arrival, "x-forwarded-for") == [remote]
    assert _values(arrival, "x-real-ip") == [remote]


@pytest.mark.parametrize(
    ("said", "peer", "scheme"),
    [
        ("https", "127.0.0.1", "https"),
        ("HTTPS ", "127.0.0.1", "https"),
        ("https", "192.0.2.9", "http"),
        ("gopher", "127.0.0.1", "http"),
    ],
)
def test_only_a_trusted_proxy_says_that_the_sender_used_tls(said: str, peer: str, scheme: str) -> None:
    arrival = _parse(("X-Forwarded-Proto", said), peer=peer)

    assert arrival.message.scheme == scheme
    assert _values(arrival, "x-forwarded-proto") == [scheme]


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "X-Forwarded-Host",
        "x-forwarded-anything",
        "X_Forwarded_For",
        "x-Forwarded_host",
        "Breakwater-Verdict",
        "BREAKWATER_VERDICT",
        "X_Real_IP",
        "Expect",
    ],
)
def test_what_only_we_may_say_is_removed(name: str) -> None:
    assert not _values(_parse((name, "100-continue")), name)


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "4"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "4"), ("content-length", "4")],
        [("Host", "other.example")],
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(AmbiguousRequestError):
        _parse(*headers)


_AMBIGUOUS = [
    "//inbox",
    "/a//inbox",
    "/inbox//",
    "/./inbox",
    "/../inbox",
    "/a/..",
    "/%2e/inbox",
    "/%2E%2e/inbox",
    "/a%2finbox",
    "/a%2Finbox",
    "/a%5cinbox",
    "/a%5Cinbox",
    "/a\\inbox",
    "/inbox;a",
    "/inbox%00",
    "/in\tbox",
    "/in box",
    "/in\N{LATIN SMALL LETTER LONG S}box",
    "/\N{KELVIN SIGN}/inbox",
    "http://instance.example/inbox",
    "*",
    "",
    "inbox",
]


@pytest.mark.parametrize("target", _AMBIGUOUS)
def test_a_target_that_servers_read_differently_is_ambiguous(target: str) -> None:
    assert is_ambiguous(target)
    assert is_ambiguous(f"{target}?x=1")


@pytest.mark.parametrize(
    "target", ["/inbox", "/@a.b@c.example/inbox/", "/users/%C3%A9/inbox", "/a..b/inbox", "/inbox?a=//b;c"]
)
def test_a_plain_target_is_not(target: str) -> None:
    assert not is_ambiguous(target)


@given(st.text(max_size=40))
def test_whatever_is_not_refused_is_printable_and_without_an_encoded_separator(text: str) -> None:
    target = f"/{text}"
    path = target.partition("?")[0]
    if not is_ambiguous(target):
        assert path.isascii()
        assert path.isprintable()
        assert not any(part in {"", ".", ".."} for part in path.split("/")[1:-1])
        assert not any(code in path.lower() for code in ("%2e", "%2f", "%5c", "%00"))


@pytest.mark.parametrize(
    "target", ["/inbox", "/inbox/", "/inbox?x", "/shared-inbox", "/f/inbox", "/site_inbox", "/a/b/c/inbox"]
)
def test_an_inbox_is_known_by_its_last_word(target: str) -> None:
    assert is_inbox(target)


@pytest.mark.parametrize(
    "target", ["/", "/inboxes", "/myinbox", "/inbox/1", "/api?x=/inbox", "/outbox", "/inbox//", "//inbox"]
)
def test_everything_else_is_none(target: str) -> None:
    assert not is_inbox(target)
