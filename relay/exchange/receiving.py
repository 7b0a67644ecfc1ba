"""Take in what other relays' actors send to ours.

What an activity means is decided by its sender, whose signature the door has verified, and by the Follow that
it names. What it says about others counts for nothing, and every activity may come twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from db import peering, peers
from db.peers import Following, Peer, Tier
from relay.exchange.activities import FollowActivity, Verb
from relay.exchange.admission import admit_stranger
from relay.exchange.discovery import DiscoveryFailure, DiscoveryReason, fetch_peer
from relay.exchange.follows import accept_their_follow, note_event
from relay.exchange.groups import guess_trust_group
from relay.tools.limits import FairShare, domain_of

if TYPE_CHECKING:
    from db.pool import Connection, Database
    from relay.clock import Clock
    from relay.exchange.actors import PeerFacts
    from relay.tools.identity import Identity
    from relay.tools.key_directory import DocumentSource

_HOUR: Final = timedelta(hours=1)
# Whoever has one relay asks once. Subdomains and further actors of one domain would else fill the list.
MAX_WAITING_OF_GROUP: Final = 3
# More than an admin will ever look through; `breakwater peers remove` makes room.
MAX_WAITING: Final = 1_000
# An admin who tries things out sends some dozens in a day. Each is an entry of the audit log.
ACTIVITIES_AT_ONCE: Final = 20
ACTIVITIES_PER_SECOND: Final = 1 / 600

APPROVED: Final = frozenset({Tier.PROBATION, Tier.TRUSTED, Tier.ALLIED})
"""The tiers of peers that the admin has approved."""


class Receipt(StrEnum):
    """What became of an activity."""

    TAKEN = "taken"
    IGNORED = "ignored"
    """It changes nothing: it came before, is about another Follow, or comes from a peer in quarantine."""
    NOT_FOR_US = "not_for_us"
    """It asks to follow somebody else."""
    NOT_A_PEER = "not_a_peer"
    """Only peers have anything to accept, reject or undo here."""
    NOT_A_RELAY = "not_a_relay"
    """Its sender does not exchange attestations."""
    UNREACHABLE = "unreachable"
    """Its sender cannot be looked at now."""
    TOO_MANY = "too_many"
    """More strangers ask than an admin can look through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowTools:
    """What follows are received with.

    Attributes:
        identity: Who we are.
        database: Where peers are.
        client: Fetches the actors of strangers that ask.
        clock: The time.
        follows_per_hour: The most strangers that are stored in an hour.
        share: How often one actor may send anything.
    """

    identity: Identity
    database: Database
    client: DocumentSource
    clock: Clock
    follows_per_hour: int
    share: FairShare = field(
        default_factory=lambda: FairShare(per_second=ACTIVITIES_PER_SECOND, burst=ACTIVITIES_AT_ONCE)
    )


async def receive_follow_activity(activity: FollowActivity, *, tools: FollowTools) -> Receipt:
    """Take in an activity whose actor the caller has authenticated.

    Raises:
        DatabaseError: The database does not answer; nothing was changed.
    """
    if not tools.share.admits(activity.actor, now=tools.clock.now()):
        return Receipt.TOO_MANY
    if activity.verb is Verb.FOLLOW:
        return await _receive_follow(activity, tools)
    return await _receive_about_follow(activity, tools)


async def _receive_about_follow(activity: FollowActivity, tools: FollowTools) -> Receipt:
    now = tools.clock.now()
    async with tools.database.transaction() as conn:
        peer = await peers.lock_peer(conn, activity.actor)
        if peer is None:
            return Receipt.NOT_A_PEER
        change = _decide_change(activity, peer)
        if change is None:
            return Receipt.IGNORED
        if activity.verb is Verb.UNDO:
            await peering.set_they_follow(conn, peer.actor, to=change, follow_id="", now=now)
        else:
            await peering.set_we_follow(conn, peer.actor, to=change, follow_id=peer.our_follow, now=now)
        await note_event(conn, peer, _EVENTS[activity.verb], by=peer.actor, now=now)
    return Receipt.TAKEN


_EVENTS: Final = {
    Verb.FOLLOW: "peer_asked",
    Verb.ACCEPT: "peer_accepted_us",
    Verb.REJECT: "peer_rejected_us",
    Verb.UNDO: "peer_unfollowed",
}


def _decide_change(activity: FollowActivity, peer: Peer) -> Following | None:
    """Decide what one of the three activities about a Follow changes; None for nothing."""
    match activity.verb:
        case Verb.FOLLOW:
            return None
        case Verb.UNDO:
            return Following.NO if _is_about(activity, peer.their_follow) else None
        case Verb.REJECT:
            is_on = peer.we_follow is not Following.NO
            return Following.NO if is_on and _is_about(activity, peer.our_follow) else None
        case Verb.ACCEPT:
            is_asked = peer.we_follow is Following.ASKED and peer.tier is not Tier.QUARANTINED
            return Following.ACCEPTED if is_asked and _is_about(activity, peer.our_follow) else None


def _is_about(activity: FollowActivity, follow_id: str) -> bool:
    return bool(follow_id) and activity.object_id == follow_id


async def _receive_follow(activity: FollowActivity, tools: FollowTools) -> Receipt:
    if activity.object_id != tools.identity.actor:
        return Receipt.NOT_FOR_US
    async with tools.database.connection() as conn:
        is_known = await peers.find_peer(conn, activity.actor) is not None
        has_room = is_known or await _has_room(conn, activity.actor, tools)
    if not has_room:
        return Receipt.TOO_MANY
    if is_known:
        return await _store_follow(activity, None, tools)
    found = await fetch_peer(activity.actor, domain=domain_of(activity.actor), client=tools.client)
    if isinstance(found, DiscoveryFailure):
        is_away = found.reason is DiscoveryReason.UNREACHABLE
        return Receipt.UNREACHABLE if is_away else Receipt.NOT_A_RELAY
    return await _store_follow(activity, found, tools)


async def _store_follow(activity: FollowActivity, facts: PeerFacts | None, tools: FollowTools) -> Receipt:
    now = tools.clock.now()
    async with tools.database.transaction() as conn:
        if facts is not None and isinstance(await admit_stranger(conn, facts, now=now), DiscoveryFailure):
            return Receipt.NOT_A_RELAY
        peer = await peers.lock_peer(conn, activity.actor)
        if peer is None or peer.tier is Tier.QUARANTINED:
            return Receipt.IGNORED
        if peer.tier in APPROVED:
            # The admin has approved this relay; that it asks only now makes no difference.
            await accept_their_follow(
                conn, peer, follow_id=activity.id, identity=tools.identity, by=peer.actor, now=now
            )
            return Receipt.TAKEN
        if peer.their_follow == activity.id:
            return Receipt.IGNORED
        await peering.set_they_follow(conn, peer.actor, to=Following.ASKED, follow_id=activity.id, now=now)
        await note_event(conn, peer, _EVENTS[activity.verb], by=peer.actor, now=now)
    return Receipt.TAKEN


async def _has_room(conn: Connection, actor: str, tools: FollowTools) -> bool:
    recent, of_group, waiting = await peering.count_strangers(
        conn, since=tools.clock.now() - _HOUR, trust_group=guess_trust_group(actor)
    )
    return recent < tools.follows_per_hour and of_group < MAX_WAITING_OF_GROUP and waiting < MAX_WAITING
