"""Build the values that the tests store."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from db.deliveries import NewDelivery

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
LEASE = timedelta(minutes=1)


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def new_delivery(
    number: int = 1,
    *,
    chain_key: str | None = None,
    activity_id: str | None = None,
    body: bytes | None = None,
    inbox: str = "/inbox",
    received_at: datetime = NOW,
    hold_until: datetime | None = None,
    headers: tuple[tuple[str, str], ...] = (("Host", "relay.example"), ("Digest", "x")),
    target: str | None = None,
) -> NewDelivery:
    content = b'{"type":"Create","n":%d}' % number if body is None else body
    return NewDelivery(
        activity_id=f"https://a.example/activities/{number}" if activity_id is None else activity_id,
        activity_type="Create",
        actor="https://a.example/users/ada",
        object_id=f"https://a.example/notes/{number}",
        chain_key=f"https://a.example/notes/{number}" if chain_key is None else chain_key,
        inbox=inbox,
        method="POST",
        scheme="https",
        authority="relay.example",
        target=inbox if target is None else target,
        headers=headers,
        body=content,
        body_digest=hashlib.sha256(content).digest(),
        sender_actor="https://a.example/users/ada",
        sender_key_id="https://a.example/users/ada#main-key",
        remote_address="192.0.2.1",
        audience="public",
        received_at=received_at,
        hold_until=hold_until,
    )
