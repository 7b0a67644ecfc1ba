"""What relays ask and answer each other is signed by the profile of FASP, and nothing else passes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from db.peers import Peer, Tier
from relay.errors import StartupError
from relay.exchange.signing import PeerSigner, create_peer_signer, verify_answer
from signatures.errors import Reason, SignatureError, VerificationError
from signatures.http import Profile, find_signature, verify_request
from signatures.message import RequestMessage, ResponseMessage, find_header
from tests.fediverse.clock import START, FrozenClock
from tests.relay.exchange.neighbours import build_identity

IDENTITY = build_identity("https://relay.example/breakwater", 1)
ANSWER = ResponseMessage(status=200, headers=(("Content-Type", "application/json"),), body=b'{"items": []}')


def signer(number: int = 1) -> PeerSigner:
    return create_peer_signer(build_identity("https://relay.example/breakwater", number), FrozenClock())


def peer(number: int = 1) -> Peer:
    mine = signer(number)
    return Peer(
        actor=IDENTITY.actor,
        domain="relay.example",
        tier=Tier.PROBATION,
        added_at=START,
        updated_at=START,
        key_id=mine.key_id,
        multikey=mine.key.public.to_multikey(),
    )


def request(body: bytes = b'{"digests": []}') -> RequestMessage:
    return RequestMessage(
        method="POST",
        scheme="https",
        authority="peer.example",
        target="/breakwater/api/v1/lookup",
        headers=(("Content-Type", "application/json"),),
        body=body,
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_is_signed_with_the_key_of_the_peer_api_over_what_fasp_names(method: str) -> None:
    signed = signer().sign(replace(request(b"" if method == "GET" else b"x"), method=method))
    signature = find_signature(signed)
    assert signature is not None
    assert signature.covered == ("@method", "@target-uri", "content-digest")
    assert IDENTITY.api_key is not None
    assert signature.key_id == f"{IDENTITY.actor}#{IDENTITY.api_key.public.to_multikey()}"
    verify_request(signed, signature, key=IDENTITY.api_key.public, now=START, profile=Profile.FASP)


def test_the_attestation_key_signs_no_request() -> None:
    signed = signer().sign(request())
    signature = find_signature(signed)
    assert signature is not None
    with pytest.raises(VerificationError):
        verify_request(signed, signature, key=IDENTITY.signing_key.public, now=START, profile=Profile.FASP)


def test_two_equal_requests_of_one_second_are_signed_differently() -> None:
    one, two = signer().sign(request()), signer().sign(request())
    assert find_header(one.headers, "signature") != find_header(two.headers, "signature")


def test_an_identity_without_a_key_for_peers_asks_nobody() -> None:
    with pytest.raises(StartupError, match="breakwater keys generate"):
        create_peer_signer(replace(IDENTITY, api_key=None), FrozenClock())


def test_an_answer_verifies_as_the_peers() -> None:
    verify_answer(signer().sign_answer(ANSWER), peer=peer(), now=START)


def test_a_refusal_is_signed_like_every_answer() -> None:
    verify_answer(signer().sign_answer(replace(ANSWER, status=403)), peer=peer(), now=START)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": 404}, Reason.BAD_SIGNATURE),
        ({"body": b'{"items": [1]}'}, Reason.DIGEST_MISMATCH),
        ({"headers": ()}, Reason.NO_SIGNATURE),
    ],
)
def test_an_answer_that_was_changed_is_refused(change: dict[str, object], reason: Reason) -> None:
    changed = replace(signer().sign_answer(ANSWER), **change)  # type: ignore[arg-type]
    with pytest.raises(VerificationError) as refused:
        verify_answer(changed, peer=peer(), now=START)
    assert refused.value.reason is reason


def test_an_answer_by_another_key_is_refused() -> None:
    with pytest.raises(VerificationError) as refused:
        verify_answer(signer(2).sign_answer(ANSWER), peer=peer(1), now=START)
    assert refused.value.reason is Reason.WRONG_KEY


def test_an_answer_by_another_key_under_the_peers_id_is_refused() -> None:
    thief = replace(signer(2), key_id=signer(1).key_id)
    with pytest.raises(VerificationError) as refused:
        verify_answer(thief.sign_answer(ANSWER), peer=peer(1), now=START)
    assert refused.value.reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("age", "reason"), [(timedelta(minutes=6), Reason.STALE), (-timedelta(minutes=6), Reason.FUTURE)]
)
def test_an_answer_of_another_time_is_refused(age: timedelta, reason: Reason) -> None:
    with pytest.raises(VerificationError) as refused:
        verify_answer(signer().sign_answer(ANSWER), peer=peer(), now=START + age)
    assert refused.value.reason is reason


def test_the_answer_of_a_peer_whose_key_is_not_known_is_refused() -> None:
    with pytest.raises(SignatureError, match="never fetched"):
        verify_answer(signer().sign_answer(ANSWER), peer=replace(peer(), multikey=None), now=START)
