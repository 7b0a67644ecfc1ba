"""A delivery whose signature is too old reaches the backend another way, or is visibly given up."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import deliveries, media
from relay.backends.abilities import ApiFailure, ObjectKind, Refusal, Resolved
from relay.backends.intake import INTAKES, LINKED_DATA_SIGNATURE
from relay.config.sections import Software
from relay.model import Dispatched, Receipt
from relay.stages.extract import extract
from relay.stages.release import ReleaseTools, release
from relay.tools.ways import Letter, Way, decide_ways
from signatures.http import Scheme, find_signature, sign_request, verify_request
from signatures.message import header_values
from tests.fediverse.actors import rsa_key
from tests.fediverse.clock import START
from tests.relay.letters import build_signed, build_stored
from tests.relay.stages.parts import NOTE, delivery, document

if TYPE_CHECKING:
    from datetime import datetime

    from db.delivery_rows import StoredDelivery
    from db.pool import Database
    from signatures.message import RequestMessage

WINDOW = timedelta(minutes=50)
LATE = START + 3 * WINDOW
RELAY_KEY = rsa_key(1)
RELAY_KEY_ID = "https://relay.example/actor#main-key"
FOUND = Resolved(kind=ObjectKind.POST, local_id="7")
BY_HAND = {"type": LINKED_DATA_SIGNATURE, "signatureValue": "AA=="}

SIGNED_DELETE = {**document("Delete"), "signature": BY_HAND}

TAKEN = Dispatched(receipt=Receipt.TAKEN, reason="backend_answered_202")
STALE = Dispatched(receipt=Receipt.STALE, reason="backend_answered_401")
REFUSED = Dispatched(receipt=Receipt.REFUSED, reason="backend_answered_403")
DOWN = Dispatched(receipt=Receipt.TRY_AGAIN, reason="backend_refused")


@dataclass
class Backend:
    """Answers as scripted and remembers what it was handed."""

    answers: list[Dispatched]
    requests: list[RequestMessage] = field(default_factory=list)

    async def forward(self, message: RequestMessage) -> Dispatched:
        self.requests.append(message)
        return self.answers.pop(0)


@dataclass
class Api:
    """Answers every question alike and remembers them."""

    answer: Resolved | ApiFailure
    asked: list[str] = field(default_factory=list)

    async def resolve(self, url: str) -> Resolved | ApiFailure:
        self.asked.append(url)
        return self.answer


def _failure(kind: Refusal) -> Api:
    return Api(ApiFailure(kind=kind, detail="it was so"))


def _sign(message: RequestMessage, scheme: Scheme) -> RequestMessage:
    return sign_request(message, key=RELAY_KEY, key_id=RELAY_KEY_ID, scheme=scheme, now=LATE)


def _letter(activity: object = None) -> StoredDelivery:
    return build_stored(build_signed(json.dumps(activity or document()).encode()))


async def _release(
    database: Database,
    stored: StoredDelivery,
    backend: Backend,
    *,
    software: Software = Software.MASTODON,
    api: Api | None = None,
    now: datetime = LATE,
    enforces_media: bool = False,
) -> Dispatched:
    return await release(
        stored,
        replace(
            delivery().message,
            headers=stored.headers,
            body=stored.body,
            target=stored.target,
        ),
        extract=extract,
        forward=backend.forward,
        tools=ReleaseTools(
            signer=_sign,
            resolver=api,
            intake=INTAKES[software],
            window=WINDOW,
            enforces_media=enforces_media,
        ),
        database=database,
        now=now,
    )


async def test_a_fresh_delivery_goes_as_it_came_and_no_other_way(database: Database) -> None:
    backend, api, stored = Backend([TAKEN]), Api(FOUND), _letter()

    assert await _release(database, stored, backend, api=api, now=START + WINDOW / 2) == TAKEN

    assert [request.headers for request in backend.requests] == [stored.headers]
    assert not api.asked


@pytest.mark.parametrize("answer", [REFUSED, DOWN])
async def test_a_refusal_of_a_fresh_delivery_is_final_and_an_absence_is_not(
    answer: Dispatched, database: Database
) -> None:
    backend, api = Backend([answer]), Api(FOUND)

    assert await _release(database, _letter(), backend, api=api, now=START + WINDOW / 2) == answer
    assert not api.asked


async def test_an_old_one_that_its_author_signed_is_signed_anew_around_the_same_bytes(
    database: Database,
) -> None:
    backend, stored = Backend([TAKEN]), _letter({**document(), "signature": BY_HAND})

    dispatched = await _release(database, stored, backend)

    assert dispatched == Dispatched(receipt=Receipt.TAKEN, reason="relay_signed")
    (request,) = backend.requests
    assert request.body == stored.body
    assert (request.method, request.target) == (stored.method, stored.target)
    signature = find_signature(request)
    assert signature is not None
    assert signature.key_id == RELAY_KEY_ID
    verified = verify_request(request, signature, key=RELAY_KEY.public, now=LATE)
    assert {"(request-target)", "host", "date", "digest"} <= set(verified.covered)
    # Nothing of the first signature is left over to be taken for a second one.
    assert (
        len(header_values(request.headers, "date")) == len(header_values(request.headers, "signature")) == 1
    )


async def test_what_its_author_did_not_sign_is_fetched_by_the_backend(database: Database) -> None:
    backend, api = Backend([]), Api(FOUND)

    dispatched = await _release(database, _letter(), backend, api=api)

    assert dispatched == Dispatched(receipt=Receipt.TAKEN, reason="resolved")
    assert api.asked == [NOTE]


async def test_a_backend_that_will_not_have_the_relays_signature_is_asked_by_its_api(
    database: Database,
) -> None:
    backend, api = Backend([REFUSED]), Api(FOUND)

    dispatched = await _release(database, _letter({**document(), "signature": BY_HAND}), backend, api=api)

    assert dispatched.reason == "resolved"


async def test_a_signature_that_is_refused_within_the_window_leads_to_the_other_ways(
    database: Database,
) -> None:
    backend, api = Backend([STALE]), Api(FOUND)

    dispatched = await _release(database, _letter(), backend, api=api, now=START + WINDOW / 2)

    assert dispatched.reason == "resolved"
    assert len(backend.requests) == 1


@pytest.mark.parametrize(
    ("software", "activity", "reason"),
    [
        (Software.LEMMY, document(), "too_old"),
        (Software.MASTODON, document("Delete"), "too_old"),
        (
            Software.MASTODON,
            {**document("Delete"), "signature": BY_HAND},
            "relay_signed_backend_answered_403",
        ),
    ],
)
async def test_what_finds_no_way_says_why(
    software: Software, activity: object, reason: str, database: Database
) -> None:
    dispatched = await _release(database, _letter(activity), Backend([REFUSED]), software=software)

    assert dispatched == Dispatched(receipt=Receipt.STALE, reason=reason)


@pytest.mark.parametrize("answer", [STALE, REFUSED])
async def test_within_the_margin_every_refusal_means_that_it_is_too_old(
    answer: Dispatched, database: Database
) -> None:
    backend = Backend([answer])

    dispatched = await _release(
        database, _letter(), backend, software=Software.LEMMY, now=START + WINDOW * 1.5
    )

    assert dispatched == Dispatched(receipt=Receipt.STALE, reason="too_old")
    assert len(backend.requests) == 1


async def test_within_the_margin_a_backend_that_still_takes_it_gets_it_byte_for_byte(
    database: Database,
) -> None:
    backend, stored = Backend([TAKEN]), _letter()

    assert (
        await _release(database, stored, backend, software=Software.LEMMY, now=START + WINDOW * 1.5) == TAKEN
    )
    assert backend.requests[0].headers == stored.headers


@pytest.mark.parametrize("kind", list(Refusal))
async def test_what_may_pass_is_asked_again_and_the_rest_is_given_up(
    kind: Refusal, database: Database
) -> None:
    api = _failure(kind)

    dispatched = await _release(database, _letter(), Backend([]), api=api)

    passes = kind in {Refusal.RATE_LIMITED, Refusal.UNAVAILABLE, Refusal.NOT_FOUND}
    assert dispatched.receipt is (Receipt.TRY_AGAIN if passes else Receipt.STALE)
    assert dispatched.reason == f"resolve_{kind.value}"


async def test_an_origin_that_has_not_got_it_is_not_asked_for_days(database: Database) -> None:
    stored = replace(_letter(), retries=4)

    dispatched = await _release(database, stored, Backend([]), api=_failure(Refusal.NOT_FOUND))

    assert dispatched.receipt is Receipt.STALE


async def test_a_backend_that_is_away_is_not_gone_round(database: Database) -> None:
    backend, api = Backend([DOWN]), Api(FOUND)

    dispatched = await _release(database, _letter({**document(), "signature": BY_HAND}), backend, api=api)

    assert dispatched == DOWN
    assert not api.asked


@pytest.mark.parametrize(("decision", "asked"), [("release", [NOTE]), ("withhold", [])])
async def test_the_backend_fetches_only_what_was_released_as_a_whole(
    decision: str, asked: list[str], database: Database
) -> None:
    """The origin serves the media of what the backend fetches; nobody released them."""
    async with database.transaction() as conn:
        given = _letter()
        delivery_id = await deliveries.insert_delivery(conn, given)
        assert delivery_id is not None
        row = media.DeliveryMedia(
            delivery_id=delivery_id,
            ordinal=0,
            url="https://files.example/p.png",
            location="attachment",
            sha256=None,
            verdict=None,
            decision=decision,
            category=None,
            failure=None,
        )
        await media.put_delivery_media(conn, delivery_id, [row])
    api = Api(FOUND)

    await _release(database, replace(given, id=delivery_id), Backend([]), api=api)
    assert api.asked == asked

    behind_a_door = Api(FOUND)
    await _release(
        database, replace(given, id=delivery_id), Backend([]), api=behind_a_door, enforces_media=True
    )
    assert behind_a_door.asked == [NOTE]


async def test_a_request_that_cannot_be_signed_anew_is_too_old(database: Database) -> None:
    """Of two lines of one header nobody could say which is signed."""
    stored = _letter({**document(), "signature": BY_HAND})
    doubled = replace(stored, headers=(*stored.headers, ("Content-Type", "text/html")))
    backend = Backend([])

    dispatched = await _release(database, doubled, backend)

    assert dispatched == Dispatched(receipt=Receipt.STALE, reason="too_old")
    assert not backend.requests


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"id": "https://a.example/1"}'])
async def test_what_cannot_be_read_any_more_goes_as_it_came_or_not_at_all(
    body: bytes, database: Database
) -> None:
    stored = build_stored(build_signed(body))

    assert await _release(database, stored, Backend([TAKEN]), now=START + WINDOW / 2) == TAKEN
    assert (await _release(database, stored, Backend([]), api=Api(FOUND))).reason == "too_old"


@given(
    letter=st.builds(
        Letter,
        fresh_until=st.just(START + WINDOW),
        ends=st.just(START + 2 * WINDOW),
        type=st.sampled_from(["Create", "Update", "Delete", "Announce", ""]),
        inner_signature=st.sampled_from(["", LINKED_DATA_SIGNATURE, "Ed25519Signature2020"]),
        target=st.sampled_from(["", NOTE]),
        target_is_new=st.booleans(),
    ),
    software=st.sampled_from(list(Software)),
    minutes=st.integers(0, 300),
)
def test_nothing_is_fetched_without_a_target_and_a_token_only_ever_opens_a_way(
    letter: Letter, software: Software, minutes: int
) -> None:
    now, intake = START + timedelta(minutes=minutes), INTAKES[software]

    without, with_token = (
        decide_ways(letter, intake=intake, can_resolve=can, now=now) for can in (False, True)
    )

    assert set(with_token) - set(without) <= {Way.RESOLVE}
    assert set(without) <= set(with_token)
    if not letter.target:
        assert Way.RESOLVE not in with_token
        assert Way.SIGN_ANEW not in with_token or letter.inner_signature in intake.inner_signatures
