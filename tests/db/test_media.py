"""Seen media, decisions on references, examinations and verdicts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import deliveries, media, verdicts
from db.media import DeliveryMedia
from db.verdicts import StoredVerdict
from tests.db.builders import LEASE, NOW, new_delivery, sha256

if TYPE_CHECKING:
    from db.pool import Database

SECOND = timedelta(seconds=1)
BYTES = sha256("bytes")

VERDICT = StoredVerdict(
    sha256=BYTES,
    state_digest=sha256("state"),
    verdict="unscannable",
    reason="truncated",
    report={"findings": [{"score": 12, "label": "é"}], "none": None, "large": 2**53},
    scanned_at=NOW,
)


def reference(delivery_id: int, ordinal: int = 0) -> DeliveryMedia:
    return DeliveryMedia(
        delivery_id=delivery_id,
        ordinal=ordinal,
        url=f"https://a.example/{ordinal}.png",
        location="attachment",
        sha256=BYTES,
        verdict="no-match",
        decision="release",
        category=None,
        failure=None,
    )


async def test_seen_media_keeps_its_first_and_last_sight(database: Database) -> None:
    async with database.connection() as conn:
        assert await media.find_media(conn, BYTES) is None
        await media.record_media(conn, sha256=BYTES, size=7, media_type="image/png", now=NOW)
        await media.record_media(conn, sha256=BYTES, size=7, media_type=None, now=NOW + SECOND)
        await media.record_media(conn, sha256=BYTES, size=7, media_type=None, now=NOW)
        seen = await media.find_media(conn, BYTES)
        assert seen is not None
        assert (seen.size, seen.media_type, seen.first_seen, seen.last_seen) == (
            7,
            "image/png",
            NOW,
            NOW + SECOND,
        )
        assert await media.purge_media(conn, before=NOW + SECOND, limit=10) == 0
        assert await media.purge_media(conn, before=NOW + 2 * SECOND, limit=10) == 1


async def test_decisions_are_replaced_as_a_whole(database: Database) -> None:
    async with database.connection() as conn:
        delivery_id = await deliveries.insert_delivery(conn, new_delivery())
        assert delivery_id is not None
        await media.put_delivery_media(conn, delivery_id, [reference(delivery_id, n) for n in range(3)])
        second = [replace(reference(delivery_id), decision="block", category="spam")]
        await media.put_delivery_media(conn, delivery_id, second)
        assert await media.list_delivery_media(conn, delivery_id) == tuple(second)
        assert await media.find_deliveries_with(conn, BYTES, limit=5) == (delivery_id,)
        with pytest.raises(ValueError, match="belong"):
            await media.put_delivery_media(conn, delivery_id, [reference(delivery_id + 1)])


async def test_decisions_go_with_their_delivery(database: Database) -> None:
    async with database.connection() as conn:
        delivery_id = await deliveries.insert_delivery(conn, new_delivery())
        assert delivery_id is not None
        await media.put_delivery_media(conn, delivery_id, [reference(delivery_id)])
        await deliveries.advance(
            conn,
            delivery_id,
            expected=deliveries.DeliveryState.RECEIVED,
            to=deliveries.DeliveryState.DROPPED,
            now=NOW,
        )
        await deliveries.purge_finished(conn, before=NOW + SECOND, limit=1)
        assert await media.list_delivery_media(conn, delivery_id) == ()


async def test_of_concurrent_examiners_one_is_chosen(database: Database) -> None:
    async def claim(worker: str) -> bool:
        async with database.connection() as conn:
            return await media.claim_examination(conn, BYTES, worker=worker, lease=LEASE, now=NOW)

    results = await asyncio.gather(*(claim(f"w{number}") for number in range(8)))
    assert results.count(True) == 1


async def test_an_examination_passes_on_when_its_lease_ends(database: Database) -> None:
    async with database.connection() as conn:

        async def claim(worker: str, now: object) -> bool:
            return await media.claim_examination(conn, BYTES, worker=worker, lease=LEASE, now=now)  # type: ignore[arg-type]

        assert await claim("dead", NOW)
        assert await claim("dead", NOW)
        assert not await claim("next", NOW + LEASE - SECOND)
        assert await claim("next", NOW + LEASE)
        assert not await media.finish_examination(conn, BYTES, worker="dead")
        assert await media.finish_examination(conn, BYTES, worker="next")
        assert not await media.finish_examination(conn, BYTES, worker="next")
        assert await claim("later", NOW)


async def test_the_end_of_an_examination_is_heard(database: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(database.listen(media.EXAMINATIONS_CHANNEL, heard.put_nowait))
        assert await heard.get() == ""
        async with database.connection() as conn:
            await media.claim_examination(conn, BYTES, worker="w", lease=LEASE, now=NOW)
            await media.finish_examination(conn, BYTES, worker="w")
        assert await heard.get() == BYTES.hex()
        task.cancel()


async def test_a_verdict_comes_back_as_it_was_put_for_its_state_alone(database: Database) -> None:
    async with database.connection() as conn:
        await verdicts.put_verdict(conn, VERDICT)
        assert await verdicts.find_verdict(conn, BYTES, VERDICT.state_digest) == VERDICT
        assert await verdicts.find_verdict(conn, BYTES, sha256("other state")) is None
        assert await verdicts.find_verdict(conn, sha256("other bytes"), VERDICT.state_digest) is None


async def test_putting_a_verdict_twice_is_harmless_and_an_older_scan_never_replaces_a_newer(
    database: Database,
) -> None:
    newer = replace(VERDICT, verdict="match", reason=None, scanned_at=NOW + SECOND)
    async with database.connection() as conn:
        for verdict in (VERDICT, VERDICT, newer, VERDICT):
            await verdicts.put_verdict(conn, verdict)
        assert await verdicts.find_verdict(conn, BYTES, VERDICT.state_digest) == newer


async def test_the_latest_verdict_is_found_in_any_state(database: Database) -> None:
    later = replace(VERDICT, state_digest=sha256("later"), scanned_at=NOW + SECOND)
    async with database.connection() as conn:
        assert await verdicts.find_latest(conn, BYTES) is None
        await verdicts.put_verdict(conn, later)
        await verdicts.put_verdict(conn, VERDICT)
        assert await verdicts.find_latest(conn, BYTES) == later
        assert await verdicts.purge_verdicts(conn, before=NOW + SECOND, limit=10) == 1
        assert await verdicts.find_verdict(conn, BYTES, VERDICT.state_digest) is None


async def test_bytes_are_known_as_public_once_a_post_for_everybody_pointed_at_them(
    database: Database,
) -> None:
    async with database.connection() as conn:
        narrow = await deliveries.insert_delivery(conn, replace(new_delivery(1), audience="restricted"))
        assert narrow is not None
        await media.put_delivery_media(conn, narrow, [reference(narrow)])
        assert not await media.was_public(conn, BYTES)
        wide = await deliveries.insert_delivery(conn, new_delivery(2))
        assert wide is not None
        await media.put_delivery_media(conn, wide, [reference(wide)])
        assert await media.was_public(conn, BYTES)
