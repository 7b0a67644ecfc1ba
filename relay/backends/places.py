"""How media reach the people of each server, place by place: the facts behind the coverage statement.

What is not known is said to be not known. Source: the servers' own documentation and source code, and runs
against live servers; where a door was tried with a live server, `docs/servers/` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from relay.config.sections import Software

if TYPE_CHECKING:
    from collections.abc import Mapping


class Place(StrEnum):
    """Where media turn up; the value is what an admin calls it."""

    ATTACHMENTS = "pictures attached to posts"
    PREVIEWS = "previews of video and audio"
    INLINE = "pictures inside the text of posts"
    EMOJI = "custom emoji"
    AVATARS = "avatars and headers"
    LINK_CARDS = "pictures of link cards"
    REFERENCED = "pictures of posts that your server fetches by itself (replies, quotes, pinned posts)"
    UPLOADS = "what your own people upload"
    STORED = "what is stored already"


class Way(StrEnum):
    """How media come from their origin to those who look at them."""

    FETCHED = "fetched"
    """The server fetches and keeps a copy, or fetches whenever somebody looks."""
    PICTRS = "pict-rs"
    """pict-rs fetches and keeps a copy."""
    HOTLINKED = "hotlinked"
    """The browsers of those who look load them from their origin."""
    ABSENT = "absent"
    """They are not shown."""
    UPLOADED = "uploaded"
    """They come from the people of the server."""
    KEPT = "kept"
    """They are there already."""
    UNKNOWN = "unknown"
    """Nobody found out yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """How media in one place of one server reach people.

    Attributes:
        way: The way.
        only_if: What has to be so on that server; otherwise browsers load them from their origin.
        note: What else an admin should know.
    """

    way: Way
    only_if: str = ""
    note: str = ""


_FETCHED: Final = Fact(way=Way.FETCHED)
_HOTLINKED: Final = Fact(way=Way.HOTLINKED)
_ABSENT: Final = Fact(way=Way.ABSENT)
_UNKNOWN: Final = Fact(way=Way.UNKNOWN)

_UNEXPLORED: Final[Mapping[Place, Fact]] = MappingProxyType(
    {
        **dict.fromkeys(Place, _UNKNOWN),
        Place.UPLOADS: Fact(way=Way.UPLOADED),
        Place.STORED: Fact(way=Way.KEPT),
    }
)

_PROXY_SETTING: Final = "its `proxy` setting has to name the gateway"
# With "cache remote files" off they are fetched whenever somebody looks.
_THROUGH_MISSKEY: Final = Fact(
    way=Way.FETCHED, only_if="it keeps remote files, or its `proxyRemoteFiles` is on", note=_PROXY_SETTING
)
_MISSKEY: Final[Mapping[Place, Fact]] = MappingProxyType(
    {
        **_UNEXPLORED,
        Place.ATTACHMENTS: _THROUGH_MISSKEY,
        Place.PREVIEWS: _THROUGH_MISSKEY,
        Place.INLINE: _HOTLINKED,
        Place.EMOJI: _THROUGH_MISSKEY,
        Place.AVATARS: _THROUGH_MISSKEY,
        Place.LINK_CARDS: _THROUGH_MISSKEY,
        Place.REFERENCED: _THROUGH_MISSKEY,
    }
)

_PROXIED_BY_PICTRS: Final = Fact(way=Way.PICTRS, only_if="the image mode of Lemmy is ProxyAllImages")
_BY_MEDIA_PROXY: Final = Fact(way=Way.FETCHED, only_if="its MediaProxy is on")
_PLEROMA: Final[Mapping[Place, Fact]] = MappingProxyType(
    {
        **_UNEXPLORED,
        Place.ATTACHMENTS: _BY_MEDIA_PROXY,
        Place.PREVIEWS: _BY_MEDIA_PROXY,
        Place.INLINE: _HOTLINKED,
        Place.EMOJI: _BY_MEDIA_PROXY,
        Place.AVATARS: _BY_MEDIA_PROXY,
        Place.LINK_CARDS: _BY_MEDIA_PROXY,
        Place.REFERENCED: _BY_MEDIA_PROXY,
    }
)
_BY_PROXY_MEDIA: Final = Fact(way=Way.FETCHED, only_if="its `proxy_media` is on")

FACTS: Final[Mapping[Software, Mapping[Place, Fact]]] = MappingProxyType(
    {
        **dict.fromkeys(Software, _UNEXPLORED),
        Software.MASTODON: MappingProxyType(
            {
                **_UNEXPLORED,
                Place.ATTACHMENTS: _FETCHED,
                Place.PREVIEWS: _FETCHED,
                Place.INLINE: _ABSENT,
                Place.EMOJI: _FETCHED,
                Place.AVATARS: _FETCHED,
                Place.LINK_CARDS: _FETCHED,
                Place.REFERENCED: _FETCHED,
            }
        ),
        Software.GOTOSOCIAL: MappingProxyType(
            {
                **_UNEXPLORED,
                Place.ATTACHMENTS: Fact(
                    way=Way.FETCHED, note="of a file that did not arrive it shows a link to its origin"
                ),
                Place.PREVIEWS: _FETCHED,
                Place.EMOJI: _FETCHED,
                Place.AVATARS: _FETCHED,
                Place.REFERENCED: _FETCHED,
            }
        ),
        Software.LEMMY: MappingProxyType(
            {
                **_UNEXPLORED,
                Place.ATTACHMENTS: _PROXIED_BY_PICTRS,
                Place.PREVIEWS: Fact(
                    way=Way.PICTRS, only_if="the image mode of Lemmy is not None, which keeps no thumbnails"
                ),
                Place.INLINE: _PROXIED_BY_PICTRS,
                Place.EMOJI: Fact(way=Way.ABSENT, note="it shows its own emoji only"),
                Place.AVATARS: _PROXIED_BY_PICTRS,
                Place.LINK_CARDS: Fact(
                    way=Way.PICTRS, only_if="the image mode of Lemmy is not None, which keeps no thumbnails"
                ),
                Place.REFERENCED: _PROXIED_BY_PICTRS,
                Place.UPLOADS: Fact(way=Way.PICTRS),
            }
        ),
        Software.PIEFED: MappingProxyType(
            {
                **_UNEXPLORED,
                Place.ATTACHMENTS: Fact(
                    way=Way.HOTLINKED,
                    note="the copies that it keeps are thumbnails",
                ),
                Place.PREVIEWS: _FETCHED,
                Place.INLINE: _HOTLINKED,
                Place.AVATARS: _FETCHED,
                Place.LINK_CARDS: _FETCHED,
                Place.REFERENCED: _HOTLINKED,
            }
        ),
        Software.MISSKEY: _MISSKEY,
        Software.SHARKEY: _MISSKEY,
        Software.PLEROMA: _PLEROMA,
        Software.AKKOMA: _PLEROMA,
        Software.PIXELFED: MappingProxyType(
            {**_UNEXPLORED, Place.ATTACHMENTS: _HOTLINKED, Place.REFERENCED: _HOTLINKED}
        ),
        Software.PEERTUBE: MappingProxyType(
            {
                **_UNEXPLORED,
                Place.ATTACHMENTS: Fact(way=Way.HOTLINKED, note="videos stream from their origin"),
                Place.PREVIEWS: _FETCHED,
                Place.AVATARS: _FETCHED,
            }
        ),
        Software.TAKAHE: MappingProxyType(
            {
                **_UNEXPLORED,
                Place.ATTACHMENTS: _FETCHED,
                Place.EMOJI: _FETCHED,
                Place.AVATARS: _FETCHED,
                Place.REFERENCED: _FETCHED,
            }
        ),
        Software.SNAC: MappingProxyType(
            {
                **_UNEXPLORED,
                Place.ATTACHMENTS: _BY_PROXY_MEDIA,
                Place.AVATARS: _BY_PROXY_MEDIA,
                Place.REFERENCED: _BY_PROXY_MEDIA,
            }
        ),
    }
)
"""By server and place."""
