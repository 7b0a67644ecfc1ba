"""Publish signed objects: put them into the feed that peers read.

What is never published is not the publisher's to know: the callers keep back the withheld share, what is not
public, and everything about single items that matched.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from db import feed
from relay.exchange.batches import choose_batch_end

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.feed import FeedKind
    from db.pool import Connection

_chance: Final = secrets.SystemRandom()


async def publish_objects(
    conn: Connection, kind: FeedKind, objects: Sequence[bytes], *, now: datetime, peer: str | None = None
) -> int:
    """Add signed objects to the feed, and return the number of the first.

    Allied peers see them as soon as the transaction has committed, all others at the end of the batch.

    Args:
        conn: Inside of the transaction that stores what the objects speak of; what else it does comes before,
            for from here on other writers of the feed wait for it.
        kind: What they are.
        objects: The signed bytes, at least one.
        now: The time.
        peer: The actor that they are for alone; None for every peer.

    Raises:
        DatabaseError: They were not added.
    """
    visible_at = await feed.take_batch(conn, now=now, next_end=choose_batch_end(now, chance=_chance.random()))
    return await feed.add(conn, kind, objects, visible_at=visible_at, now=now, peer=peer)
