"""Take on what was found out about another relay, and learn its keys anew when they change.

Keys are only ever added: an old one stays beside the new for the attestations that it signed, with the day on
which its owner ends it. A key that its owner does not show any more ends at once, and one that was revoked
stays so from the earliest time that was ever named.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import peer_keys, peering, peers
from db.peer_keys import PeerKey
from db.peers import Peer, Tier
from relay.exchange.discovery import DiscoveryFailure, DiscoveryReason, fetch_peer
from relay.exchange.groups import guess_trust_group
from relay.exchange.revocations import take_back_key
from relay.tools.gates import Gates

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection, Database
    from relay.clock import Clock
    from relay.exchange.actors import ActorKey, PeerFacts
    from relay.tools.key_directory import DocumentSource

_log = logging.getLogger(__name__)

REFETCH_INTERVAL: Final = timedelta(minutes=10)
"""How often a peer's actor is fetched at the most, so that bad signatures cannot be turned into requests."""

# Every peer is added by hand, and of strangers' no more wait than this.
_MAX_REMEMBERED: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChanges:
    """What was new about a peer's keys.

    Attributes:
        added: Ids of keys that were not known.
        ended: Ids of keys that its owner does not show any more.
        revoked: Ids of keys that were revoked, and were not before.
        is_new_api_key: It signs requests and answers with another key than before.
    """

    added: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
    is_new_api_key: bool = False

    @property
    def is_any(self) -> bool:
        """Tell whether anything changed."""
        return bool(self.added or self.ended or self.revoked or self.is_new_api_key)


def choose_api_key(facts: PeerFacts, *, now: datetime) -> ActorKey | DiscoveryFailure:
    """Choose the key that a relay signs requests and answers with: the first that still holds."""
    for key in facts.api_keys:
        if key.holds(now):
            return key
    return DiscoveryFailure(
        reason=DiscoveryReason.NO_KEY, place=facts.actor, detail="all keys in its authentication have ended"
    )


async def admit_stranger(
    conn: Connection,
    facts: PeerFacts,
    *,
    now: datetime,
    group: str | None = None,
    note: str = "",
) -> Peer | DiscoveryFailure:
    """Store a relay that was not known, as unknown; one that is known keeps its tier and gets its keys anew.

    Args:
        conn: The connection, in a transaction.
        facts: What it says about itself.
        now: The time.
        group: The trust group; guessed from the actor's host, or kept, by default.
        note: The admin's own words.
    """
    api_key = choose_api_key(facts, now=now)
    if isinstance(api_key, DiscoveryFailure):
        return api_key
    known = await peers.lock_peer(conn, facts.actor)
    base = known or Peer(
        actor=facts.actor, domain=facts.domain, tier=Tier.UNKNOWN, added_at=now, updated_at=now
    )
    peer = replace(
        base,
        domain=facts.domain,
        key_id=api_key.key_id,
        multikey=api_key.multikey,
        inbox=facts.inbox,
        api_url=facts.api_url,
        trust_group=group or base.trust_group or guess_trust_group(facts.actor),
        note=note or base.note,
        updated_at=now,
    )
    await peers.put_peer(conn, peer)
    await store_keys(conn, facts, now=now)
    return peer


async def store_keys(conn: Connection, facts: PeerFacts, *, now: datetime) -> KeyChanges:
    """Store the keys that a known peer signs attestations with, and return what is new about them."""
    known = {key.key_id: key for key in await peer_keys.list_peer_keys(conn, facts.actor)}
    shown = {key.key_id: key for key in facts.keys}
    for key in shown.values():
        stored = PeerKey(
            key_id=key.key_id,
            actor=facts.actor,
            multikey=key.multikey,
            admitted_at=now,
            expires_at=key.expires,
            revoked_at=key.revoked,
        )
        if not await peer_keys.put_peer_key(conn, stored):
            # What was signed under this id would verify by one key today and by another tomorrow.
            _log.warning("peer_key_refused peer=%s reason=another_key_under_its_id", facts.domain)
    ended = [old for old in known.values() if old.key_id not in shown and not _has_ended(old, now)]
    for old in ended:
        # What a document does not publish verifies nothing. Should it come back, it holds again.
        await peer_keys.put_peer_key(conn, replace(old, expires_at=now))
    revoked = {
        key.key_id: key.revoked
        for key in shown.values()
        if key.revoked is not None and _is_news(key.revoked, known.get(key.key_id))
    }
    for key_id, since in revoked.items():
        await take_back_key(conn, issuer=facts.actor, key_id=key_id, since=since, now=now)
    return KeyChanges(
        added=tuple(key_id for key_id in shown if key_id not in known),
        ended=tuple(old.key_id for old in ended),
        revoked=tuple(revoked),
    )


def _is_news(revoked: datetime, known: PeerKey | None) -> bool:
    return known is None or known.revoked_at is None or revoked < known.revoked_at


def _has_ended(key: PeerKey, now: datetime) -> bool:
    return key.expires_at is not None and key.expires_at <= now


class PeerRefresher:
    """Fetches the actors of known peers again, each at most once in ten minutes."""

    def __init__(self, *, database: Database, client: DocumentSource, clock: Clock) -> None:
        self._database = database
        self._client = client
        self._clock = clock
        self._fetched: OrderedDict[str, datetime] = OrderedDict()
        self._gates = Gates(1)

    async def __call__(self, actor: str) -> bool:
        """Fetch the keys of a peer again unless that was done a moment ago; tell whether any changed."""
        found = await self.refresh(actor)
        return isinstance(found, KeyChanges) and found.is_any

    async def refresh(self, actor: str) -> KeyChanges | DiscoveryFailure | None:
        """Fetch a peer's actor again, and store what is new; None for no peer, or if that was just done."""
        async with self._gates.enter(actor):
            if not self._is_due(actor):
                return None
            async with self._database.connection() as conn:
                peer = await peers.find_peer(conn, actor)
            if peer is None:
                return None
            self._note(actor)
            facts = await fetch_peer(actor, domain=peer.domain, client=self._client)
            if isinstance(facts, DiscoveryFailure):
                # What was admitted stays: a server that is down for a day has not lost its keys.
                _log.warning("peer_not_refreshed peer=%s reason=%s", peer.domain, facts.reason.value)
                return facts
            return await self._store(facts)

    async def _store(self, facts: PeerFacts) -> KeyChanges | DiscoveryFailure | None:
        now = self._clock.now()
        api_key = choose_api_key(facts, now=now)
        async with self._database.transaction() as conn:
            peer = await peers.lock_peer(conn, facts.actor)
            if peer is None:
                return None
            changes = await store_keys(conn, facts, now=now)
            if isinstance(api_key, DiscoveryFailure):
                return api_key
            await peering.set_addresses(
                conn,
                facts.actor,
                key_id=api_key.key_id,
                multikey=api_key.multikey,
                inbox=facts.inbox,
                api_url=facts.api_url,
                now=now,
            )
        changes = replace(changes, is_new_api_key=api_key.key_id != peer.key_id)
        if changes.is_any:
            _log.info(
                "peer_keys_changed peer=%s added=%d ended=%d revoked=%d",
                peer.domain,
                len(changes.added),
                len(changes.ended),
                len(changes.revoked),
            )
        return changes

    def _is_due(self, actor: str) -> bool:
        fetched = self._fetched.get(actor)
        return fetched is None or self._clock.now() - fetched >= REFETCH_INTERVAL

    def _note(self, actor: str) -> None:
        self._fetched[actor] = self._clock.now()
        self._fetched.move_to_end(actor)
        while len(self._fetched) > _MAX_REMEMBERED:
            self._fetched.popitem(last=False)
