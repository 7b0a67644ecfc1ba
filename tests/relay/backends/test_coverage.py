"""The coverage statement: every place of every server, and never more than the doors hold."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from relay.backends.coverage import Cover, Coverage, GatewayMode, OpenDoors, state_coverage
from relay.backends.places import FACTS, Place, Way
from relay.config.sections import Software

EVERY_DOOR = OpenDoors(gateway=GatewayMode.OPEN, validator=True, hash_endpoint=True, uploads=True, sweep=True)
ALL_DOORS = [
    OpenDoors(gateway=gateway, validator=validator, hash_endpoint=hashes, uploads=uploads, sweep=sweep)
    for gateway, validator, hashes, uploads, sweep in itertools.product(GatewayMode, *([False, True],) * 4)
]
STRENGTH = [Cover.NOTHING_THERE, Cover.NOT_COVERED, Cover.PARTLY, Cover.COVERED]


def _find(software: Software, place: Place, doors: OpenDoors) -> Coverage:
    return next(one for one in state_coverage(software, doors) if one.place is place)


@pytest.mark.parametrize("software", Software)
def test_every_place_of_every_server_has_one_statement_that_says_why(software: Software) -> None:
    for doors in ALL_DOORS:
        stated = state_coverage(software, doors)
        assert [one.place for one in stated] == list(Place)
        for one in stated:
            assert one.line == f"{one.place.value}: {one.text}"
            if one.cover is Cover.NOT_COVERED:
                assert (
                    "NOT covered" in one.text and ", because " in one.text
                ) or "NOT examined; " in one.text
            if one.cover is Cover.COVERED:
                assert "NOT" not in one.text


@pytest.mark.parametrize("software", Software)
def test_every_place_of_every_server_has_a_fact(software: Software) -> None:
    assert FACTS[software].keys() == set(Place)
    assert FACTS[software][Place.STORED].way is Way.KEPT
    assert FACTS[software][Place.UPLOADS].way in {Way.UPLOADED, Way.PICTRS}


@pytest.mark.parametrize("software", Software)
def test_opening_a_door_covers_no_less(software: Software) -> None:
    for doors in ALL_DOORS:
        wider = [
            replace(doors, **{name: True}) for name in ("validator", "hash_endpoint", "uploads", "sweep")
        ]
        for more in (*wider, replace(doors, gateway=GatewayMode.OPEN)):
            pairs = zip(state_coverage(software, doors), state_coverage(software, more), strict=True)
            for before, after in pairs:
                assert STRENGTH.index(after.cover) >= STRENGTH.index(before.cover)
                is_absent = before.cover is Cover.NOTHING_THERE
                assert is_absent == (after.cover is Cover.NOTHING_THERE)


@pytest.mark.parametrize("software", Software)
def test_without_a_door_for_files_nothing_is_wholly_covered(software: Software) -> None:
    assert Cover.COVERED not in {one.cover for one in state_coverage(software, OpenDoors())}


@pytest.mark.parametrize("software", Software)
def test_a_tunnel_covers_no_more_than_a_closed_gateway(software: Software) -> None:
    closed = state_coverage(software, OpenDoors(gateway=GatewayMode.CLOSED))
    tunnel = state_coverage(software, OpenDoors(gateway=GatewayMode.TUNNEL))
    assert [one.cover for one in tunnel] == [one.cover for one in closed]


@pytest.mark.parametrize("software", Software)
@pytest.mark.parametrize("place", Place)
def test_what_browsers_load_and_what_is_not_known_is_never_covered(software: Software, place: Place) -> None:
    if FACTS[software][place].way in {Way.HOTLINKED, Way.UNKNOWN}:
        one = _find(software, place, EVERY_DOOR)
        assert one.cover in {Cover.PARTLY, Cover.NOT_COVERED}
        assert "NOT" in one.text


@pytest.mark.parametrize("software", Software)
@pytest.mark.parametrize("place", Place)
def test_a_condition_on_the_servers_settings_is_stated(software: Software, place: Place) -> None:
    condition = FACTS[software][place].only_if
    if condition:
        one = _find(software, place, EVERY_DOOR)
        assert one.cover is Cover.PARTLY
        assert condition in one.text


def test_of_a_server_that_is_not_known_nothing_is_promised() -> None:
    for one in state_coverage(Software.OTHER, EVERY_DOOR):
        assert one.cover in {Cover.PARTLY, Cover.NOT_COVERED}


@pytest.mark.parametrize(
    ("software", "place", "doors", "cover", "words"),
    [
        (Software.MASTODON, Place.AVATARS, EVERY_DOOR, Cover.COVERED, "covered by gateway"),
        (Software.MASTODON, Place.LINK_CARDS, EVERY_DOOR, Cover.COVERED, "covered by gateway"),
        (
            Software.MASTODON,
            Place.AVATARS,
            OpenDoors(),
            Cover.NOT_COVERED,
            "but for those that a delivery names",
        ),
        (Software.MASTODON, Place.LINK_CARDS, OpenDoors(), Cover.NOT_COVERED, "the gateway is closed"),
        (
            Software.MASTODON,
            Place.LINK_CARDS,
            OpenDoors(gateway=GatewayMode.TUNNEL),
            Cover.NOT_COVERED,
            "a tunnel",
        ),
        (Software.MASTODON, Place.ATTACHMENTS, OpenDoors(), Cover.PARTLY, "later copies are NOT"),
        (Software.MASTODON, Place.INLINE, OpenDoors(), Cover.NOTHING_THERE, "shows none"),
        (Software.MASTODON, Place.UPLOADS, EVERY_DOOR, Cover.PARTLY, "once they are published"),
        (Software.LEMMY, Place.UPLOADS, EVERY_DOOR, Cover.COVERED, "covered by validator"),
        (Software.LEMMY, Place.UPLOADS, OpenDoors(), Cover.NOT_COVERED, "validator door is closed"),
        (Software.LEMMY, Place.INLINE, EVERY_DOOR, Cover.PARTLY, "ProxyAllImages"),
        (Software.PIEFED, Place.INLINE, EVERY_DOOR, Cover.PARTLY, "NOT when people look at them"),
        (Software.PIEFED, Place.REFERENCED, EVERY_DOOR, Cover.NOT_COVERED, "browsers load them"),
        (Software.PIEFED, Place.UPLOADS, EVERY_DOOR, Cover.NOT_COVERED, "its own list"),
        (Software.GOTOSOCIAL, Place.ATTACHMENTS, EVERY_DOOR, Cover.COVERED, "shows a link to its origin"),
        (Software.MISSKEY, Place.AVATARS, EVERY_DOOR, Cover.PARTLY, "`proxy` setting"),
        (Software.PIXELFED, Place.ATTACHMENTS, EVERY_DOOR, Cover.PARTLY, "browsers load them"),
    ],
)
def test_the_statement_of_a_place_says_why(
    software: Software, place: Place, doors: OpenDoors, cover: Cover, words: str
) -> None:
    one = _find(software, place, doors)
    assert one.cover is cover
    assert words in one.text
