from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay.model import FetchFailure
from relay.tools.fetching import GuardedClient, Signer, open_guarded_client
from relay.tools.key_directory import (
    KeyDirectory,
    KeyGone,
    KeyLifetimes,
    KeyRefused,
    KeyUnavailable,
    RemoteKey,
)
from signatures.errors import Reason
from tests.fediverse import Fediverse, FrozenClock, KeyForm, Origin
from tests.fediverse import behaviours as do

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.tools.documents import Document
    from relay.tools.policy import FetchPolicy

LIFETIMES = KeyLifetimes()


class MemoryStore:
    """Keeps keys like the database, and counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: dict[str, RemoteKey] = {}
        self.finds = 0

    async def find(self, key_id: str) -> RemoteKey | None:
        self.finds += 1
        return self.keys.get(key_id)

    async def save(self, key: RemoteKey) -> None:
        self.keys[key.key_id] = key

    async def forget(self, key_id: str) -> None:
        self.keys.pop(key_id, None)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def client(policy: FetchPolicy, clock: FrozenClock) -> AsyncIterator[GuardedClient]:
    async with open_guarded_client(policy, clock) as opened:
        yield opened


@pytest.fixture
def directory(client: GuardedClient, store: MemoryStore, clock: FrozenClock) -> KeyDirectory:
    return KeyDirectory(source=client, store=store, clock=clock)


@pytest.mark.parametrize("form", list(KeyForm))
async def test_a_key_is_found_in_every_form_in_which_servers_publish_it(
    directory: KeyDirectory, origin: Origin, clock: FrozenClock, form: KeyForm
) -> None:
    alice = origin.create_actor("alice", form=form)
    found = await directory.find_key(alice.key_id)
    assert found == RemoteKey(
        key_id=alice.key_id, owner=alice.id, key=alice.rsa.public, fetched_at=clock.now()
    )


async def test_a_multikey_is_found(directory: KeyDirectory, origin: Origin) -> None:
    alice = origin.create_actor("alice")
    found = await directory.find_key(alice.multikey_id)
    assert isinstance(found, RemoteKey)
    assert (found.owner, found.key) == (alice.id, alice.ed25519.public)


async def test_a_key_among_several_is_found_by_its_id(directory: KeyDirectory, origin: Origin) -> None:
    alice, bob = origin.create_actor("alice"), origin.create_actor("bob")
    document = alice.build_document()
    other = {**bob.build_key(), "id": f"{alice.id}#other", "owner": alice.id}
    document["publicKey"] = [other, "nonsense", alice.build_key()]
    origin.on("/users/alice", do.serve_json(document))
    found = await directory.find_key(alice.key_id)
    assert isinstance(found, RemoteKey)
    assert found.key == alice.rsa.public


async def test_a_known_key_costs_no_request_and_no_query(
    directory: KeyDirectory, origin: Origin, store: MemoryStore
) -> None:
    alice = origin.create_actor("alice")
    first = await directory.find_key(alice.key_id)
    assert await directory.find_key(alice.key_id) is first
    assert (origin.count("/users/alice"), store.finds) == (1, 1)


async def test_a_stored_key_costs_no_request(
    client: GuardedClient, origin: Origin, store: MemoryStore, clock: FrozenClock
) -> None:
    alice = origin.create_actor("alice")
    first = await KeyDirectory(source=client, store=store, clock=clock).find_key(alice.key_id)
    restarted = KeyDirectory(source=client, store=store, clock=clock)
    assert await restarted.find_key(alice.key_id) == first
    assert origin.count("/users/alice") == 1


async def test_callers_at_the_same_time_cost_one_request(directory: KeyDirectory, origin: Origin) -> None:
    alice = origin.create_actor("alice")
    found = await asyncio.gather(*(directory.find_key(alice.key_id) for _ in range(50)))
    assert {key.owner for key in found if isinstance(key, RemoteKey)} == {alice.id}
    assert origin.count("/users/alice") == 1


async def test_a_cancelled_caller_hangs_nobody(directory: KeyDirectory, origin: Origin) -> None:
    alice = origin.create_actor("alice")
    origin.on("/users/alice", do.in_turn(do.stall(), alice.serve_document()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await directory.find_key(alice.key_id)
    async with asyncio.timeout(5):
        assert isinstance(await directory.find_key(alice.key_id), RemoteKey)


async def test_a_key_of_a_day_is_asked_for_again_and_its_replacement_is_believed(
    directory: KeyDirectory, origin: Origin, clock: FrozenClock
) -> None:
    alice = origin.create_actor("alice")
    await directory.find_key(alice.key_id)
    alice.rotate_keys()
    clock.advance(LIFETIMES.fresh)
    found = await directory.find_key(alice.key_id)
    assert isinstance(found, RemoteKey)
    assert found.key == alice.rsa.public


async def test_an_old_key_serves_while_its_origin_is_down_but_not_for_ever(
    directory: KeyDirectory, origin: Origin, clock: FrozenClock
) -> None:
    alice = origin.create_actor("alice")
    first = await directory.find_key(alice.key_id)
    origin.on("/users/alice", do.refuse(503))
    clock.advance(LIFETIMES.fresh)
    assert await directory.find_key(alice.key_id) == first
    assert await directory.find_key(alice.key_id) == first
    assert origin.count("/users/alice") == 2
    clock.advance(LIFETIMES.usable)
    assert isinstance(await directory.find_key(alice.key_id), KeyUnavailable)


@pytest.mark.parametrize("status", [404, 410])
async def test_a_vanished_key_is_gone_from_the_store_too_and_not_asked_for_at_once(
    directory: KeyDirectory, origin: Origin, store: MemoryStore, clock: FrozenClock, status: int
) -> None:
    alice = origin.create_actor("alice")
    await directory.find_key(alice.key_id)
    origin.on("/users/alice", do.refuse(status))
    clock.advance(LIFETIMES.fresh)
    for _ in range(3):
        assert await directory.find_key(alice.key_id) == KeyGone(key_id=alice.key_id)
    assert origin.count("/users/alice") == 2
    assert store.keys == {}
    clock.advance(LIFETIMES.gone)
    await directory.find_key(alice.key_id)
    assert origin.count("/users/alice") == 3


async def test_an_unreachable_origin_is_left_in_peace_for_a_moment_only(
    directory: KeyDirectory, origin: Origin, clock: FrozenClock
) -> None:
    alice = origin.create_actor("alice")
    origin.on("/users/alice", do.in_turn(do.refuse(500), alice.serve_document()))
    unavailable = KeyUnavailable(key_id=alice.key_id, failure=FetchFailure.SERVER_ERROR)
    assert await directory.find_key(alice.key_id) == unavailable
    assert await directory.find_key(alice.key_id) == unavailable
    assert origin.count("/users/alice") == 1
    clock.advance(LIFETIMES.unavailable)
    assert isinstance(await directory.find_key(alice.key_id), RemoteKey)


async def test_a_maintenance_page_is_no_key_and_costs_nobody_a_stored_one(
    directory: KeyDirectory, origin: Origin, clock: FrozenClock
) -> None:
    alice = origin.create_actor("alice")
    first = await directory.find_key(alice.key_id)
    origin.on("/users/alice", do.serve(b"<html>", "text/html"))
    clock.advance(LIFETIMES.fresh)
    assert await directory.find_key(alice.key_id) == first


async def test_a_key_is_fetched_again_at_most_once_an_interval(
    directory: KeyDirectory, origin: Origin, clock: FrozenClock
) -> None:
    alice = origin.create_actor("alice")
    first = await directory.find_key(alice.key_id)
    alice.rotate_keys()
    assert await directory.refetch(alice.key_id) == first
    clock.advance(LIFETIMES.refetch_interval)
    second = await directory.refetch(alice.key_id)
    assert isinstance(second, RemoteKey)
    assert second.key == alice.rsa.public
    await directory.refetch(alice.key_id)
    assert origin.count("/users/alice") == 2


async def test_a_key_that_cannot_be_fetched_again_may_have_been_replaced(
    directory: KeyDirectory, origin: Origin, clock: FrozenClock
) -> None:
    alice = origin.create_actor("alice")
    await directory.find_key(alice.key_id)
    origin.on("/users/alice", do.refuse(502))
    clock.advance(LIFETIMES.refetch_interval)
    assert isinstance(await directory.refetch(alice.key_id), KeyUnavailable)


async def test_an_owner_that_does_not_list_the_key_does_not_own_it(
    directory: KeyDirectory, origin: Origin
) -> None:
    alice = origin.create_actor("alice", form=KeyForm.STAND_ALONE)
    alice.lists_key = False
    assert await directory.find_key(alice.key_id) == KeyRefused(
        key_id=alice.key_id, reason=Reason.KEY_REFUSED
    )
    assert origin.count("/users/alice") == 1


async def test_an_owner_that_lists_other_material_under_the_id_does_not_own_it(
    directory: KeyDirectory, origin: Origin
) -> None:
    alice, mallory = origin.create_actor("alice", form=KeyForm.STAND_ALONE), origin.create_actor("mallory")
    forged = {**mallory.build_key(), "id": alice.key_id, "owner": alice.id}
    origin.on("/users/alice/main-key", do.serve_json(forged))
    assert await directory.find_key(alice.key_id) == KeyRefused(key_id=alice.key_id, reason=Reason.WRONG_KEY)


async def test_a_key_of_another_origin_than_its_owner_is_refused_without_asking_the_owner(
    directory: KeyDirectory, world: Fediverse, origin: Origin
) -> None:
    victim = (await world.open_origin()).create_actor("victim")
    mallory = origin.create_actor("mallory", form=KeyForm.STAND_ALONE)
    mallory.key_owner = victim.id
    assert await directory.find_key(mallory.key_id) == KeyRefused(
        key_id=mallory.key_id, reason=Reason.WRONG_ORIGIN
    )
    assert victim.origin.requests == []


async def test_an_actor_cannot_publish_a_key_for_another(directory: KeyDirectory, origin: Origin) -> None:
    mallory, victim = origin.create_actor("mallory"), origin.create_actor("victim")
    mallory.key_owner = victim.id
    assert await directory.find_key(mallory.key_id) == KeyRefused(
        key_id=mallory.key_id, reason=Reason.WRONG_KEY
    )


async def test_a_document_that_claims_to_be_another_actor_is_held_against_that_actor(
    directory: KeyDirectory, origin: Origin
) -> None:
    mallory, victim = origin.create_actor("mallory"), origin.create_actor("victim")
    upload = {**victim.build_document(), "publicKey": {**mallory.build_key(), "owner": victim.id}}
    origin.on("/users/mallory", do.serve_json(upload))
    assert await directory.find_key(mallory.key_id) == KeyRefused(
        key_id=mallory.key_id, reason=Reason.KEY_REFUSED
    )
    assert origin.count("/users/victim") == 1


async def test_a_key_is_its_owners_and_not_whoever_answers_in_the_owners_place(
    directory: KeyDirectory, origin: Origin
) -> None:
    alice = origin.create_actor("alice", form=KeyForm.STAND_ALONE)
    victim = {**alice.build_document(), "id": origin.url("/users/victim")}
    victim["publicKey"] = {**alice.build_key(), "owner": victim["id"]}
    origin.on("/users/alice", do.serve_json(victim))
    assert await directory.find_key(alice.key_id) == KeyRefused(key_id=alice.key_id, reason=Reason.WRONG_KEY)


async def test_an_actor_that_redirects_within_its_origin_keeps_its_key(
    directory: KeyDirectory, origin: Origin
) -> None:
    alice = origin.create_actor("alice")
    origin.on("/@alice", alice.serve_document())
    origin.on("/users/alice", do.redirect("/@alice"))
    found = await directory.find_key(alice.key_id)
    assert isinstance(found, RemoteKey)
    assert found.owner == alice.id


async def test_a_redirect_to_another_origin_speaks_for_nobody(
    directory: KeyDirectory, world: Fediverse, origin: Origin
) -> None:
    mallory = (await world.open_origin()).create_actor("mallory")
    alice = origin.create_actor("alice")
    origin.on("/users/alice", do.redirect(mallory.id))
    assert await directory.find_key(alice.key_id) == KeyRefused(
        key_id=alice.key_id, reason=Reason.WRONG_ORIGIN
    )


@pytest.mark.parametrize(
    "material",
    [
        {"publicKeyPem": "nonsense"},
        {"publicKeyMultibase": "z6MkNonsense"},
        {"publicKeyPem": 5},
        {},
        # The encoding of the neutral element: one signature would verify every message.
        {"publicKeyMultibase": "z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj"},
    ],
)
async def test_material_that_is_not_admissible_is_refused(
    directory: KeyDirectory, origin: Origin, material: dict[str, object]
) -> None:
    alice = origin.create_actor("alice")
    document = alice.build_document()
    document["publicKey"] = {"id": alice.key_id, "owner": alice.id, **material}
    document.pop("assertionMethod")
    origin.on("/users/alice", do.serve_json(document))
    assert await directory.find_key(alice.key_id) == KeyRefused(
        key_id=alice.key_id, reason=Reason.KEY_REFUSED
    )


@pytest.mark.parametrize(
    "key_id",
    [
        "",
        "nonsense",
        "acct:alice@example.org",
        "http://127.1/key",
        "http://10.0.0.1/users/a#main-key",
        "http://[::1]/users/a#main-key",
        "file:///etc/passwd",
    ],
)
async def test_a_key_id_that_leads_nowhere_admissible_is_refused(
    directory: KeyDirectory, key_id: str
) -> None:
    assert await directory.find_key(key_id) == KeyRefused(key_id=key_id, reason=Reason.WRONG_ORIGIN)


async def test_a_host_is_asked_about_few_keys_at_a_time(clock: FrozenClock, store: MemoryStore) -> None:
    class Counting:
        """A source that lets nobody go before it is told to."""

        def __init__(self) -> None:
            self.waiting = 0
            self.most = 0
            self.release = asyncio.Event()

        async def fetch_document(self, url: str, *, signer: Signer | None = None) -> Document | FetchFailure:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            await self.release.wait()
            self.waiting -= 1
            return FetchFailure.GONE

    source = Counting()
    directory = KeyDirectory(source=source, store=store, clock=clock)
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(directory.find_key(f"https://victim.example/users/{number}#main-key"))
        for _ in range(50):
            await asyncio.sleep(0)
        source.release.set()
    assert source.most == 4
