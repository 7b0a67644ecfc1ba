"""Read the feeds of the peers that we follow, into the mirror.

Each peer is read by a task of its own, page after page, from where the last one ended: the cursor moves in
the transaction that stores the page, so that nothing is lost or stored twice, whatever stops in between and
however many replicas read. A peer that is away is asked again, ever less often, and read on from the same
place.

What a feed brings is believed about its own peer only, and at that only after `relay.exchange.intake`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from db import mirror, peering, peers
from db.errors import DatabaseError
from db.feed import FeedKind
from db.mirror import MirroredAttestation
from db.peers import Following, Tier
from relay.exchange.client import MAX_PAGE, MAX_WAIT_S, PeerFailure, PeerFailureReason
from relay.exchange.equivocators import hold_against_issuers
from relay.exchange.intake import admit_page
from relay.exchange.quota import Quota
from relay.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from db.feed import FeedItem
    from db.peers import Peer
    from db.pool import Connection, Database
    from relay.clock import Clock
    from relay.exchange.client import FeedPage, PeerClient
    from relay.exchange.intake import Refetch
    from relay.exchange.weighing import OnDoubt

_log = logging.getLogger(__name__)

# An admin who approves a peer sees its feed being read within this time.
_LOOK_EVERY: Final = timedelta(seconds=15)
_FIRST_PAUSE: Final = timedelta(seconds=1)
LONGEST_PAUSE: Final = timedelta(minutes=5)
"""How long a peer that is away is left alone at the most."""
# Beyond the longest pause, and short of numbers that no timedelta holds.
_MOST_DOUBLINGS: Final = 16
# A peer that does not wait as it was asked to is not asked more often than this.
_LEAST_TURN: Final = timedelta(seconds=1)
# What comes beyond the quota is not kept; to be sent it slowly is enough.
_PAUSE_OVER_QUOTA: Final = timedelta(seconds=10)


class Hook(Protocol):
    """What verifies the revocations and notices of a feed, and says what is to be done about each."""

    async def __call__(  # noqa: D102
        self, peer: Peer, item: FeedItem, *, now: datetime
    ) -> Callable[[Connection], Awaitable[object]] | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderTools:
    """What feeds are read with.

    Attributes:
        database: Where peers and the mirror are.
        client: Asks the peers.
        clock: The time.
        refresh: Fetches the keys of a peer again.
        take: Verifies revocations and notices, perhaps several times; what it returns is done in the
            transaction that moves the cursor on past them. What is wrong with one is for it to report: it
            raises only to be called again.
        on_doubt: Told when a peer proves by its own signatures that it is not to be believed.
        allow_http: Admit issuers without TLS, in test set-ups.
        metrics: Counts what is read, and shows how far behind it is.
    """

    database: Database
    client: PeerClient
    clock: Clock
    refresh: Refetch
    take: Hook
    on_doubt: OnDoubt | None = None
    allow_http: bool = False
    metrics: Metrics = field(default_factory=Metrics)


class FeedReader:
    """Reads the feeds of all peers that we follow."""

    def __init__(self, tools: ReaderTools, *, quota: Quota | None = None) -> None:
        self._tools = tools
        self._quota = quota or Quota(tools.database)
        self._stopping = asyncio.Event()
        self._reading: dict[str, asyncio.Task[None]] = {}

    def stop(self) -> None:
        """Read nothing more; a page that is just being stored is read again."""
        self._stopping.set()

    async def run(self) -> None:
        """Read until stopped."""
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look(group))
            await self._stopping.wait()
            looking.cancel()
            for reading in self._reading.values():
                reading.cancel()

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """Begin to read whoever is followed and not read yet."""
        while True:
            try:
                async with self._tools.database.connection() as conn:
                    known = await peers.list_peers(conn)
            except DatabaseError as error:
                _log.error("peers_not_listed error=%s", type(error).__name__)
                known = ()
            self._show_lag(known)
            for peer in known:
                reading = self._reading.get(peer.actor)
                if is_read(peer) and (reading is None or reading.done()):
                    self._reading[peer.actor] = group.create_task(self._read(peer.actor))
            await asyncio.sleep(_LOOK_EVERY.total_seconds())

    def _show_lag(self, known: Sequence[Peer]) -> None:
        now = self._tools.clock.now()
        # One whose first page has not come yet lags since it was added.
        lags = [now - (peer.feed_read_at or peer.added_at) for peer in known if is_read(peer)]
        longest = max(lags, default=timedelta())
        self._tools.metrics.set_feeds(followed=len(lags), lag_seconds=longest.total_seconds())

    async def _read(self, actor: str) -> None:
        """Read one peer until it is not followed any more."""
        failures = 0
        while True:
            began = self._tools.clock.monotonic()
            try:
                turn = await self.read_page(actor, wait_s=MAX_WAIT_S)
            except DatabaseError as error:
                _log.error("feed_not_read error=%s", type(error).__name__)
                turn = Turn(pause=_FIRST_PAUSE, is_failure=True)
            except Exception as error:  # noqa: BLE001 (one peer's feed must not stop the reading of others)
                _log.error("feed_not_read error=%s", type(error).__name__)
                turn = Turn(pause=LONGEST_PAUSE, is_failure=True)
            if turn is None:
                return
            failures = failures + 1 if turn.is_failure else 0
            pause = max(turn.pause, decide_pause(failures)) if turn.is_failure else turn.pause
            if not turn.is_more:
                pause = max(pause, _LEAST_TURN - timedelta(seconds=self._tools.clock.monotonic() - began))
            if pause > timedelta():
                await asyncio.sleep(pause.total_seconds())

    async def read_page(self, actor: str, *, wait_s: int) -> Turn | None:
        """Read the next page of a peer's feed; None if it is not followed.

        Args:
            actor: The peer.
            wait_s: How long it is to wait until there is something.

        Raises:
            DatabaseError: Nothing of the page was stored.
        """
        async with self._tools.database.connection() as conn:
            peer = await peers.find_peer(conn, actor)
        if peer is None or not is_read(peer):
            return None
        page = await self._tools.client.feed(peer, peer.feed_cursor or 0, wait_s)
        if isinstance(page, PeerFailure):
            return await self._fail(peer, page)
        if page.oldest is not None:
            _log.warning("feed_gap peer=%s from=%s to=%d", peer.domain, peer.feed_cursor, page.oldest - 1)
        return await self._store(peer, page)

    async def _store(self, peer: Peer, page: FeedPage) -> Turn:
        now = self._tools.clock.now()
        effects = [
            await self._tools.take(peer, item, now=now)
            for item in page.items
            if item.kind is not FeedKind.ATTESTATION
        ]
        raws = [item.object for item in page.items if item.kind is FeedKind.ATTESTATION]
        room = await self._quota.find_room(peer.actor, now=now)
        admitted = await self._admit(peer, raws[:room], now=now)
        async with self._tools.database.transaction() as conn:
            is_ours = await peering.set_cursor(
                conn, peer.actor, expected=peer.feed_cursor, to=page.cursor, now=now
            )
            if not is_ours:
                # Another replica has read this page.
                return Turn(is_more=len(page.items) == MAX_PAGE)
            await mirror.put_mirrored(conn, admitted)
            for effect in effects:
                if effect is not None:
                    await effect(conn)
        self._tools.metrics.count_feed_items(kept=len(admitted), left_out=len(raws) - len(admitted))
        self._quota.note(peer.actor, seen=len(raws[:room]), kept=len(admitted), now=now)
        if room < len(raws):
            _log.warning("feed_over_quota peer=%s left_out=%d", peer.domain, len(raws) - room)
            return Turn(pause=_PAUSE_OVER_QUOTA, left_out=len(raws) - len(admitted))
        return Turn(is_more=len(page.items) == MAX_PAGE, left_out=len(raws) - len(admitted))

    async def _admit(self, peer: Peer, raws: Sequence[bytes], *, now: datetime) -> list[MirroredAttestation]:
        if not raws:
            return []
        found = await admit_page(
            raws,
            database=self._tools.database,
            now=now,
            refetch=self._tools.refresh,
            allow_http=self._tools.allow_http,
        )
        await hold_against_issuers(
            found, database=self._tools.database, now=now, on_doubt=self._tools.on_doubt
        )
        # A peer speaks in its feed for itself alone; what others attest is read in theirs.
        admitted = [one for one in found if isinstance(one, MirroredAttestation) and one.issuer == peer.actor]
        if len(admitted) < len(raws):
            _log.warning("feed_items_rejected peer=%s count=%d", peer.domain, len(raws) - len(admitted))
        return admitted

    async def _fail(self, peer: Peer, failure: PeerFailure) -> Turn:
        _log.warning("feed_not_answered peer=%s reason=%s", peer.domain, failure.reason.value)
        match failure.reason:
            case PeerFailureReason.UNVERIFIED | PeerFailureReason.REFUSED:
                if await self._tools.refresh(peer.actor):
                    return Turn(is_more=True)
            case PeerFailureReason.FUTURE_CURSOR:
                # It lost a part of its past. What it has now is read from its beginning; what is known of it
                # already stays as it is.
                now = self._tools.clock.now()
                _log.warning("feed_gap peer=%s from=%s to=0", peer.domain, peer.feed_cursor)
                async with self._tools.database.connection() as conn:
                    await peering.set_cursor(conn, peer.actor, expected=peer.feed_cursor, to=0, now=now)
                    await peering.note_loss(conn, peer.actor, now=now)
            case _:
                pass
        return Turn(is_failure=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What became of one page.

    Attributes:
        pause: How long to leave the peer alone at least.
        is_more: There is surely more to read at once.
        is_failure: Nothing was read; the pause grows with each in a row.
        left_out: How many attestations were not kept: not admitted, or beyond the quota.
    """

    pause: timedelta = timedelta()
    is_more: bool = False
    is_failure: bool = False
    left_out: int = 0


def is_read(peer: Peer) -> bool:
    """Tell whether a peer's feed is read: it accepted our Follow, and is not in quarantine."""
    return peer.we_follow is Following.ACCEPTED and peer.tier is not Tier.QUARANTINED


def decide_pause(failures: int) -> timedelta:
    """Decide how long to leave a peer alone after so many failures in a row, more or less by chance."""
    pause = min(_FIRST_PAUSE * (1 << min(failures, _MOST_DOUBLINGS)), LONGEST_PAUSE)
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 (nobody gains by foreseeing it)
