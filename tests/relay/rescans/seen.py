"""Media that a relay has let go, by delivery or without one, and lists that come later."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from db import deliveries, media, media_hashes
from db.media import DeliveryMedia
from relay.model import MediaDecision
from relay.stages.gather import Reach
from scanner.hashlist import HashEntry, HashKind, HashList
from scanner.labels import Category
from tests.db.builders import new_delivery
from tests.images import encode, marker

if TYPE_CHECKING:
    from db.media_hashes import MediaHashes
    from db.pool import Database
    from tests.relay.exchange.trusting import Trusting

_BEGINNING = datetime.fromtimestamp(0, tz=UTC)


def draw(number: int) -> bytes:
    return encode(marker(number), "PNG")


async def let_go(relay: Trusting, data: bytes) -> None:
    """Scan bytes, find nothing, and keep their hashes."""
    outcome = await relay.examine(data, reach=Reach.NOWHERE)
    assert outcome.decision is MediaDecision.RELEASE
    relay.clock.advance(timedelta(seconds=1))


async def carry(
    database: Database, digest: bytes, *, audience: str = "public", is_selftest: bool = False
) -> None:
    """Note that a delivery pointed at bytes."""
    new = replace(new_delivery(), audience=audience, is_selftest=is_selftest)
    async with database.transaction() as conn:
        delivery_id = await deliveries.insert_delivery(conn, new)
        assert delivery_id is not None
        row = DeliveryMedia(
            delivery_id=delivery_id,
            ordinal=0,
            url="https://files.example/p.png",
            location="attachment",
            sha256=digest,
            verdict="no-match",
            decision="release",
            category=None,
            failure=None,
        )
        await media.put_delivery_media(conn, delivery_id, [row])


async def use_list(relay: Trusting, *listed: bytes) -> None:
    """Let the scanner have a list that holds exactly these bytes, or none."""
    entries = [HashEntry(kind=HashKind.SHA256, value=one) for one in listed]
    lists = [HashList.of(name="later", version="1", category=Category.SPAM, label="x", entries=entries)]
    await relay.scanning.replace_lists(lists if listed else (), now=relay.clock.now())


async def list_stale(relay: Trusting) -> tuple[MediaHashes, ...]:
    """List what is to be compared with the lists of now."""
    async with relay.database.connection() as conn:
        return await media_hashes.list_stale(
            conn,
            relay.scanning.lists_digest,
            before=(relay.clock.now() + timedelta(days=1), bytes(32)),
            since=_BEGINNING,
            limit=99,
        )
