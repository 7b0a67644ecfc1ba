"""What was let go on a peer's word is noted once, audited once, and made up for when it has to be."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from db import peer_states, peers, reliance
from db.peers import Peer, Tier
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from db.pool import Database

BYTES: Final = bytes(32)
ALPHA: Final = "https://relay.alpha.example/actor"
HOUR: Final = timedelta(hours=1)


async def _note(
    database: Database, *, word: str = "first", due: bool = False, is_renewal: bool = False
) -> int | None:
    note = reliance.renew_reliance if is_renewal else reliance.note_reliance
    async with database.connection() as conn:
        return await note(
            conn,
            sha256=BYTES,
            issuer=ALPHA,
            profile="p",
            key_id="k",
            attestation_id=word,
            url="https://files.example/p.png",
            audit_rate=0.1,
            due_at=START + HOUR if due else None,
            now=START,
        )


async def _audited(database: Database, outcome: str = "agrees") -> bool:
    async with database.connection() as conn:
        return await reliance.note_audited(
            conn,
            sha256=BYTES,
            issuer=ALPHA,
            profile="p",
            key_id="k",
            attestation_id="first",
            outcome=outcome,
            now=START,
        )


async def test_a_word_about_some_bytes_is_weighed_once_whether_it_was_relied_on_or_not(
    database: Database,
) -> None:
    assert await _audited(database)
    assert not await _audited(database, "disagrees")
    async with database.connection() as conn:
        assert await reliance.count_outcomes(conn, ALPHA) == {"agrees": 1}


async def test_an_audit_ends_what_was_relied_on(database: Database) -> None:
    assert await _note(database, due=True) is not None
    assert await _audited(database)
    async with database.connection() as conn:
        assert await reliance.next_audit(conn) is None
        assert await reliance.rescan_all(conn, issuer=ALPHA, now=START) == 0


async def test_only_a_new_word_is_noted_after_the_first_was_audited(database: Database) -> None:
    await _note(database)
    assert await _note(database, word="second", is_renewal=True) is None
    await _audited(database)
    assert await _note(database, is_renewal=True) is None
    assert await _note(database, word="second", due=True, is_renewal=True) is not None
    async with database.connection() as conn:
        (noted,) = await reliance.find_reliance(conn, BYTES)
        assert (noted.attestation_id, noted.due_at) == ("second", START + HOUR)
        assert await reliance.next_audit(conn) == START + HOUR


@pytest.mark.parametrize("due", [False, True])
async def test_what_turns_out_to_be_found_is_due_at_once(due: bool, database: Database) -> None:  # noqa: FBT001 (a parameter of pytest)
    await _note(database, due=due)
    async with database.connection() as conn:
        assert await reliance.make_due(conn, BYTES, now=START) == 1
        assert await reliance.make_due(conn, bytes([1] * 32), now=START) == 0
        assert await reliance.next_audit(conn) == START


async def test_an_audit_that_is_put_off_comes_back(database: Database) -> None:
    noted = await _note(database, due=True)
    assert noted is not None
    async with database.connection() as conn:
        assert await reliance.put_off(conn, noted, until=START + 2 * HOUR)
        claimed = await reliance.claim_audit(
            conn, worker="one", now=START + HOUR, lease_until=START + 3 * HOUR
        )
        assert claimed is None
        assert await reliance.next_audit(conn) == START + 2 * HOUR
    await _audited(database)
    async with database.connection() as conn:
        assert not await reliance.put_off(conn, noted, until=START)


async def _add(database: Database, tier: Tier) -> None:
    async with database.connection() as conn:
        peer = Peer(actor=f"https://{tier}.example", domain=tier, tier=tier, added_at=START, updated_at=START)
        await peers.put_peer(conn, peer)


async def test_those_whose_word_is_weighed_are_those_whom_the_admin_approved(database: Database) -> None:
    for tier in Tier:
        await _add(database, tier)
    async with database.connection() as conn:
        assert {one.tier for one in await peers.list_approved(conn)} == {
            Tier.PROBATION,
            Tier.TRUSTED,
            Tier.ALLIED,
        }


async def test_what_a_peer_says_of_its_scanner_is_kept_for_it_alone_and_goes_with_it(
    database: Database,
) -> None:
    actors = [f"https://{tier}.example" for tier in (Tier.TRUSTED, Tier.ALLIED)]
    await _add(database, Tier.TRUSTED)
    await _add(database, Tier.ALLIED)
    async with database.connection() as conn:
        for number, actor in enumerate(actors):
            document = {"format": number, "detectors": []}
            await peer_states.put_peer_state(
                conn, actor, state_digest=BYTES, document=document, now=START + number * HOUR
            )
        assert await peer_states.find_peer_state(conn, actors[0], BYTES) == {"format": 0, "detectors": []}
        assert await peer_states.purge_peer_states(conn, before=START + HOUR, limit=10) == 1
        assert await peer_states.find_peer_state(conn, actors[0], BYTES) is None
        await peers.delete_peer(conn, actors[1])
        assert await peer_states.find_peer_state(conn, actors[1], BYTES) is None
