"""The feed and the mirror are kept for as long as anything in them holds, and no longer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from db import feed, mirror
from db.feed import FeedKind
from db.mirror import MirroredAttestation
from relay.exchange.publisher import publish_objects
from relay.stages.house import forget
from relay.tools.spool import open_spool
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from pathlib import Path

    from db.pool import Database

KEPT = timedelta(days=8)
LIFE = timedelta(days=7)


async def test_what_can_hold_no_more_is_forgotten(database: Database, tmp_path: Path) -> None:
    async with database.transaction() as conn:
        await publish_objects(conn, FeedKind.ATTESTATION, [b"{}"], now=START)
        mirrored = MirroredAttestation(
            id="https://peer.example/1",
            issuer="https://peer.example/actor",
            key_id="https://peer.example/actor#k",
            sha256=bytes(32),
            profile="https://peer.example/p",
            state_digest=bytes(32),
            as_of=START,
            published=START,
            end_time=START + LIFE,
            received_at=START,
            object=b"{}",
        )
        await mirror.put_mirrored(conn, [mirrored])

    async def count_after(gap: timedelta) -> tuple[int, int]:
        await forget(
            database=database,
            spool=open_spool(tmp_path / "spool", max_bytes=1),
            withheld_kept=timedelta(hours=1),
            feed_kept=KEPT,
            now=START + gap,
        )
        async with database.connection() as conn:
            span = await feed.find_span(conn, visible_at=None)
            return span.newest + 1 - span.oldest, await mirror.count_all(conn, limit=9)

    assert await count_after(KEPT) == (1, 1)
    assert await count_after(KEPT + timedelta(seconds=1)) == (0, 0)
