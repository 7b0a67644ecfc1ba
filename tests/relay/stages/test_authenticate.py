from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from relay.model import Sender
from relay.stages.authenticate import (
    Authenticated,
    Authentication,
    AuthenticationPolicy,
    Rejected,
    Unverifiable,
    UnverifiableReason,
    authenticate,
)
from relay.tools.fetching import open_guarded_client
from relay.tools.key_directory import KeyDirectory, KeyLifetimes, RemoteKey
from relay.tools.policy import FetchPolicy
from signatures.digests import legacy_digest
from signatures.errors import Reason
from signatures.http import Freshness, Scheme
from tests.fediverse import Actor, Fediverse, FrozenClock, KeyForm
from tests.fediverse import behaviours as do
from tests.fediverse.shapes import like, mastodon_create

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signatures.message import RequestMessage

INBOX = "https://instance.example/inbox?shared=1"
POLICY = AuthenticationPolicy()


class MemoryStore:
    def __init__(self) -> None:
        self.keys: dict[str, RemoteKey] = {}

    async def find(self, key_id: str) -> RemoteKey | None:
        return self.keys.get(key_id)

    async def save(self, key: RemoteKey) -> None:
        self.keys[key.key_id] = key

    async def forget(self, key_id: str) -> None:
        self.keys.pop(key_id, None)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
async def world(clock: FrozenClock) -> AsyncIterator[Fediverse]:
    async with Fediverse(clock) as fediverse:
        yield fediverse


@pytest.fixture
async def alice(world: Fediverse) -> Actor:
    return (await world.open_origin()).create_actor("alice")


@pytest.fixture
async def keys(clock: FrozenClock) -> AsyncIterator[KeyDirectory]:
    policy = FetchPolicy(allow_http=True, ports=None, allow_private=(ip_network("127.0.0.0/8"),))
    async with open_guarded_client(policy, clock) as client:
        yield KeyDirectory(source=client, store=MemoryStore(), clock=clock)


def signed(actor: Actor, clock: FrozenClock, *, scheme: Scheme = Scheme.CAVAGE) -> RequestMessage:
    return actor.sign_and_build(mastodon_create(actor), INBOX, now=clock.now(), scheme=scheme)


def with_header(message: RequestMessage, name: str, value: str | None) -> RequestMessage:
    kept = tuple(pair for pair in message.headers if pair[0].lower() != name.lower())
    return replace(message, headers=kept if value is None else (*kept, (name, value)))


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("form", list(KeyForm))
async def test_a_delivery_signed_by_its_actor_is_authenticated(
    world: Fediverse, keys: KeyDirectory, clock: FrozenClock, scheme: Scheme, form: KeyForm
) -> None:
    alice = (await world.open_origin()).create_actor("alice", form=form)
    outcome = await authenticate(
        signed(alice, clock, scheme=scheme), keys=keys, now=clock.now(), policy=POLICY, actor=alice.id
    )
    assert outcome == Authenticated(
        sender=Sender(actor=alice.id, key_id=alice.key_id), scheme=scheme, signed_at=clock.now()
    )


async def test_an_ed25519_multikey_authenticates_too(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    message = alice.sign(
        alice.build_delivery(like(alice, "https://instance.example/1"), INBOX),
        now=clock.now(),
        scheme=Scheme.RFC9421,
        key=alice.ed25519,
        key_id=alice.multikey_id,
    )
    outcome = await authenticate(message, keys=keys, now=clock.now(), policy=POLICY, actor=alice.id)
    assert isinstance(outcome, Authenticated)


async def test_a_known_sender_costs_no_request(alice: Actor, keys: KeyDirectory, clock: FrozenClock) -> None:
    for _ in range(5):
        outcome = await authenticate(signed(alice, clock), keys=keys, now=clock.now(), policy=POLICY)
        assert isinstance(outcome, Authenticated)
    assert len(alice.origin.requests) == 1


async def test_no_signature_is_no_sender(alice: Actor, keys: KeyDirectory, clock: FrozenClock) -> None:
    message = alice.build_delivery(mastodon_create(alice), INBOX)
    outcome = await authenticate(message, keys=keys, now=clock.now(), policy=POLICY, actor=alice.id)
    assert outcome == Rejected(reason=Reason.NO_SIGNATURE)
    assert alice.origin.requests == []


async def test_a_signature_inside_the_document_earns_no_trust(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    document = mastodon_create(alice)
    document["signature"] = {
        "type": "RsaSignature2017",
        "creator": alice.key_id,
        "signatureValue": base64.b64encode(b"x" * 256).decode(),
    }
    message = alice.build_delivery(document, INBOX)
    outcome = await authenticate(message, keys=keys, now=clock.now(), policy=POLICY, actor=alice.id)
    assert outcome == Rejected(reason=Reason.NO_SIGNATURE)


async def test_a_key_of_another_host_than_the_actors_is_rejected_before_any_request(
    world: Fediverse, alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    mallory = (await world.open_origin()).create_actor("mallory")
    message = mallory.sign_and_build(mastodon_create(alice), INBOX, now=clock.now())
    outcome = await authenticate(message, keys=keys, now=clock.now(), policy=POLICY, actor=alice.id)
    assert outcome == Rejected(reason=Reason.WRONG_ORIGIN)
    assert mallory.origin.requests == []


async def test_a_neighbour_on_the_same_host_is_not_the_actor(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    mallory = alice.origin.create_actor("mallory")
    message = mallory.sign_and_build(mastodon_create(alice), INBOX, now=clock.now())
    outcome = await authenticate(message, keys=keys, now=clock.now(), policy=POLICY, actor=alice.id)
    assert outcome == Rejected(reason=Reason.WRONG_KEY)


async def _judge(message: RequestMessage, keys: KeyDirectory, clock: FrozenClock) -> Authentication:
    return await authenticate(message, keys=keys, now=clock.now(), policy=POLICY)


@pytest.mark.parametrize("scheme", list(Scheme))
async def test_a_body_that_was_altered_is_rejected(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock, scheme: Scheme
) -> None:
    message = signed(alice, clock, scheme=scheme)
    altered = replace(message, body=message.body.replace(b"hello", b"hallo"))
    assert altered.body != message.body
    assert await _judge(altered, keys, clock) == Rejected(reason=Reason.DIGEST_MISMATCH)


@pytest.mark.parametrize("scheme", list(Scheme))
async def test_an_altered_body_with_a_digest_to_match_is_rejected(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock, scheme: Scheme
) -> None:
    genuine = signed(alice, clock, scheme=scheme)
    forged = alice.sign(
        alice.build_delivery({"type": "Delete"}, INBOX), now=clock.now(), scheme=scheme, key_id=alice.key_id
    )
    name = "Digest" if scheme is Scheme.CAVAGE else "Content-Digest"
    digest = next(value for key, value in forged.headers if key == name)
    outcome = await _judge(with_header(replace(genuine, body=forged.body), name, digest), keys, clock)
    assert outcome == Rejected(reason=Reason.BAD_SIGNATURE)


@pytest.mark.parametrize("scheme", list(Scheme))
async def test_a_missing_digest_is_rejected(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock, scheme: Scheme
) -> None:
    name = "Digest" if scheme is Scheme.CAVAGE else "Content-Digest"
    message = with_header(signed(alice, clock, scheme=scheme), name, None)
    assert isinstance(await _judge(message, keys, clock), Rejected)


async def test_a_body_whose_digest_is_not_signed_is_rejected(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    unsigned = alice.build_delivery(mastodon_create(alice), INBOX)
    bare = alice.sign(replace(unsigned, method="GET", body=b""), now=clock.now())
    message = with_header(replace(bare, body=unsigned.body), "Digest", legacy_digest(unsigned.body))
    assert await _judge(message, keys, clock) == Rejected(reason=Reason.MISSING_DIGEST)


@pytest.mark.parametrize(
    ("shift", "reason"),
    [
        (timedelta(minutes=66), Reason.STALE),
        (timedelta(days=8), Reason.STALE),
        (timedelta(minutes=-6), Reason.FUTURE),
    ],
)
async def test_a_time_outside_the_window_is_rejected(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock, shift: timedelta, reason: Reason
) -> None:
    for scheme in Scheme:
        message = signed(alice, clock, scheme=scheme)
        outcome = await authenticate(message, keys=keys, now=clock.now() + shift, policy=POLICY)
        assert outcome == Rejected(reason=reason)


async def test_the_window_is_the_backends(alice: Actor, keys: KeyDirectory, clock: FrozenClock) -> None:
    message = signed(alice, clock)
    narrow = AuthenticationPolicy(
        freshness=Freshness(max_age=timedelta(minutes=5), max_ahead=timedelta(minutes=5))
    )
    later = clock.now() + timedelta(minutes=6)
    outcome = await authenticate(message, keys=keys, now=later, policy=narrow)
    assert outcome == Rejected(reason=Reason.STALE)
    assert isinstance(await authenticate(message, keys=keys, now=later, policy=POLICY), Authenticated)


async def test_a_signature_for_another_inbox_is_rejected(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    message = signed(alice, clock)
    moved = replace(message, target="/users/bob/inbox")
    assert await _judge(moved, keys, clock) == Rejected(reason=Reason.BAD_SIGNATURE)


async def test_a_signature_for_another_host_is_rejected(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    elsewhere = replace(signed(alice, clock), authority="other.example")
    assert isinstance(await _judge(elsewhere, keys, clock), Rejected)


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "none", "rsa-sha1", "ed25519"])
async def test_naming_another_algorithm_helps_nobody(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock, algorithm: str
) -> None:
    message = signed(alice, clock)
    value = next(value for name, value in message.headers if name == "Signature")
    # Whoever knows the public key could make an HMAC over it: the key's family alone decides.
    forged = base64.b64encode(b"x" * 32).decode()
    parts = [part for part in value.split(",") if not part.startswith(("algorithm=", "signature="))]
    parts += [f'algorithm="{algorithm}"', f'signature="{forged}"']
    outcome = await _judge(with_header(message, "Signature", ",".join(parts)), keys, clock)
    assert isinstance(outcome, Rejected)


async def test_an_ed25519_signature_under_an_rsa_key_id_is_rejected(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    message = alice.sign(
        alice.build_delivery(mastodon_create(alice), INBOX),
        now=clock.now(),
        scheme=Scheme.RFC9421,
        key=alice.ed25519,
    )
    assert isinstance(await _judge(message, keys, clock), Rejected)


@pytest.mark.parametrize("value", ["", "nonsense", 'keyId="x"', 'keyId="a",keyId="b",signature="QQ=="'])
async def test_a_signature_that_cannot_be_read_is_rejected_as_such(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock, value: str
) -> None:
    message = with_header(signed(alice, clock), "Signature", value)
    assert await _judge(message, keys, clock) == Rejected(reason=Reason.BAD_SIGNATURE, is_malformed=True)
    assert alice.origin.requests == []


async def test_a_replaced_key_is_fetched_once_and_believed(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    assert isinstance(await _judge(signed(alice, clock), keys, clock), Authenticated)
    alice.rotate_keys()
    clock.advance(KeyLifetimes().refetch_interval)
    assert isinstance(await _judge(signed(alice, clock), keys, clock), Authenticated)
    assert alice.origin.count("/users/alice") == 2


async def test_the_old_key_is_worth_nothing_once_it_was_replaced(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    old = alice.rsa
    assert isinstance(await _judge(signed(alice, clock), keys, clock), Authenticated)
    alice.rotate_keys()
    clock.advance(KeyLifetimes().refetch_interval)
    assert isinstance(await _judge(signed(alice, clock), keys, clock), Authenticated)
    stolen = alice.sign(alice.build_delivery(mastodon_create(alice), INBOX), now=clock.now(), key=old)
    assert await _judge(stolen, keys, clock) == Rejected(reason=Reason.BAD_SIGNATURE)


async def test_bad_signatures_cannot_be_turned_into_requests(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    mallory = alice.origin.create_actor("mallory")
    await _judge(signed(alice, clock), keys, clock)
    clock.advance(KeyLifetimes().refetch_interval)
    for _ in range(20):
        forged = alice.sign(
            alice.build_delivery(mastodon_create(alice), INBOX), now=clock.now(), key=mallory.rsa
        )
        assert await _judge(forged, keys, clock) == Rejected(reason=Reason.BAD_SIGNATURE)
    assert alice.origin.count("/users/alice") == 2


async def test_a_stale_signature_does_not_ask_for_the_key_again(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    message = signed(alice, clock)
    await _judge(message, keys, clock)
    clock.advance(timedelta(hours=2))
    assert await _judge(message, keys, clock) == Rejected(reason=Reason.STALE)
    assert alice.origin.count("/users/alice") == 1


async def test_a_vanished_actor_is_unverifiable_and_not_rejected(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    alice.vanish()
    message = alice.sign_and_build(
        {"type": "Delete", "actor": alice.id, "object": alice.id}, INBOX, now=clock.now()
    )
    outcome = await authenticate(message, keys=keys, now=clock.now(), policy=POLICY, actor=alice.id)
    assert outcome == Unverifiable(reason=UnverifiableReason.GONE, key_id=alice.key_id)


async def test_an_actor_that_vanishes_after_it_was_known_still_verifies(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    await _judge(signed(alice, clock), keys, clock)
    alice.vanish()
    assert isinstance(await _judge(signed(alice, clock), keys, clock), Authenticated)


@pytest.mark.parametrize("behaviour", [do.refuse(500), do.refuse(403), do.serve(b"<html>", "text/html")])
async def test_an_origin_that_cannot_be_asked_makes_a_sender_unverifiable(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock, behaviour: do.Behaviour
) -> None:
    alice.origin.on("/users/alice", behaviour)
    outcome = await _judge(signed(alice, clock), keys, clock)
    assert outcome == Unverifiable(reason=UnverifiableReason.UNAVAILABLE, key_id=alice.key_id)


async def test_a_bad_signature_is_unverifiable_while_a_newer_key_cannot_be_had(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    await _judge(signed(alice, clock), keys, clock)
    alice.rotate_keys()
    alice.origin.on("/users/alice", do.refuse(503))
    clock.advance(KeyLifetimes().refetch_interval)
    outcome = await _judge(signed(alice, clock), keys, clock)
    assert outcome == Unverifiable(reason=UnverifiableReason.UNAVAILABLE, key_id=alice.key_id)


async def test_a_key_that_is_refused_rejects_the_delivery(
    alice: Actor, keys: KeyDirectory, clock: FrozenClock
) -> None:
    document = alice.build_document()
    document["publicKey"] = {**alice.build_key(), "owner": "https://other.example/users/x"}
    alice.origin.on("/users/alice", do.serve(json.dumps(document).encode(), do.ACTIVITY_JSON))
    assert await _judge(signed(alice, clock), keys, clock) == Rejected(reason=Reason.WRONG_KEY)
