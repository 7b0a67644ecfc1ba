"""Store: commit a delivery before its sender is answered, so that 202 means that it is on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db import deliveries, delivery_lists
from db.delivery_rows import NewDelivery
from relay.tools.urls import is_same_origin

if TYPE_CHECKING:
    from datetime import timedelta

    from db.pool import Database
    from relay.model import Delivery
    from relay.tools.limits import Backlog, FairShare

# What changes or ends an object; everything else may overtake a held delivery without harm.
_FOLLOW_UPS: Final = frozenset({"Update", "Delete", "Undo", "Announce", "Create", "Move"})
_ENDS: Final = frozenset({"Delete"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPolicy:
    """How long and how much is held.

    Attributes:
        budget: How long a delivery may wait for its media: the smaller of the admin's patience and the
            backend's signature window less a margin.
        backlog: How many deliveries are unfinished, and how many may be before new ones are refused.
        fair_share: How much one domain may send in a time.
    """

    budget: timedelta
    backlog: Backlog
    fair_share: FairShare


@dataclass(frozen=True, slots=True, kw_only=True)
class NotStored:
    """The delivery was not stored.

    Attributes:
        is_flood: Because of its own domain's flood, not because of ours.
    """

    is_flood: bool


async def is_queued_behind(delivery: Delivery, *, database: Database) -> bool:
    """Tell whether a delivery must wait for an earlier one of the same object.

    Raises:
        DatabaseUnavailableError: It cannot be known; letting it overtake would break the order.
    """
    activity = delivery.activity
    if activity.type not in _FOLLOW_UPS or not activity.chain_key:
        return False
    async with database.connection() as conn:
        return await delivery_lists.has_unfinished(conn, activity.chain_key)


async def store(
    delivery: Delivery, *, database: Database, hold: HoldPolicy, is_selftest: bool
) -> NotStored | None:
    """Store a delivery durably; the same one twice is stored once.

    A Delete by the object's own origin drops what is still held of that object: nobody needs to rule
    on what its author took back.

    Raises:
        DatabaseUnavailableError: Nothing was stored.
    """
    if not hold.fair_share.admits(delivery_domain(delivery), now=delivery.received_at):
        return NotStored(is_flood=True)
    if hold.backlog.is_full:
        return NotStored(is_flood=False)
    new = _build_new(delivery, hold, is_selftest=is_selftest)
    async with database.transaction() as conn:
        delivery_id = await deliveries.insert_delivery(conn, new)
        if delivery_id is not None and _ends_its_chain(delivery):
            await deliveries.supersede(
                conn,
                chain_key=delivery.activity.chain_key,
                before_id=delivery_id,
                now=delivery.received_at,
            )
    if delivery_id is not None:
        hold.backlog.add(1)
    return None


def delivery_domain(delivery: Delivery) -> str:
    """Name the domain that answers for a delivery: its verified sender's, else its address."""
    if delivery.sender is None:
        return delivery.remote_address
    return delivery.sender.actor.partition("://")[2].partition("/")[0].lower()


def _ends_its_chain(delivery: Delivery) -> bool:
    activity, sender = delivery.activity, delivery.sender
    return (
        activity.type in _ENDS
        and sender is not None
        and bool(activity.chain_key)
        and is_same_origin(sender.actor, activity.chain_key)
    )


def _build_new(delivery: Delivery, hold: HoldPolicy, *, is_selftest: bool) -> NewDelivery:
    message, activity, sender = delivery.message, delivery.activity, delivery.sender
    return NewDelivery(
        activity_id=activity.id,
        activity_type=activity.type,
        actor=activity.actor,
        object_id=activity.object_id,
        chain_key=activity.chain_key,
        inbox=message.target,
        method=message.method,
        scheme=message.scheme,
        authority=message.authority,
        target=message.target,
        headers=message.headers,
        body=message.body,
        body_digest=hashlib.sha256(message.body).digest(),
        sender_actor=None if sender is None else sender.actor,
        sender_key_id=None if sender is None else sender.key_id,
        remote_address=delivery.remote_address,
        audience=activity.audience.value,
        received_at=delivery.received_at,
        hold_until=delivery.received_at + hold.budget,
        is_selftest=is_selftest,
    )
