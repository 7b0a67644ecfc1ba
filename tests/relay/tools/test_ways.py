"""Which ways are open to a delivery that the backend would not take as it came in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.backends.intake import INTAKES, LINKED_DATA_SIGNATURE, Intake
from relay.config.sections import Software
from relay.stages.extract import extract
from relay.tools.ways import Letter, Way, decide_ways, read_letter
from signatures.http import Scheme
from tests.fediverse.clock import START
from tests.relay.letters import MINUTE, build_signed, build_stored
from tests.relay.stages.parts import ALICE, NOTE, PUBLIC, document

WINDOW = timedelta(minutes=50)
SIGNED = {"type": LINKED_DATA_SIGNATURE, "creator": f"{ALICE}#main-key", "signatureValue": "AA=="}
MASTODON, LEMMY = INTAKES[Software.MASTODON], INTAKES[Software.LEMMY]


def _read(
    activity: object,
    *,
    sender: str | None = ALICE,
    fetches_own: bool = True,
    fetches_any: bool = False,
    scheme: Scheme = Scheme.CAVAGE,
) -> Letter:
    message = build_signed(json.dumps(activity).encode(), scheme=scheme)
    return read_letter(
        build_stored(message, sender=sender),
        message,
        window=WINDOW,
        extract=extract,
        fetches_own=fetches_own,
        fetches_any=fetches_any,
    )


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_delivery_ages_from_its_signing_not_from_its_arrival(scheme: Scheme) -> None:
    letter = _read(document(), scheme=scheme)

    assert (letter.fresh_until, letter.ends) == (START + WINDOW, START + 2 * WINDOW)


def test_without_a_signature_that_can_be_read_it_ages_from_its_arrival() -> None:
    message = replace(build_signed(b"{}"), headers=())

    letter = read_letter(
        build_stored(message), message, window=WINDOW, extract=extract, fetches_own=True, fetches_any=True
    )

    assert letter == Letter(fresh_until=START + 10 * MINUTE + WINDOW, ends=START + 10 * MINUTE + 2 * WINDOW)


def test_a_post_may_be_fetched_from_the_origin_of_its_sender() -> None:
    letter = _read({**document(), "signature": SIGNED})

    assert (letter.type, letter.target, letter.target_is_new) == ("Create", NOTE, True)
    assert letter.inner_signature == LINKED_DATA_SIGNATURE


def test_an_update_may_be_fetched_but_brings_nothing_new() -> None:
    letter = _read(document("Update"))

    assert (letter.target, letter.target_is_new) == (NOTE, False)


@pytest.mark.parametrize("sender", ["https://evil.example/users/mallory", None])
def test_somebody_elses_post_is_fetched_only_behind_a_media_door(sender: str | None) -> None:
    """What it would fetch is not what was examined here."""
    assert not _read(document(), sender=sender).target
    assert _read(document(), sender=sender, fetches_any=True).target == NOTE


def test_what_was_not_released_as_a_whole_is_not_fetched() -> None:
    assert not _read(document(), fetches_own=False).target


def test_an_announced_post_is_fetched_as_the_post_that_it_is() -> None:
    group = "https://alpha.example/c/pictures"
    wrapped = {
        "id": f"{group}/announce/1",
        "type": "Announce",
        "actor": group,
        "to": [PUBLIC],
        "object": document(),
    }

    assert _read(wrapped, sender=group).target == NOTE
    assert _read(wrapped, sender=group).type == "Announce"


@pytest.mark.parametrize("kind", ["Delete", "Undo", "Like", "Announce", "Follow"])
def test_what_is_no_post_cannot_be_fetched(kind: str) -> None:
    given = {**document(), "type": kind, "object": NOTE}

    assert not _read(given, fetches_any=True).target


def test_what_is_not_public_cannot_be_fetched() -> None:
    given = document()
    followers = [f"{ALICE}/followers"]
    note = given["object"]
    assert isinstance(note, dict)

    restricted = {**given, "to": followers, "object": {**note, "to": followers}}

    assert not _read(restricted, fetches_any=True).target


def _ways(letter: Letter, *, intake: Intake, can_resolve: bool = True, after: timedelta) -> tuple[Way, ...]:
    return decide_ways(letter, intake=intake, can_resolve=can_resolve, now=START + after)


LATE = 2 * WINDOW


def test_a_signed_post_goes_by_its_own_signature_first_and_then_by_its_origin() -> None:
    letter = _read({**document(), "signature": SIGNED})

    assert _ways(letter, intake=MASTODON, after=LATE) == (Way.SIGN_ANEW, Way.RESOLVE)
    assert _ways(letter, intake=MASTODON, can_resolve=False, after=LATE) == (Way.SIGN_ANEW,)
    assert _ways(letter, intake=LEMMY, after=LATE) == (Way.RESOLVE,)
    assert _ways(letter, intake=LEMMY, can_resolve=False, after=LATE) == ()


def test_an_update_goes_by_its_origin_only_where_that_makes_a_difference() -> None:
    letter = _read(document("Update"))

    assert _ways(letter, intake=MASTODON, after=LATE) == (Way.RESOLVE,)
    assert _ways(letter, intake=LEMMY, after=LATE) == ()


def test_within_the_margin_the_backend_is_asked_whether_it_still_takes_it() -> None:
    letter = _read(document("Delete"))

    assert _ways(letter, intake=LEMMY, after=WINDOW) == (Way.LAST_REPLAY,)
    assert _ways(letter, intake=LEMMY, after=2 * WINDOW - MINUTE) == (Way.LAST_REPLAY,)
    assert _ways(letter, intake=LEMMY, after=2 * WINDOW) == ()
    # It was just handed over as it came in, and refused.
    assert _ways(letter, intake=LEMMY, after=WINDOW - MINUTE) == ()


def test_a_signed_delete_goes_by_its_own_signature() -> None:
    letter = _read({**document("Delete"), "signature": SIGNED})

    assert _ways(letter, intake=MASTODON, after=LATE) == (Way.SIGN_ANEW,)


@pytest.mark.parametrize("software", [Software.PIEFED, Software.PLEROMA])
def test_a_server_that_asks_the_origin_itself_needs_no_signature_inside(software: Software) -> None:
    letter = _read(document())

    ways = _ways(letter, intake=INTAKES[software], can_resolve=False, after=LATE)

    assert ways == (Way.SIGN_ANEW,)
    # That is a fetch of its own, with what that takes.
    unreleased = _read(document(), fetches_own=False)
    assert _ways(unreleased, intake=INTAKES[software], can_resolve=False, after=LATE) == ()


def test_every_server_is_in_the_table() -> None:
    assert set(INTAKES) == set(Software)
