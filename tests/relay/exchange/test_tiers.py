"""What the admin decides about a peer is done whole, told to the peer where it must know, and audited."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from db import audit, peer_keys, peer_outbox, peering, peers, reliance, standings
from db.peers import Following, Peer, Tier
from db.standings import StoredStanding
from relay.exchange import tiers
from relay.exchange.admission import admit_stranger
from relay.exchange.tiers import TierError
from tests.fediverse.clock import START
from tests.relay.exchange.neighbours import Neighbour, build_identity

if TYPE_CHECKING:
    from db.pool import Database
    from relay.tools.fetching import GuardedClient

US = build_identity("https://us.example/breakwater", 9)
PROFILE = "https://peer.example/profiles/image-1"


@pytest.fixture
async def peer(neighbour: Neighbour, client: GuardedClient, database: Database) -> Peer:
    """A stranger that has asked to follow."""
    async with database.transaction() as conn:
        admitted = await admit_stranger(conn, await neighbour.find(client), now=START)
        assert isinstance(admitted, Peer)
        await peering.set_they_follow(
            conn, admitted.actor, to=Following.ASKED, follow_id=f"{admitted.actor}/f/1", now=START
        )
    return admitted


async def measure(database: Database, peer: Peer, tier: Tier, **changes: Any) -> None:
    given = {"log_ratio": -1.0, "credit": 50.0, "audits": 60, "agreements": 60, "scrutiny": 0, **changes}
    standing = StoredStanding(
        actor=peer.actor, profile=PROFILE, key_id="k", tier=tier, updated_at=START, **given
    )
    async with database.connection() as conn:
        await standings.put_standing(conn, standing)


async def rely(database: Database, peer: Peer, number: int) -> None:
    async with database.connection() as conn:
        await reliance.note_reliance(
            conn,
            sha256=bytes([number] * 32),
            issuer=peer.actor,
            profile=PROFILE,
            key_id="k",
            attestation_id=f"{peer.actor}/{number}",
            url="",
            audit_rate=0.1,
            due_at=None,
            now=START,
        )


async def get(database: Database, peer: Peer) -> Peer:
    async with database.connection() as conn:
        found = await peers.find_peer(conn, peer.actor)
    assert found is not None
    return found


async def letters(database: Database) -> list[dict[str, Any]]:
    async with database.connection() as conn:
        return [json.loads(one.body) for one in await peer_outbox.list_letters(conn)]


async def audited(database: Database) -> list[tuple[str, str, dict[str, Any]]]:
    async with database.connection() as conn:
        entries = await audit.list_entries(conn, limit=20)
        assert await audit.verify_chain(conn) == len(entries)
    return [(one.actor, one.event, one.detail) for one in reversed(entries)]


async def approve(database: Database, peer: Peer, **more: Any) -> tiers.Decision:
    return await tiers.approve(database, peer.actor, identity=US, by="mo", now=START, **more)


async def test_approving_accepts_asks_and_begins_to_measure(database: Database, peer: Peer) -> None:
    done = await approve(database, peer)
    assert (done.peer.tier, done.accepted, done.asked) == (Tier.PROBATION, True, True)
    stored = await get(database, peer)
    assert (stored.they_follow, stored.we_follow) == (Following.ACCEPTED, Following.ASKED)
    accept, follow = await letters(database)
    assert (accept["type"], accept["object"]["id"]) == ("Accept", f"{peer.actor}/f/1")
    assert accept["object"] == {
        "id": f"{peer.actor}/f/1",
        "type": "Follow",
        "actor": peer.actor,
        "object": US.actor,
    }
    assert (follow["type"], follow["object"], follow["id"]) == ("Follow", peer.actor, stored.our_follow)
    domain = peer.domain
    assert await audited(database) == [
        ("mo", "peer_approved", {"peer": domain, "from": "unknown", "to": "probation"}),
        ("mo", "peer_follow_accepted", {"peer": domain}),
    ]


async def test_approving_twice_changes_nothing_more(database: Database, peer: Peer) -> None:
    await approve(database, peer)
    again = await approve(database, peer)
    assert (again.accepted, again.asked) == (False, False)
    assert len(await letters(database)) == 2
    assert len(await audited(database)) == 2


async def test_approving_again_does_not_take_back_what_was_earned(database: Database, peer: Peer) -> None:
    await approve(database, peer)
    async with database.connection() as conn:
        await peers.set_tier(conn, peer.actor, expected=Tier.PROBATION, to=Tier.TRUSTED, now=START)
    await measure(database, peer, Tier.TRUSTED)
    assert (await approve(database, peer)).peer.tier is Tier.TRUSTED
    async with database.connection() as conn:
        [standing] = await standings.list_standings(conn, peer.actor)
    assert standing.credit == 50.0


async def test_a_peer_can_be_served_without_reading_it(database: Database, peer: Peer) -> None:
    assert not (await approve(database, peer, follows_back=False)).asked
    assert [one["type"] for one in await letters(database)] == ["Accept"]


async def test_an_ally_is_approved_as_one_and_still_has_to_earn_its_credit(
    database: Database, peer: Peer
) -> None:
    await measure(database, peer, Tier.PROBATION)
    assert (await approve(database, peer, is_ally=True)).peer.tier is Tier.ALLIED
    async with database.connection() as conn:
        [standing] = await standings.list_standings(conn, peer.actor)
    assert (standing.tier, standing.credit) == (Tier.ALLIED, 0.0)


async def test_quarantine_ends_all_reliance_and_scans_again(database: Database, peer: Peer) -> None:
    await approve(database, peer)
    await measure(database, peer, Tier.TRUSTED)
    for number in range(3):
        await rely(database, peer, number)
    later = START + timedelta(hours=1)
    done = await tiers.quarantine(database, peer.actor, reason="it lied", by="mo", now=later)
    assert (done.peer.tier, done.rescans) == (Tier.QUARANTINED, 3)
    async with database.connection() as conn:
        [standing] = await standings.list_standings(conn, peer.actor)
        claimed = await reliance.claim_audit(conn, worker="w", now=later, lease_until=later)
    assert (standing.tier, standing.credit) == (Tier.QUARANTINED, 0.0)
    assert claimed is not None
    assert (await audited(database))[-1] == (
        "mo",
        "peer_quarantined",
        {"peer": peer.domain, "from": "probation", "to": "quarantined", "reason": "it lied"},
    )
    with pytest.raises(TierError, match="already"):
        await tiers.quarantine(database, peer.actor, reason="again", by="mo", now=later)
    with pytest.raises(TierError, match="breakwater peers reinstate"):
        await approve(database, peer)


async def test_reinstating_means_probation_with_no_credit(database: Database, peer: Peer) -> None:
    await measure(database, peer, Tier.TRUSTED)
    await tiers.quarantine(database, peer.actor, reason="", by="mo", now=START)
    done = await tiers.reinstate(database, peer.actor, by="mo", now=START)
    assert done.peer.tier is Tier.PROBATION
    async with database.connection() as conn:
        [standing] = await standings.list_standings(conn, peer.actor)
    assert (standing.tier, standing.credit, standing.log_ratio) == (Tier.PROBATION, 0.0, 0.0)
    assert (standing.audits, standing.agreements) == (60, 60)
    with pytest.raises(TierError, match="not in quarantine"):
        await tiers.reinstate(database, peer.actor, by="mo", now=START)


async def test_what_audits_put_into_quarantine_can_be_reinstated_too(database: Database, peer: Peer) -> None:
    await approve(database, peer)
    await measure(database, peer, Tier.QUARANTINED)
    await tiers.reinstate(database, peer.actor, by="mo", now=START)
    async with database.connection() as conn:
        [standing] = await standings.list_standings(conn, peer.actor)
    assert standing.tier is Tier.PROBATION


async def test_removing_says_farewell_and_forgets(database: Database, peer: Peer) -> None:
    await approve(database, peer)
    our_follow = (await get(database, peer)).our_follow
    await measure(database, peer, Tier.TRUSTED)
    await rely(database, peer, 1)
    done = await tiers.remove(database, peer.actor, identity=US, by="mo", now=START)
    assert done.rescans == 1
    undo, reject = await letters(database)
    assert (undo["type"], undo["object"]["id"]) == ("Undo", our_follow)
    assert (reject["type"], reject["object"]["id"]) == ("Reject", f"{peer.actor}/f/1")
    async with database.connection() as conn:
        assert await peers.list_peers(conn) == ()
        assert await peer_keys.list_peer_keys(conn, peer.actor) == ()
        assert await standings.list_standings(conn, peer.actor) == ()
    with pytest.raises(TierError, match="not known"):
        await tiers.remove(database, peer.actor, identity=US, by="mo", now=START)


async def test_alerts_need_a_key_and_are_audited_without_it(database: Database, peer: Peer) -> None:
    with pytest.raises(ValueError, match="key"):
        await tiers.set_alerts(database, peer.actor, categories=["spam"], key=None, by="mo", now=START)
    await tiers.set_alerts(
        database, peer.actor, categories=["spam", "malware"], key=bytes(32), by="mo", now=START
    )
    stored = await get(database, peer)
    assert (stored.alerts, stored.alert_key) == (("malware", "spam"), bytes(32))
    [(_, event, detail)] = await audited(database)
    assert (event, detail) == ("peer_alerts_set", {"peer": peer.domain, "categories": ["malware", "spam"]})
