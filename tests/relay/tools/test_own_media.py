"""The relay looks at its server's own media where they are, and at everything else from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.model import FetchFailure, Media
from relay.tools.own_media import OwnMedia, open_upstream_client
from relay.tools.urls import parse_url
from tests.fediverse import FrozenClock, Origin
from tests.fediverse import behaviours as do

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BYTES = b"drawn"


class Outside:
    """Notes what is fetched from outside."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def fetch_media(self, url: str, **_: object) -> Media | FetchFailure:
        self.asked.append(url)
        return FetchFailure.GONE


@pytest.fixture
async def own(origin: Origin, clock: FrozenClock) -> AsyncIterator[OwnMedia]:
    async with open_upstream_client(clock) as inside:
        yield OwnMedia(
            upstream=parse_url(origin.url("/")), paths=("/system/",), inside=inside, outside=Outside()
        )


async def test_media_below_the_paths_are_asked_for_inside_under_the_servers_name(
    own: OwnMedia, origin: Origin
) -> None:
    origin.serve_media("/system/a.png", BYTES)
    media = await own.fetch_media("https://social.example/system/a.png?x=1")
    assert isinstance(media, Media)
    assert media.data == BYTES
    (asked,) = origin.requests
    assert (asked.target, asked.header("Host")) == ("/system/a.png?x=1", "social.example")
    assert own.outside.asked == []


@pytest.mark.parametrize(
    "url",
    ["https://social.example/media_proxy/1", "https://social.example/", "https://social.example/systems/a"],
)
async def test_everything_else_is_fetched_as_the_world_does(own: OwnMedia, origin: Origin, url: str) -> None:
    assert await own.fetch_media(url) is FetchFailure.GONE
    assert own.outside.asked == [url]
    assert not origin.requests


async def test_where_the_server_sends_elsewhere_the_world_is_followed_with_its_rules(
    own: OwnMedia, origin: Origin
) -> None:
    # An address that nobody may be made to ask: it is not asked by the client that may ask anything.
    origin.on("/system/a.png", do.redirect(origin.serve_media("/private.png", BYTES)))
    url = "https://social.example/system/a.png"
    assert await own.fetch_media(url) is FetchFailure.GONE
    assert own.outside.asked == [url]
    assert [request.path for request in origin.requests] == ["/system/a.png"]


async def test_what_is_no_address_is_refused(own: OwnMedia) -> None:
    assert await own.fetch_media("system/a.png") is FetchFailure.REFUSED_URL
