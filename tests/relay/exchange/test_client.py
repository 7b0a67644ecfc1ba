"""An answer counts if the peer signed it just now and it is what was asked for; all else is a failure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db.peers import Peer, Tier
from relay.exchange.client import FeedPage, PeerClient, PeerFailure, PeerFailureReason
from relay.exchange.prefixes import cut_prefix
from relay.exchange.signing import create_peer_signer
from relay.metrics import Metrics
from relay.model import FetchFailure
from relay.tools.hops import Answer
from relay.tools.transfers import Body
from relay.tools.urls import parse_url
from signatures.http import FASP_FRESHNESS, Profile, find_signature, verify_request
from signatures.message import Headers, RequestMessage, ResponseMessage
from tests.fediverse import FrozenClock
from tests.fediverse.clock import START
from tests.relay.exchange.neighbours import build_identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.tools.identity import Identity

US = build_identity("https://us.example/breakwater", 1)
THEM = build_identity("https://them.example/breakwater", 2)
OTHERS = build_identity("https://them.example/breakwater", 3)
KEY = THEM.api_key.public.to_multikey() if THEM.api_key is not None else ""
PEER = Peer(
    actor=THEM.actor,
    domain="them.example",
    tier=Tier.TRUSTED,
    added_at=START,
    updated_at=START,
    key_id=f"{THEM.actor}#{KEY}",
    multikey=KEY,
    api_url=THEM.api_url,
)
OBJECT = '{"b": 1,  "a": [2]}'


@dataclass(slots=True, kw_only=True)
class Wire:
    """Answers what it is told to, and keeps what it was asked."""

    clock: FrozenClock = field(default_factory=FrozenClock)
    status: int = 200
    body: bytes = b"{}"
    failure: FetchFailure | None = None
    change: Callable[[ResponseMessage], ResponseMessage] = lambda answer: answer
    signed_by: Identity = THEM
    asked: list[RequestMessage] = field(default_factory=list)
    patience: timedelta = timedelta()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | None = None,
        max_bytes: int | None = None,
        patience: timedelta = timedelta(),
    ) -> Answer | FetchFailure:
        target = parse_url(url)
        self.patience = patience
        self.asked.append(
            RequestMessage(
                method=method,
                scheme=target.scheme,
                authority=target.authority,
                target=target.target,
                headers=headers,
                body=body or b"",
            )
        )
        assert max_bytes is not None
        if self.failure is not None:
            return self.failure
        signer = create_peer_signer(self.signed_by, self.clock)
        answer = self.change(
            signer.sign_answer(ResponseMessage(status=self.status, headers=(), body=self.body))
        )
        return Answer(
            url=target,
            status=answer.status,
            headers=answer.headers,
            body=Body(data=answer.body, sha256=bytes(32)),
        )

    @property
    def client(self) -> PeerClient:
        clock = FrozenClock()
        return PeerClient(client=self, signer=create_peer_signer(US, clock), clock=clock)


def reason(found: object) -> PeerFailureReason:
    assert isinstance(found, PeerFailure), found
    return found.reason


async def test_every_question_is_signed_for_the_peer_that_is_asked() -> None:
    wire = Wire(body=b'{"attestations":[]}')
    await wire.client.lookup(PEER, [bytes(32)])
    await wire.client.feed(PEER, 7, 30)

    assert [(one.method, one.target) for one in wire.asked] == [
        ("POST", "/breakwater/api/v1/lookup"),
        ("GET", "/breakwater/api/v1/feed?cursor=7&wait=30"),
    ]
    assert wire.patience == timedelta(seconds=30)
    assert US.api_key is not None
    for asked in wire.asked:
        signature = find_signature(asked)
        assert signature is not None
        verify_request(
            asked,
            signature,
            key=US.api_key.public,
            now=START,
            freshness=FASP_FRESHNESS,
            profile=Profile.FASP,
        )


async def test_questions_are_counted_by_what_was_asked_and_name_neither_peer_nor_bytes() -> None:
    wire, metrics = Wire(body=b'{"attestations":[]}'), Metrics()
    client = replace(wire.client, metrics=metrics)
    await client.lookup(PEER, [bytes(32)])
    await client.feed(PEER, 7, 30)
    await client.state(PEER, bytes(32))
    await client.state(replace(PEER, api_url=""), bytes(32))
    lines = metrics.render()[0].decode().splitlines()
    told = sorted(one for one in lines if one.startswith("breakwater_peer_questions_total"))
    assert told == [
        'breakwater_peer_questions_total{kind="feed",outcome="answered"} 1.0',
        'breakwater_peer_questions_total{kind="lookup",outcome="answered"} 1.0',
        'breakwater_peer_questions_total{kind="states",outcome="answered"} 1.0',
        'breakwater_peer_questions_total{kind="states",outcome="no_api"} 1.0',
    ]


async def test_what_comes_back_are_the_bytes_that_stood_in_the_answer() -> None:
    wire = Wire(body=b'{"bits":0,"attestations":[ %b ,%b]}' % (OBJECT.encode(), b'{"c":3}'))

    assert await wire.client.lookup(PEER, [bytes(32)]) == (OBJECT.encode(), b'{"c":3}')


FORGED: dict[str, Callable[[ResponseMessage], ResponseMessage]] = {
    "no signature": lambda answer: replace(answer, headers=()),
    "another body": lambda answer: replace(answer, body=answer.body + b" "),
    "another status": lambda answer: replace(answer, status=201),
    "two signatures": lambda answer: replace(answer, headers=answer.headers * 2),
}


@pytest.mark.parametrize("name", FORGED)
async def test_an_answer_that_the_peer_did_not_sign_counts_for_nothing(name: str) -> None:
    wire = Wire(body=b'{"attestations":[]}', change=FORGED[name])
    assert reason(await wire.client.lookup(PEER, [bytes(32)])) is PeerFailureReason.UNVERIFIED


async def test_an_answer_by_another_key_or_of_another_hour_counts_for_nothing() -> None:
    body = b'{"attestations":[]}'
    old = FrozenClock(START - timedelta(hours=1))
    for wire in (Wire(body=body, signed_by=OTHERS), Wire(body=body, clock=old)):
        assert reason(await wire.client.lookup(PEER, [bytes(32)])) is PeerFailureReason.UNVERIFIED


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, PeerFailureReason.REFUSED),
        (403, PeerFailureReason.REFUSED),
        (404, PeerFailureReason.NOT_THERE),
        (429, PeerFailureReason.BUSY),
        (503, PeerFailureReason.BUSY),
        (204, PeerFailureReason.MALFORMED),
        (302, PeerFailureReason.MALFORMED),
        (500, PeerFailureReason.MALFORMED),
    ],
)
async def test_a_refusal_says_why(status: int, expected: PeerFailureReason) -> None:
    wire = Wire(status=status)
    assert reason(await wire.client.lookup(PEER, [bytes(32)])) is expected
    assert reason(await wire.client.feed(PEER, 0, 0)) is expected
    assert reason(await wire.client.send_alert(PEER, b"{}")) is expected


async def test_a_peer_that_cannot_be_reached_or_was_never_discovered_is_a_failure() -> None:
    away = Wire(failure=FetchFailure.TIMEOUT)
    assert await away.client.lookup(PEER, [bytes(32)]) == PeerFailure(
        reason=PeerFailureReason.UNREACHABLE, failure=FetchFailure.TIMEOUT
    )
    nowhere = replace(PEER, api_url="")
    assert reason(await Wire().client.lookup(nowhere, [bytes(32)])) is PeerFailureReason.NO_API


def page(*numbers: int, cursor: int, **more: object) -> bytes:
    items = [{"seq": number, "kind": "attestation", "object": {}} for number in numbers]
    return json.dumps({"cursor": cursor, "bits": 3, "items": items, **more}).encode()


async def test_a_page_is_read_with_its_cursor_and_its_gap() -> None:
    found = await Wire(body=page(6, 9, cursor=12)).client.feed(PEER, 5, 0)
    assert isinstance(found, FeedPage)
    assert ([item.seq for item in found.items], found.cursor, found.bits) == ([6, 9], 12, 3)
    gap = await Wire(body=page(90, cursor=90, error="OutdatedCursor", oldest=90)).client.feed(PEER, 5, 0)
    assert isinstance(gap, FeedPage)
    assert gap.oldest == 90


WRONG_PAGES = {
    "goes backwards": page(5, cursor=9),
    "is out of order": page(8, 7, cursor=9),
    "has a number twice": page(7, 7, cursor=9),
    "is ahead of its cursor": page(7, cursor=6),
    "takes its cursor back": page(cursor=4),
    "has too many": page(*range(6, 507), cursor=600),
    "has an item of an unknown kind": page(6, cursor=6).replace(b"attestation", b"flagged"),
    "has an item without an object": page(6, cursor=6).replace(b"object", b"thing"),
    "has no cursor": page(6, cursor=6).replace(b"cursor", b"curse"),
    "has a cursor that is no number": page(6, cursor=6).replace(b'"cursor": 6', b'"cursor": 6.0'),
    "has a huge cursor": page(6, cursor=10**17),
    "has a gap that begins nowhere": page(6, cursor=6, error="OutdatedCursor"),
    "is not JSON": b"[",
    "is not UTF-8": b'{"\xff": 1}',
}


@pytest.mark.parametrize("name", WRONG_PAGES)
async def test_a_page_is_not_read_that(name: str) -> None:
    found = await Wire(body=WRONG_PAGES[name]).client.feed(PEER, 5, 0)
    assert reason(found) is PeerFailureReason.MALFORMED


async def test_a_state_that_is_not_the_one_asked_for_is_refused() -> None:
    assert reason(await Wire(body=b'{"a":1}').client.state(PEER, bytes(32))) is PeerFailureReason.MALFORMED


async def test_buckets_are_asked_for_among_others() -> None:
    wire = Wire(body=b'{"bits":12,"attestations":[]}')
    assert await wire.client.buckets(PEER, [cut_prefix(bytes(32), bits=12)]) == ()

    (asked,) = wire.asked
    question = json.loads(asked.body)
    assert question["bits"] == 12
    assert len(question["prefixes"]) == 8
    assert "000" in question["prefixes"]
    assert question["prefixes"] == sorted(question["prefixes"])


async def test_an_alert_has_arrived_when_the_peer_says_so() -> None:
    wire = Wire(status=202)
    assert await wire.client.send_alert(PEER, b'{"x":1}') is None
    assert wire.asked[0].target == "/breakwater/api/v1/alerts"
    assert wire.asked[0].body == b'{"x":1}'
