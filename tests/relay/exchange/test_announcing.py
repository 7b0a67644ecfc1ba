"""What does not hold any more is taken back by itself, once, and never by naming an item."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import attestations, feed, retiring
from db.attestations import StoredAttestation
from db.feed import FeedKind
from relay.exchange.announcing import Announcer, AnnounceTools, announce
from relay.tools.hash_lists import load_lists_into
from relay.tools.key_files import RetiredKey
from relay.tools.scanning import open_scanning
from scanner.canary import canary_list
from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from signatures.digests import digest_multibase
from signatures.objects import IssuerKey
from signatures.revocation import RevocationBody, Scope, parse_revocation, verify_revocation
from tests.e2e.world import wait_until
from tests.fediverse.actors import ed25519_key
from tests.fediverse.clock import START, FrozenClock
from tests.relay.exchange.pair import PEER, US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from db.pool import Database
    from relay.tools.scanning import Scanning
    from scanner.scan import Scanner

HOUR = timedelta(hours=1)
OLD = ed25519_key(901).public
OLD_ID = f"{US.actor}#{OLD.to_multikey()}"


@pytest.fixture(scope="module")
def scanner() -> Iterator[Scanner]:
    with open_scanner(ScannerSettings(workers=1, embedded_classifier=False)) as opened:
        yield opened


@pytest.fixture
async def scanning(scanner: Scanner, database: Database) -> AsyncIterator[Scanning]:
    async with open_scanning(scanner, threads=1, secret=bytes(32), now=START) as opened:
        await load_lists_into(opened, database, now=START)
        yield opened


@pytest.fixture
def tools(database: Database, scanning: Scanning) -> AnnounceTools:
    return AnnounceTools(
        database=database, identity=US, scanning=scanning, profile="image-1", clock=FrozenClock()
    )


async def attested(
    tools: AnnounceTools,
    number: int,
    *,
    state: bytes | None = None,
    profile: str = "image-1",
    is_withheld_share: bool = False,
) -> None:
    async with tools.database.connection() as conn:
        await attestations.insert_attestation(
            conn,
            StoredAttestation(
                id=f"{number}",
                sha256=bytes([number] * 32),
                profile=US.profile(profile),
                state_digest=state or tools.scanning.state_digest,
                published=START,
                end_time=START + timedelta(days=1),
                is_withheld_share=is_withheld_share,
                audience="public",
                object=b"{}",
            ),
        )


async def change_lists(tools: AnnounceTools, name: str = "changed") -> None:
    await tools.scanning.replace_lists([replace(canary_list(), name=name)], now=START)
    state = tools.scanning.published_state
    async with tools.database.transaction() as conn:
        await attestations.put_state(
            conn, state_digest=state.digest, document=dict(state.document), now=START
        )


async def published(database: Database) -> list[RevocationBody]:
    """What stands in the feed, verified as a peer would."""
    async with database.connection() as conn:
        items = await feed.read(conn, cursor=0, peer=PEER.actor, visible_at=None, limit=10)
    found = []
    key = IssuerKey(actor=US.actor, key_id=US.verification_method, key=US.signing_key.public)
    for item in items:
        assert item.kind is FeedKind.REVOCATION
        revocation = parse_revocation(item.object)
        verify_revocation(revocation, issuer_key=key, now=START)
        found.append(revocation.body)
    return found


async def ends(database: Database, number: int) -> timedelta:
    async with database.connection() as conn:
        found = await attestations.find_attestation(conn, f"{number}")
    assert found is not None
    return found.end_time - START


async def test_a_changed_list_takes_back_the_state_before_it_once(tools: AnnounceTools) -> None:
    before = tools.scanning.state_digest
    await attested(tools, 1)
    assert await announce(tools) == 0

    await change_lists(tools)
    await attested(tools, 2)
    assert await announce(tools) == 1
    assert await announce(tools) == 0

    (body,) = await published(tools.database)
    assert (body.scope, body.object) == (Scope.STATE, digest_multibase(before))
    assert await ends(tools.database, 1) == timedelta()
    assert await ends(tools.database, 2) == timedelta(days=1)


async def test_a_state_of_which_nothing_was_given_out_is_not_spoken_of(tools: AnnounceTools) -> None:
    await attested(tools, 1, is_withheld_share=True)
    await change_lists(tools)

    assert await announce(tools) == 0


async def test_a_state_that_was_taken_back_returns_under_another_digest(
    tools: AnnounceTools, database: Database
) -> None:
    before = tools.scanning.state_digest
    await attested(tools, 1)
    await change_lists(tools)
    assert await announce(tools) == 1

    await load_lists_into(tools.scanning, database, now=START)

    again = tools.scanning.state_digest
    assert again != before
    async with database.connection() as conn:
        assert await retiring.is_retired(conn, before)
        assert not await retiring.is_retired(conn, again)
    # The same for every process that loads them, and after every start.
    await load_lists_into(tools.scanning, database, now=START)
    assert tools.scanning.state_digest == again


async def test_another_profile_takes_back_the_one_before_it(tools: AnnounceTools) -> None:
    await attested(tools, 1)
    await attested(tools, 2, profile="image-2")

    assert await announce(replace(tools, profile="image-2")) == 1

    (body,) = await published(tools.database)
    assert (body.scope, body.object) == (Scope.PROFILE, US.profile("image-1"))
    assert body.published == START
    assert await ends(tools.database, 1) == timedelta()
    assert await ends(tools.database, 2) == timedelta(days=1)


async def test_a_stolen_key_is_taken_back_as_of_the_theft_by_the_new_one(tools: AnnounceTools) -> None:
    lost = RetiredKey(key=OLD, expires=START + timedelta(days=30), revoked=START - HOUR)
    identity = replace(US, retired=(lost,))
    await attested(tools, 1)

    # As two processes do that start one after the other.
    assert await announce(replace(tools, identity=identity)) == 1
    assert await announce(replace(tools, identity=identity)) == 0

    (body,) = await published(tools.database)
    assert (body.scope, body.object, body.published) == (Scope.KEY, OLD_ID, START - HOUR)
    assert await ends(tools.database, 1) == timedelta()
    document = identity.build_actor()["assertionMethod"]
    assert isinstance(document, list)
    assert document[1] == {
        "id": OLD_ID,
        "type": "Multikey",
        "controller": US.actor,
        "publicKeyMultibase": OLD.to_multikey(),
        "expires": "2026-12-22T12:00:00Z",
        "revoked": "2026-11-22T11:00:00Z",
    }


async def test_a_key_that_was_only_rotated_is_not_taken_back(tools: AnnounceTools) -> None:
    rotated = RetiredKey(key=OLD, expires=START + timedelta(days=30))

    assert await announce(replace(tools, identity=replace(US, retired=(rotated,)))) == 0


async def test_it_compares_at_the_start_and_whenever_it_is_woken(tools: AnnounceTools) -> None:
    announcer = Announcer(tools)
    await attested(tools, 1, state=tools.scanning.state_digest)
    await change_lists(tools)
    async with asyncio.TaskGroup() as group:
        group.create_task(announcer.run())
        await wait_until(lambda: has(tools, 1), "the first revocation")
        await attested(tools, 2)
        await change_lists(tools, "changed again")
        announcer.wake()
        await wait_until(lambda: has(tools, 2), "the second revocation")
        announcer.stop()


async def has(tools: AnnounceTools, count: int) -> bool | None:
    return len(await published(tools.database)) == count or None
