"""Answer where a peer goes on in our feed: a page at a time, waiting for one if there is nothing yet.

Allied peers see a row as soon as it is committed. All others see it at the end of its batch, and until then
nothing tells them of it: no page, no cursor, no error, no answer that comes earlier than others.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from db import feed
from db.feed import FeedKind
from db.peers import Tier
from relay.exchange.client import MAX_PAGE
from relay.exchange.taken_back import tell_taken_back

if TYPE_CHECKING:
    from datetime import datetime

    from db.feed import FeedItem
    from db.peers import Peer
    from db.pool import Database
    from relay.clock import Clock

# So far the clocks of two replicas may be apart without one calling what the other gave a future cursor.
_SKEW: Final = timedelta(seconds=5)
# What is visible at the end of a batch is not there a moment before it.
_AFTER_END: Final = timedelta(milliseconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the feed.

    Attributes:
        cursor: Where to go on from.
        items: In their order; what was for other peers is left out.
        oldest: The oldest number retained, where the cursor was older still; else None.
    """

    cursor: int
    items: tuple[FeedItem, ...]
    oldest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FutureCursor:
    """The cursor is beyond everything that the peer can have seen."""


Turned: TypeAlias = Page | FutureCursor


class FeedBell:
    """Wakes everybody who waits for something new, in all processes that share the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def stopping(self) -> asyncio.Event:
        """What is set when nobody is to wait any more."""
        return self._stopping

    def listen(self) -> asyncio.Event:
        """Return what is set at the next ring; take it before looking, so that nothing is missed."""
        return self._next

    def ring(self, _payload: str = "") -> None:
        """Wake everybody."""
        rung, self._next = self._next, asyncio.Event()
        rung.set()

    def stop(self) -> None:
        """Send everybody home."""
        self._stopping.set()
        self.ring()

    async def run(self) -> None:
        """Ring whenever something was added to the feed, until stopped."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._database.listen(feed.CHANNEL, self.ring))
            await self._stopping.wait()
            listening.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedDesk:
    """Hands out pages of the feed."""

    database: Database
    clock: Clock
    bell: FeedBell

    async def turn(self, peer: Peer, *, cursor: int | None, wait: timedelta) -> Turned:
        """Return what comes after a cursor, or nothing after having waited for it.

        Args:
            peer: Who asks.
            cursor: The last number that it has; None for where the feed is now.
            wait: How long to wait for something new.

        Raises:
            DatabaseError: The database does not answer.
        """
        turned = await self._turn(peer, cursor=cursor, wait=wait)
        return turned if isinstance(turned, FutureCursor) else await self._leave_out_taken_back(turned)

    async def _leave_out_taken_back(self, page: Page) -> Page:
        """Leave out what nobody who reads it now could rely on; the cursor moves on past it."""
        known = [one for one in page.items if one.kind is FeedKind.ATTESTATION]
        taken_back = await tell_taken_back([one.object for one in known], database=self.database)
        gone = {one.seq for one, is_gone in zip(known, taken_back, strict=True) if is_gone}
        return replace(page, items=tuple(one for one in page.items if one.seq not in gone))

    async def _turn(self, peer: Peer, *, cursor: int | None, wait: timedelta) -> Turned:
        ends_at = self.clock.monotonic() + wait.total_seconds()
        while True:
            rung = self.bell.listen()
            turned, next_visible = await self._look(peer, cursor)
            if isinstance(turned, FutureCursor) or turned.items or turned.oldest is not None:
                return turned
            left = ends_at - self.clock.monotonic()
            if cursor is None or left <= 0 or self.bell.stopping.is_set():
                return turned
            if next_visible is None:
                await _wait(rung, left)
            else:
                # Whatever else is added meanwhile is of the same batch or a later one.
                until_end = next_visible - self.clock.now() + _AFTER_END
                await _wait(self.bell.stopping, min(left, until_end.total_seconds()))

    async def _look(self, peer: Peer, cursor: int | None) -> tuple[Turned, datetime | None]:
        """Return the page that there is now, and when there will be more of what was added already."""
        now = self.clock.now()
        visible_at = None if peer.tier is Tier.ALLIED else now
        async with self.database.connection() as conn:
            # Before the rows are read: whatever this counts has been committed then.
            span = await feed.find_span(conn, visible_at=visible_at)
            if cursor is None:
                return Page(cursor=span.visible, items=()), None
            if cursor > span.visible:
                reach = await feed.find_span(conn, visible_at=visible_at and now + _SKEW)
                if cursor > reach.visible:
                    return FutureCursor(), None
            is_outdated = 0 < cursor < span.oldest - 1
            begin = span.oldest - 1 if is_outdated else cursor
            items = await feed.read(
                conn, cursor=begin, peer=peer.actor, visible_at=visible_at, limit=MAX_PAGE
            )
            next_visible = None
            if not items and visible_at is not None:
                next_visible = await feed.find_next_visible(conn, cursor=begin, peer=peer.actor, now=now)
        last = items[-1].seq if items else begin
        return (
            Page(
                cursor=last if len(items) == MAX_PAGE else max(last, span.visible),
                items=items,
                oldest=span.oldest if is_outdated else None,
            ),
            next_visible,
        )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0)):
            await event.wait()
