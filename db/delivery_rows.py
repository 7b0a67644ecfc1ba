"""The rows of deliveries, and how their values are made fit for columns."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    RECEIVED = "received"
    EXAMINING = "examining"
    HELD = "held"
    DECIDED = "decided"
    FORWARDING = "forwarding"
    FORWARDED = "forwarded"
    DROPPED = "dropped"
    DEAD = "dead"


WORKING_STATES: Final = frozenset({DeliveryState.EXAMINING, DeliveryState.FORWARDING})
FINISHED_STATES: Final = frozenset({DeliveryState.FORWARDED, DeliveryState.DROPPED, DeliveryState.DEAD})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A delivery as it arrived.

    Attributes:
        activity_id: The activity's id; empty where it has none.
        activity_type: Its type.
        actor: The actor it names; not necessarily the sender.
        object_id: The object acted upon.
        chain_key: The object whose deliveries stay in order; empty for a delivery that belongs to no chain.
        inbox: The raw request target, as far as it tells deliveries of one activity apart.
        method: The request method.
        scheme: http or https.
        authority: The Host of the request.
        target: The raw origin-form request target.
        headers: Names and values as received, in order; they may hold surrogate escapes.
        body: The octets of the request body.
        body_digest: Their SHA-256, 32 bytes.
        sender_actor: The actor whose key verified; None if none did.
        sender_key_id: The id of that key.
        remote_address: Where the request came from.
        audience: public or restricted.
        received_at: When it arrived.
        hold_until: When the budget for holding ends.
        is_selftest: The relay sent it to itself.
    """

    activity_id: str
    activity_type: str
    actor: str
    object_id: str
    chain_key: str
    inbox: str
    method: str
    scheme: str
    authority: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    body_digest: bytes
    sender_actor: str | None
    sender_key_id: str | None
    remote_address: str
    audience: str
    received_at: datetime
    hold_until: datetime | None = None
    is_selftest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery(NewDelivery):
    """A delivery with where it stands.

    U+0000 and lone surrogates in the descriptive texts have become U+FFFD; the request (method, scheme,
    authority, target, headers, body) is exact.

    Attributes:
        id: Rises with arrival.
        state: Where it stands.
        worker: Who works on it; None if nobody does.
        due_at: When it is looked at next; while it is worked on, when the lease ends.
        attempts: How many leases were lost in this phase.
        retries: How many times it was put back in this phase.
        reason: Why it stands where it stands.
        updated_at: When it last moved.
        finished_at: When it was forwarded, dropped or given up.
        replayed_at: When a person last brought it back after it was given up; None if nobody did.
    """

    id: int
    state: DeliveryState
    worker: str | None
    due_at: datetime
    attempts: int
    retries: int
    reason: str | None
    updated_at: datetime
    finished_at: datetime | None
    replayed_at: datetime | None = None

    @property
    def queued_at(self) -> datetime:
        """When its time in the queue began: when it came in, or was last replayed."""
        return self.replayed_at or self.received_at


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySummary:
    """What a list shows of a delivery."""

    id: int
    state: DeliveryState
    activity_type: str
    actor: str
    object_id: str
    chain_key: str
    inbox: str
    sender_actor: str | None
    audience: str
    attempts: int
    retries: int
    reason: str | None
    is_selftest: bool
    has_body: bool
    received_at: datetime
    due_at: datetime
    hold_until: datetime | None
    updated_at: datetime
    finished_at: datetime | None
    replayed_at: datetime | None

    @property
    def queued_at(self) -> datetime:
        """When its time in the queue began: when it came in, or was last replayed."""
        return self.replayed_at or self.received_at


def build_stored_delivery(row: asyncpg.Record) -> StoredDelivery:
    """Build the value from a row."""
    values = dict(row)
    head = json.loads(values.pop("head"))
    values["state"] = DeliveryState(str(values["state"]))
    return StoredDelivery(
        method=head["method"],
        scheme=head["scheme"],
        authority=head["authority"],
        target=head["target"],
        headers=tuple((name, value) for name, value in head["headers"]),
        **values,
    )


def build_summary(row: asyncpg.Record) -> DeliverySummary:
    """Build the value from a row."""
    values = dict(row)
    values["state"] = DeliveryState(str(values["state"]))
    return DeliverySummary(**values)


def encode_head(new: NewDelivery) -> bytes:
    """Encode the head of a request; JSON in ASCII keeps U+0000 and surrogate escapes."""
    head = {
        "method": new.method,
        "scheme": new.scheme,
        "authority": new.authority,
        "target": new.target,
        "headers": new.headers,
    }
    return json.dumps(head, separators=(",", ":")).encode("ascii")


def identity_of(new: NewDelivery) -> bytes:
    """Return the 32 bytes by which a second copy of a delivery is known."""
    texts = [text.encode("utf-8", "surrogatepass") for text in (new.activity_id, new.inbox)]
    parts = (texts[0], new.body_digest, texts[1])
    # Each part is preceded by its length, so that no two triples read the same.
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def chain_number(chain_key: str) -> int | None:
    """Return the signed 64-bit number under which a chain is locked and indexed; None for no chain."""
    if not chain_key:
        return None
    digest = hashlib.sha256(chain_key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def storable(text: str) -> str:
    """Replace what a text column cannot hold: U+0000 and lone surrogates."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
