"""Store: commit a delivery before its sender is answered, so that 202 means that it is on disk.

Two things tell deliveries apart and put them in order, and both are only as good as their sender. A copy
by somebody who does not speak for its actor never stands for the actor's own delivery, and what a stranger
sends about an object never stands in the way of what its own server sends.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db import cases, deliveries, delivery_lists
from db.delivery_rows import NewDelivery
from relay.tools.limits import domain_of, share_of
from relay.tools.urls import is_same_origin
from signatures.errors import SignatureError
from signatures.http import fresh_until

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from db.pool import Connection, Database
    from relay.model import Delivery, Sender
    from relay.tools.limits import Backlog, FairShare

# What changes or ends an object; everything else may overtake a held delivery without harm.
_FOLLOW_UPS: Final = frozenset({"Update", "Delete", "Undo", "Announce", "Create", "Move"})
_ENDS: Final = frozenset({"Delete"})

# Where signatures stand. Source: RFC 9421, 4.1 and 4.2; draft-cavage-http-signatures-12, 4.1.
_SIGNATURES: Final = frozenset({"signature", "signature-input"})

# The chain of what nobody has verified yet. A space keeps it apart from every id.
_UNVERIFIED_CHAIN: Final = "unverified "


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPolicy:
    """How long and how much is held.

    Attributes:
        budget: How long a delivery may wait for its media: the smaller of the admin's patience and the
            backend's signature window less a margin.
        window: That window. It counts from the signing, and a sender's queue may have taken long.
        backlog: How many deliveries are unfinished, and how many may be before new ones are refused.
        fair_share: How much one domain may send in a time.
    """

    budget: timedelta
    window: timedelta
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
    """Tell whether a delivery must wait for an earlier one of the same object, or end it.

    Raises:
        DatabaseUnavailableError: It cannot be known; letting it overtake would break the order.
    """
    activity = delivery.activity
    if activity.type not in _FOLLOW_UPS or not activity.chain_key:
        return False
    async with database.connection() as conn:
        for chain_key in _chains_of(delivery):
            if await delivery_lists.has_unfinished(conn, chain_key):
                return True
            # A Delete that went past a dead letter would leave it there to be brought back.
            if _ends_its_chain(delivery) and await delivery_lists.has_dead(conn, chain_key):
                return True
    return False


async def store(
    delivery: Delivery, *, database: Database, hold: HoldPolicy, is_selftest: bool
) -> NotStored | None:
    """Store a delivery durably; the same one twice is stored once.

    A Delete by the object's own origin drops what is still held of that object, and its dead letters.
    Cases in which nothing was found are closed with it: there is nothing to rule on any more. What was
    found stays a case, for its bytes may come back, and to delete it must not be a way out of it.

    Raises:
        DatabaseUnavailableError: Nothing was stored.
        DatabaseError: It was refused; nothing was stored.
    """
    if not hold.fair_share.admits(delivery_domain(delivery), now=delivery.received_at):
        return NotStored(is_flood=True)
    if hold.backlog.is_full:
        return NotStored(is_flood=False)
    share = share_of(None if delivery.sender is None else delivery.sender.actor)
    if not hold.backlog.has_room_for(share):
        return NotStored(is_flood=True)
    async with database.transaction() as conn:
        chain_key = await _choose_chain(conn, delivery)
        delivery_id = await deliveries.insert_delivery(
            conn, _build_new(delivery, hold, chain_key=chain_key, is_selftest=is_selftest)
        )
        if delivery_id is not None and _ends_its_chain(delivery):
            for ended in (chain_key, f"{_UNVERIFIED_CHAIN}{chain_key}"):
                superseded = await deliveries.supersede(
                    conn, chain_key=ended, before_id=delivery_id, now=delivery.received_at
                )
                for one in superseded:
                    await cases.expire_unexamined(conn, delivery_id=one, now=delivery.received_at)
    if delivery_id is not None:
        hold.backlog.add(1, domain=share)
    return None


def _chains_of(delivery: Delivery) -> tuple[str, ...]:
    """List the chains that a delivery may belong to, the likeliest first.

    An object's own chain is for its own server, and for whatever holds nobody up because there is nothing
    to examine in it. Others have a chain of their own for each object, in which a community's announced
    Create, Update and Delete keep their order.
    """
    key, sender = delivery.activity.chain_key, delivery.sender
    if not key:
        return ("",)
    if sender is None:
        return (f"{_UNVERIFIED_CHAIN}{key}",)
    if is_same_origin(sender.actor, key):
        return (key,)
    own = f"{domain_of(sender.actor)} {key}"
    return (own,) if delivery.activity.points_at_something else (own, key)


async def _choose_chain(conn: Connection, delivery: Delivery) -> str:
    """Choose the chain that is under way, else the first."""
    chains = _chains_of(delivery)
    if len(chains) > 1:
        for chain_key in chains:
            if await delivery_lists.has_unfinished(conn, chain_key):
                return chain_key
    return chains[0]


def delivery_domain(delivery: Delivery) -> str:
    """Name the domain that answers for a delivery: its verified sender's, else its address."""
    if delivery.sender is None:
        return delivery.remote_address
    return domain_of(delivery.sender.actor)


def _ends_its_chain(delivery: Delivery) -> bool:
    activity, sender = delivery.activity, delivery.sender
    return (
        activity.type in _ENDS
        and sender is not None
        and bool(activity.chain_key)
        and is_same_origin(sender.actor, activity.chain_key)
    )


def _identify_inbox(delivery: Delivery) -> str:
    """Say what, beside id and body, tells one delivery from another.

    For a delivery by a server that speaks for its actor that is the inbox alone. Whoever merely has the
    same bytes must not make the actor's own delivery look like a second one, so a copy counts as that of
    its sender, and one that nobody has verified as that of its signature.
    """
    target, sender = delivery.message.target, delivery.sender
    if sender is None:
        signatures = [value for name, value in delivery.message.headers if name.lower() in _SIGNATURES]
        return f"{target} signed {hashlib.sha256(repr(signatures).encode()).hexdigest()}"
    return target if _speaks_for_its_actor(sender, delivery) else f"{target} from {sender.actor}"


def _speaks_for_its_actor(sender: Sender, delivery: Delivery) -> bool:
    return is_same_origin(sender.actor, delivery.activity.actor)


def _end_of_budget(delivery: Delivery, hold: HoldPolicy) -> datetime:
    """Return when a delivery has to go on without its media."""
    end = delivery.received_at + hold.budget
    try:
        return min(end, fresh_until(delivery.message, max_age=hold.window))
    except SignatureError:
        return end


def _build_new(delivery: Delivery, hold: HoldPolicy, *, chain_key: str, is_selftest: bool) -> NewDelivery:
    message, activity, sender = delivery.message, delivery.activity, delivery.sender
    return NewDelivery(
        activity_id=activity.id,
        activity_type=activity.type,
        actor=activity.actor,
        object_id=activity.object_id,
        chain_key=chain_key,
        inbox=_identify_inbox(delivery),
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
        hold_until=_end_of_budget(delivery, hold),
        is_selftest=is_selftest,
    )
