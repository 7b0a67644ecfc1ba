"""Keep house: end what was held for long enough, forget what is over, and count what waits.

Everything here may run twice, at any time, and in several relays at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from db import (
    acquaintances,
    alerts,
    attestations,
    cases,
    commitments,
    delivery_lists,
    doubts,
    errands,
    feed,
    keys,
    media,
    media_hashes,
    mirror,
    noisy,
    peer_states,
    reliance,
    retiring,
    service_usage,
    verdicts,
    whereabouts,
)
from relay.lifecycle import FINAL, GIVE_UP_AFTER, State, move
from relay.model import INLINE, MediaDecision
from relay.tools.limits import share_of
from relay.tools.noise import WINDOW
from signatures.attestation_verify import MAX_LIFE

if TYPE_CHECKING:
    from datetime import datetime

    from db.delivery_rows import DeliverySummary
    from db.pool import Connection, Database
    from relay.tools.limits import Backlog
    from relay.tools.spool import Spool

_log = logging.getLogger(__name__)

_BATCH: Final = 500
# More than any relay finishes between two rounds; what is left is for the next one.
_MAX_BATCHES: Final = 100


class _Purge(Protocol):
    """What forgets rows that are older than a time."""

    async def __call__(self, conn: Connection, *, before: datetime, limit: int) -> int: ...


# A finished delivery tells duplicates, answers an admin's question, and says where media lies that a later
# list holds; its body is of no more use. What is known of bytes, and the keys of actors, outlive the month in
# which a post is seen again and again. An attestation that has ended is kept for a day more, for clocks that
# are off.
_PURGES: Final[tuple[tuple[_Purge, timedelta], ...]] = (
    (delivery_lists.erase_bodies, timedelta(hours=1)),
    (delivery_lists.purge_finished, timedelta(days=30)),
    (verdicts.purge_verdicts, timedelta(days=30)),
    (media.purge_media, timedelta(days=30)),
    (noisy.purge_near, WINDOW),
    (media_hashes.purge_hashes, timedelta(days=30)),
    (keys.purge_keys, timedelta(days=30)),
    (attestations.purge_attestations, timedelta(days=1)),
    (mirror.purge_mirrored, timedelta(days=1)),
    # Until the last audit of what was relied on at its end: an hour's delay, and a day of patience.
    (commitments.purge_commitments, timedelta(days=2)),
    # The longest life of an attestation: for so long it may have to be made up for.
    (reliance.purge_reliance, MAX_LIFE),
    (peer_states.purge_peer_states, MAX_LIFE),
    (retiring.purge_revocations, MAX_LIFE + timedelta(days=1)),
    # For so long a peer is judged by what its warnings came to.
    (alerts.purge_alerts, timedelta(days=90)),
    (doubts.purge_doubts, timedelta(days=30)),
    # Whom nobody has heard of for a season is new again.
    (acquaintances.purge_acquaintances, timedelta(days=90)),
    # A year's bill can be compared with what was counted.
    (service_usage.purge_usage, timedelta(days=400)),
    (errands.purge_errands, timedelta(days=30)),
    (whereabouts.purge_sightings, timedelta(days=30)),
)


async def end_holds(*, database: Database, enforces_media: bool, now: datetime) -> None:
    """End the holding of deliveries whose budget is over.

    With a media door the text goes through and its media stay withheld there. Without one, or where what
    was found travels in the text, the delivery stays held for a ruling, and is given up, visibly, when
    nobody ruled in time.

    Raises:
        DatabaseError: Some were not ended; the next round does.
    """
    async with database.connection() as conn:
        due = await delivery_lists.due_holds(conn, now=now, limit=_BATCH)
    for summary in due:
        # One transaction each: each locks a chain, and whoever locked several could be in another's way.
        async with database.transaction() as conn:
            await _end_hold(conn, summary, enforces_media=enforces_media, now=now)


async def _end_hold(
    conn: Connection, summary: DeliverySummary, *, enforces_media: bool, now: datetime
) -> None:
    rows = await media.list_delivery_media(conn, summary.id)
    has_inline = any(row.url == INLINE and row.decision != MediaDecision.RELEASE for row in rows)
    if enforces_media and not has_inline and summary.reason != "too_many_references":
        await move(conn, summary.id, expected=State.HELD, to=State.DECIDED, now=now, reason="budget_over")
    elif now >= summary.queued_at + GIVE_UP_AFTER:
        is_ended = await move(
            conn,
            summary.id,
            expected=State.HELD,
            to=State.DEAD,
            now=now,
            reason="never_ruled",
            # A dead letter keeps its body for a replay, but withheld bytes are not kept beyond their time.
            erase_body=has_inline,
        )
        if is_ended:
            await cases.expire_cases(conn, delivery_id=summary.id, now=now)
            _log.error("dead_letter delivery=%d reason=never_ruled", summary.id)


async def forget(
    *, database: Database, spool: Spool, withheld_kept: timedelta, feed_kept: timedelta, now: datetime
) -> None:
    """Forget what was kept for its time: sealed bytes, bodies, finished deliveries, the feed.

    Raises:
        DatabaseError: Some rows were not forgotten; the next round does.
    """
    try:
        await asyncio.to_thread(spool.purge_expired, now=now, max_age=withheld_kept)
    except OSError as error:
        _log.error("spool_not_purged error=%s", type(error).__name__)
    async with database.connection() as conn:
        for purge, kept in (*_PURGES, (feed.purge_feed, feed_kept)):
            for _ in range(_MAX_BATCHES):
                if await purge(conn, before=now - kept, limit=_BATCH) < _BATCH:
                    break


async def count_backlog(*, database: Database, backlog: Backlog) -> dict[State, int]:
    """Count the deliveries in every state, and set the backlog right.

    Raises:
        DatabaseError: They could not be counted.
    """
    by_domain: Counter[str] | None = None
    backlog.start_recount()
    async with database.connection() as conn:
        counts = await delivery_lists.count_by_state(conn)
        unfinished = {state: count for state, count in counts.items() if state not in FINAL}
        if backlog.is_worth_a_recount:
            by_domain = Counter()
            for state in unfinished:
                found = await delivery_lists.list_deliveries(conn, state, backlog.limit)
                by_domain.update(share_of(one.sender_actor) for one in found)
    backlog.set(sum(unfinished.values()), by_domain=by_domain)
    return counts
