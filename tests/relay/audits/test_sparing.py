"""A peer that is away holds up no audits of others."""

from __future__ import annotations

from db.peers import Peer, Tier
from relay.audits.sparing import LEFT_ALONE_FOR, SparingAsker
from relay.exchange.client import PeerFailure, PeerFailureReason
from tests.fediverse.clock import START, FrozenClock
from tests.relay.exchange.trusting import Answering

DIGEST = bytes(32)


def _peer(domain: str) -> Peer:
    return Peer(
        actor=f"https://{domain}/actor", domain=domain, tier=Tier.TRUSTED, added_at=START, updated_at=START
    )


async def test_a_peer_that_is_away_is_asked_once_in_a_while_and_others_as_always() -> None:
    clock, answering = FrozenClock(), Answering(refusal=PeerFailureReason.UNREACHABLE)
    asker = SparingAsker(answering, clock)
    away, other = _peer("away.example"), _peer("other.example")

    for _ in range(5):
        assert isinstance(await asker.state(away, DIGEST), PeerFailure)
        assert isinstance(await asker.opening(away, DIGEST), PeerFailure)
    assert answering.asked == [("state", "away.example")]
    assert await asker.lookup(other, (DIGEST,)) == ()

    clock.advance(LEFT_ALONE_FOR)
    answering.openings[DIGEST] = b"{}"
    assert await asker.opening(away, DIGEST) == b"{}"
    assert await asker.opening(away, DIGEST) == b"{}"


async def test_a_peer_that_answers_that_it_has_nothing_is_not_away() -> None:
    answering = Answering(refusal=PeerFailureReason.NOT_THERE)
    asker = SparingAsker(answering, FrozenClock())
    for _ in range(2):
        await asker.state(_peer("here.example"), DIGEST)
    assert len(answering.asked) == 2
