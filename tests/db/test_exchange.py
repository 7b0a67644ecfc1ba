"""Standings, the mirror, the feed, reliance and alerts keep what they were given, in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from db import alerts, cases, feed, mirror, peer_keys, peering, peers, reliance, standings
from db.alerts import Alert
from db.feed import FeedKind, FeedSpan
from db.mirror import MirroredAttestation
from db.peer_keys import PeerKey
from db.peers import Following, Peer, Tier
from db.standings import StoredStanding

if TYPE_CHECKING:
    from db.pool import Connection, Database

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ACTOR = "https://relay.example/actor"
PROFILE = "https://relay.example/profiles/image-1"
KEY = PeerKey(key_id=f"{ACTOR}#z6Mk", actor=ACTOR, multikey="z6Mk", admitted_at=NOW)
STANDING = StoredStanding(
    actor=ACTOR,
    profile=PROFILE,
    key_id=KEY.key_id,
    tier=Tier.PROBATION,
    log_ratio=-1.5,
    credit=33.25,
    audits=40,
    agreements=39,
    scrutiny=2,
    updated_at=NOW,
)
ATTESTATION = MirroredAttestation(
    id="https://relay.example/attestations/1",
    issuer=ACTOR,
    key_id=KEY.key_id,
    sha256=bytes(32),
    profile=PROFILE,
    state_digest=bytes([1] * 32),
    as_of=NOW,
    published=NOW,
    end_time=NOW + timedelta(days=1),
    received_at=NOW,
    object=b'{"signed": 1}',
)


async def add_peer(conn: Connection) -> None:
    await peers.put_peer(
        conn, Peer(actor=ACTOR, domain="relay.example", tier=Tier.PROBATION, added_at=NOW, updated_at=NOW)
    )


async def note(conn: Connection, number: int, due_at: datetime | None = None) -> int | None:
    return await reliance.note_reliance(
        conn,
        sha256=bytes([number] * 32),
        issuer=ACTOR,
        profile=PROFILE,
        key_id=KEY.key_id,
        attestation_id=ATTESTATION.id,
        url="https://media.example/1.png",
        audit_rate=0.1,
        due_at=due_at,
        now=NOW,
    )


async def test_what_is_found_out_anew_about_a_peer_leaves_follows_cursor_and_alerts(
    database: Database,
) -> None:
    async with database.connection() as conn:
        await add_peer(conn)
        assert await peering.set_they_follow(
            conn, ACTOR, to=Following.ACCEPTED, follow_id="https://relay.example/f/1", now=NOW
        )
        assert await peering.set_we_follow(
            conn, ACTOR, to=Following.ASKED, follow_id="https://us.example/f/9", now=NOW
        )
        assert await peering.set_alerts(conn, ACTOR, categories=["spam"], key=bytes(32), now=NOW)
        assert await peering.set_cursor(conn, ACTOR, expected=None, to=7, now=NOW)
        assert not await peering.set_cursor(conn, ACTOR, expected=None, to=9, now=NOW)

        await add_peer(conn)

        [peer] = await peers.list_peers(conn)
    assert (peer.they_follow, peer.we_follow) == (Following.ACCEPTED, Following.ASKED)
    assert (peer.their_follow, peer.our_follow) == ("https://relay.example/f/1", "https://us.example/f/9")
    assert (peer.feed_cursor, peer.alerts, peer.alert_key) == (7, ("spam",), bytes(32))


async def test_nothing_is_noted_of_somebody_unknown(database: Database) -> None:
    async with database.connection() as conn:
        assert not await peering.set_they_follow(conn, ACTOR, to=Following.ASKED, follow_id="", now=NOW)
        assert not await peering.set_we_follow(conn, ACTOR, to=Following.ASKED, follow_id="", now=NOW)
        assert not await peering.set_alerts(conn, ACTOR, categories=[], key=None, now=NOW)
        assert not await peer_keys.revoke_peer_key(conn, KEY.key_id, since=NOW)


async def test_a_revoked_key_stays_revoked_from_the_earliest_time(database: Database) -> None:
    async with database.connection() as conn:
        await add_peer(conn)
        assert await peer_keys.put_peer_key(conn, KEY)
        assert await peer_keys.revoke_peer_key(conn, KEY.key_id, since=NOW)
        assert await peer_keys.revoke_peer_key(conn, KEY.key_id, since=NOW + timedelta(days=1))

        assert await peer_keys.put_peer_key(conn, replace(KEY, expires_at=NOW + timedelta(days=2)))

        assert await peer_keys.list_peer_keys(conn, ACTOR) == (
            replace(KEY, expires_at=NOW + timedelta(days=2), revoked_at=NOW),
        )


async def test_a_key_id_is_never_taken_over_by_another_key(database: Database) -> None:
    async with database.connection() as conn:
        await add_peer(conn)
        assert await peer_keys.put_peer_key(conn, KEY)

        assert not await peer_keys.put_peer_key(conn, replace(KEY, multikey="z6MkOther"))

        assert await peer_keys.find_peer_key(conn, KEY.key_id) == KEY


async def test_a_standing_comes_back_exactly_and_a_ruling_by_hand_resets_it(database: Database) -> None:
    async with database.transaction() as conn:
        await add_peer(conn)
        assert await standings.find_standing(conn, ACTOR, PROFILE, KEY.key_id) is None
        await standings.put_standing(conn, STANDING)
        assert await standings.lock_standing(conn, ACTOR, PROFILE, KEY.key_id) == STANDING
        assert await standings.list_standings(conn) == (STANDING,)

        assert await standings.set_tiers(conn, ACTOR, to=Tier.QUARANTINED, now=NOW) == 1

        [after] = await standings.list_standings(conn, ACTOR)
    assert (after.tier, after.credit, after.log_ratio, after.audits) == (Tier.QUARANTINED, 0.0, 0.0, 40)


async def test_the_mirror_finds_by_digest_what_has_not_ended_and_keeps_the_first_of_an_id(
    database: Database,
) -> None:
    ended = replace(ATTESTATION, id=f"{ATTESTATION.id}0", end_time=NOW)
    async with database.connection() as conn:
        assert await mirror.put_mirrored(conn, [ATTESTATION, ended]) == 2
        assert await mirror.put_mirrored(conn, [replace(ATTESTATION, object=b"other")]) == 0

        assert await mirror.find_mirrored(conn, bytes(32), now=NOW) == (ATTESTATION,)
        assert await mirror.find_mirrored(conn, bytes([9] * 32), now=NOW) == ()
        assert await mirror.count_mirrored(conn, now=NOW) == {ACTOR: 1}
        assert await mirror.purge_mirrored(conn, before=NOW + timedelta(seconds=1), limit=9) == 1


async def test_what_a_stolen_key_signed_is_deleted_from_the_time_on_that_we_received_it(
    database: Database,
) -> None:
    later = replace(ATTESTATION, id=f"{ATTESTATION.id}1", received_at=NOW + timedelta(hours=1))
    async with database.connection() as conn:
        await mirror.put_mirrored(conn, [ATTESTATION, later])

        assert await mirror.delete_mirrored(conn, issuer=ACTOR, key_id="https://other#k", limit=9) == 0
        removed = await mirror.delete_mirrored(
            conn, issuer=ACTOR, key_id=KEY.key_id, received_from=NOW + timedelta(minutes=1), limit=9
        )

        assert removed == 1
        assert await mirror.find_mirrored(conn, bytes(32), now=NOW) == (ATTESTATION,)


async def test_the_feed_is_read_in_order_and_ordinary_peers_wait_for_the_batch(database: Database) -> None:
    batch = NOW + timedelta(seconds=30)
    async with database.transaction() as conn:
        first = await feed.add(conn, FeedKind.ATTESTATION, [b"a", b"b"], visible_at=batch, now=NOW)
        await feed.add(conn, FeedKind.NOTICE, [b"c"], visible_at=batch, now=NOW, peer="https://else/actor")
    async with database.connection() as conn:

        async def read(cursor: int, visible_at: datetime | None, limit: int = 9) -> list[bytes]:
            items = await feed.read(conn, cursor=cursor, peer=ACTOR, visible_at=visible_at, limit=limit)
            return [item.object for item in items]

        assert await read(0, NOW) == []
        assert await read(0, batch) == [b"a", b"b"]
        assert await read(0, None, limit=1) == [b"a"]
        assert await read(first, None) == [b"b"]
        assert await feed.find_span(conn, visible_at=NOW) == FeedSpan(oldest=1, visible=0, newest=3)
        assert await feed.find_span(conn, visible_at=batch) == FeedSpan(oldest=1, visible=3, newest=3)
        assert await feed.purge_feed(conn, before=batch, limit=9) == 3
        assert await feed.find_span(conn, visible_at=None) == FeedSpan(oldest=4, visible=3, newest=3)


async def test_no_row_of_the_feed_appears_below_one_that_was_read(database: Database) -> None:
    started, may_commit = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with database.transaction() as conn:
            await feed.add(conn, FeedKind.ATTESTATION, [b"slow"], visible_at=NOW, now=NOW)
            started.set()
            await may_commit.wait()

    async def fast() -> None:
        await started.wait()
        async with database.transaction() as conn:
            await feed.add(conn, FeedKind.ATTESTATION, [b"fast"], visible_at=NOW, now=NOW)

    async with asyncio.TaskGroup() as group:
        group.create_task(slow())
        second = group.create_task(fast())
        await started.wait()
        async with database.connection() as conn:
            assert await feed.read(conn, cursor=0, peer=ACTOR, visible_at=None, limit=9) == ()
        assert not second.done()
        may_commit.set()
    async with database.connection() as conn:
        items = await feed.read(conn, cursor=0, peer=ACTOR, visible_at=None, limit=9)
    assert [item.object for item in items] == [b"slow", b"fast"]


async def test_an_audit_that_is_due_is_claimed_once_and_again_when_its_worker_was_lost(
    database: Database,
) -> None:
    lease = timedelta(minutes=1)
    async with database.connection() as conn:
        due = await note(conn, 1, NOW)
        assert due is not None
        assert await note(conn, 1, NOW) is None
        assert await note(conn, 2) is not None

        claimed = await reliance.claim_audit(conn, worker="w", now=NOW, lease_until=NOW + lease)
        assert claimed is not None
        assert claimed.id == due
        assert await reliance.claim_audit(conn, worker="v", now=NOW, lease_until=NOW + lease) is None
        again = await reliance.claim_audit(conn, worker="v", now=NOW + lease, lease_until=NOW + lease + lease)
        assert again is not None
        assert await reliance.finish_audit(conn, due, outcome="agrees", now=NOW)
        assert not await reliance.finish_audit(conn, due, outcome="disagrees", now=NOW)


async def test_after_a_demotion_everything_not_yet_scanned_ourselves_is_due(database: Database) -> None:
    async with database.connection() as conn:
        finished = await note(conn, 1, NOW)
        assert finished is not None
        await note(conn, 2)
        await note(conn, 3, NOW + timedelta(hours=1))
        await reliance.finish_audit(conn, finished, outcome="agrees", now=NOW)

        assert await reliance.rescan_all(conn, issuer="https://else/actor", now=NOW) == 0
        assert await reliance.rescan_all(conn, issuer=ACTOR, now=NOW, key_id=KEY.key_id) == 2

        found = await reliance.find_reliance(conn, bytes([3] * 32))
        assert [(one.due_at, one.audit_rate) for one in found] == [(NOW, 1.0)]
        assert await reliance.purge_reliance(conn, before=NOW + timedelta(seconds=1), limit=9) == 3


async def test_a_warning_is_kept_once_and_counts_by_what_its_case_became(database: Database) -> None:
    warning = Alert(issuer=ACTOR, mac=bytes(32), category="spam", received_at=NOW)
    async with database.connection() as conn:
        assert await alerts.put_alert(conn, warning)
        assert not await alerts.put_alert(conn, warning)
        assert await alerts.find_alerts(conn, [bytes(32), bytes([1] * 32)]) == (warning,)
        case_id = await cases.open_case(
            conn, category="spam", delivery_id=None, sha256=bytes(32), basis="peer", now=NOW
        )
        assert case_id is not None

        await alerts.set_case(conn, ACTOR, bytes(32), case_id=case_id)

        assert await alerts.count_rulings(conn, ACTOR) == {"open": 1}
        assert await alerts.purge_alerts(conn, before=NOW + timedelta(seconds=1), limit=9) == 1
