"""Do to a queue of deliveries, in one connection each, what the tests do again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import deliveries
from db.deliveries import DeliveryState
from tests.db.builders import LEASE, NOW

if TYPE_CHECKING:
    from db.deliveries import NewDelivery, StoredDelivery
    from db.pool import Database


async def insert(database: Database, new: NewDelivery) -> int:
    async with database.connection() as conn:
        stored = await deliveries.insert_delivery(conn, new)
    assert stored is not None
    return stored


async def claim(database: Database, *, worker: str = "w", now: object = NOW) -> StoredDelivery | None:
    async with database.connection() as conn:
        return await deliveries.claim_delivery(conn, worker=worker, lease=LEASE, now=now)  # type: ignore[arg-type]


async def move(
    database: Database, delivery_id: int, expected: DeliveryState, to: DeliveryState, **more: object
) -> bool:
    arguments: dict[str, object] = {"now": NOW, **more}
    async with database.connection() as conn:
        return await deliveries.advance(conn, delivery_id, expected=expected, to=to, **arguments)  # type: ignore[arg-type]


async def finish(database: Database, delivery_id: int, worker: str = "w") -> None:
    assert await move(database, delivery_id, DeliveryState.EXAMINING, DeliveryState.DECIDED, worker=worker)
    async with database.connection() as conn:
        claimed = await deliveries.claim_delivery_by_id(
            conn, delivery_id, worker=worker, lease=LEASE, now=NOW
        )
    assert claimed is not None
    assert await move(database, delivery_id, DeliveryState.FORWARDING, DeliveryState.FORWARDED, worker=worker)
