"""State what is examined and what is not, place by place, for one server behind the doors that are open.

A statement promises no more than the doors hold: what the inbox door examined is not bound to the bytes that
a server or a browser fetches later, and what is not known counts as not covered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from relay.backends.places import FACTS, Place, Way
from relay.config.sections import Software

if TYPE_CHECKING:
    from relay.backends.places import Fact

# What a delivered post names, the inbox door fetches and examines. What it does not name, it does not see.
_NAMED_IN_POSTS: Final = frozenset({Place.ATTACHMENTS, Place.PREVIEWS, Place.INLINE, Place.EMOJI})


class GatewayMode(StrEnum):
    """What the gateway can see."""

    CLOSED = "closed"
    TUNNEL = "tunnel"
    OPEN = "open"


class Cover(StrEnum):
    """How much of a place is covered."""

    COVERED = "covered"
    PARTLY = "partly"
    NOT_COVERED = "not_covered"
    NOTHING_THERE = "nothing_there"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDoors:
    """The doors of an installation.

    Attributes:
        gateway: Whether what the server fetches goes through us, and whether we see it.
        validator: Whether pict-rs asks before it stores a file.
        hash_endpoint: Whether PieFed asks for the hashes of pictures.
        uploads: Whether Mastodon tells of uploads.
        sweep: Whether a sweep knows where stored files are.
    """

    gateway: GatewayMode = GatewayMode.CLOSED
    validator: bool = False
    hash_endpoint: bool = False
    uploads: bool = False
    sweep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How it is with one place.

    Attributes:
        place: The place.
        cover: How much is covered.
        text: By which door, or why not; half a sentence.
    """

    place: Place
    cover: Cover
    text: str

    @property
    def line(self) -> str:
        """The whole statement."""
        return f"{self.place.value}: {self.text}"


def state_coverage(software: Software, doors: OpenDoors) -> tuple[Coverage, ...]:
    """State for every place how it is covered."""
    return tuple(_state(place, FACTS[software][place], software, doors) for place in Place)


def _state(place: Place, fact: Fact, software: Software, doors: OpenDoors) -> Coverage:
    cover, text = _judge(place, fact, software, doors)
    return Coverage(place=place, cover=cover, text=f"{text}; {fact.note}" if fact.note else text)


def _judge(place: Place, fact: Fact, software: Software, doors: OpenDoors) -> tuple[Cover, str]:
    match fact.way:
        case Way.FETCHED:
            return _state_copies(place, fact, "gateway", _why_unseen(doors.gateway))
        case Way.PICTRS:
            why = "" if doors.validator else "pict-rs takes them in and the validator door is closed"
            return _state_copies(place, fact, "validator", why)
        case Way.ABSENT:
            return Cover.NOTHING_THERE, "your server shows none from elsewhere"
        case Way.UPLOADED:
            return _state_uploads(software, doors)
        case Way.KEPT:
            return _state_kept(doors)
        case Way.HOTLINKED | Way.UNKNOWN:
            return _state_unseen(place, fact.way)


def _state_copies(place: Place, fact: Fact, door: str, why_not: str) -> tuple[Cover, str]:
    """State how it is with what a door could hold back; `why_not` is empty where it does."""
    if not why_not and not fact.only_if:
        return Cover.COVERED, f"covered by {door}"
    if not why_not:
        text = f"covered by {door} only if {fact.only_if}; otherwise browsers load them from their origin"
        return Cover.PARTLY, text
    if place in _NAMED_IN_POSTS:
        text = f"examined when a post that names them is delivered; later copies are NOT, because {why_not}"
        return Cover.PARTLY, text
    return Cover.NOT_COVERED, f"NOT covered{_exception(place)}, because {why_not}"


def _why_unseen(gateway: GatewayMode) -> str:
    match gateway:
        case GatewayMode.OPEN:
            return ""
        case GatewayMode.TUNNEL:
            return "your server fetches them by itself and the gateway is a tunnel, which sees no files"
        case GatewayMode.CLOSED:
            return "your server fetches them by itself and the gateway is closed"


def _state_unseen(place: Place, way: Way) -> tuple[Cover, str]:
    """State how it is with what passes every door but the inbox door, or may do so."""
    is_known = way is Way.HOTLINKED
    why = "browsers load them from their origin" if is_known else "it is not known how your server gets them"
    if place in _NAMED_IN_POSTS:
        text = (
            f"examined when a post that names them is delivered; NOT when people look at them, because {why}"
        )
        return Cover.PARTLY, text
    return Cover.NOT_COVERED, f"NOT covered{_exception(place)}, because {why}"


def _exception(place: Place) -> str:
    """Except what comes by the inbox door now and then: a changed profile is delivered, most are fetched."""
    return " but for those that a delivery names" if place is Place.AVATARS else ""


def _state_uploads(software: Software, doors: OpenDoors) -> tuple[Cover, str]:
    if software is Software.MASTODON:
        if doors.uploads:
            return Cover.PARTLY, "examined once they are published, by uploads; until then they are NOT"
        return Cover.NOT_COVERED, "NOT covered, because the uploads door is closed"
    if software is Software.PIEFED and doors.hash_endpoint:
        text = "NOT examined; PieFed compares their hashes with its own list, by the hash endpoint"
        return Cover.NOT_COVERED, text
    return Cover.NOT_COVERED, "NOT covered, because there is no door for the uploads of your server"


def _state_kept(doors: OpenDoors) -> tuple[Cover, str]:
    if doors.sweep:
        return Cover.PARTLY, "examined whenever you run `breakwater sweep`"
    why = "no storage is configured; see the sections storage and backend.pictrs_url"
    return Cover.NOT_COVERED, f"NOT covered, because {why}"
