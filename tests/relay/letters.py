"""Signed requests and stored deliveries of them, built without a door or a database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from db.delivery_rows import DeliveryState, StoredDelivery
from signatures.http import Scheme, sign_request
from signatures.message import RequestMessage
from tests.fediverse.actors import rsa_key
from tests.fediverse.clock import START
from tests.relay.stages.parts import ALICE

if TYPE_CHECKING:
    from datetime import datetime

MINUTE = timedelta(minutes=1)


def build_signed(
    body: bytes, *, signed_at: datetime = START, scheme: Scheme = Scheme.CAVAGE
) -> RequestMessage:
    return sign_request(
        RequestMessage(
            method="POST",
            scheme="https",
            authority="instance.example",
            target="/inbox",
            headers=(("Content-Type", "application/activity+json"),),
            body=body,
        ),
        key=rsa_key(0),
        key_id=f"{ALICE}#main-key",
        scheme=scheme,
        now=signed_at,
    )


def build_stored(message: RequestMessage, *, sender: str | None = ALICE) -> StoredDelivery:
    return StoredDelivery(
        activity_id="",
        activity_type="",
        actor=ALICE,
        object_id="",
        chain_key="",
        inbox="/inbox",
        method=message.method,
        scheme=message.scheme,
        authority=message.authority,
        target=message.target,
        headers=message.headers,
        body=message.body,
        body_digest=bytes(32),
        sender_actor=sender,
        sender_key_id=None,
        remote_address="192.0.2.7",
        audience="public",
        received_at=START + 10 * MINUTE,
        id=1,
        state=DeliveryState.FORWARDING,
        worker="w",
        due_at=START,
        attempts=0,
        retries=0,
        reason=None,
        updated_at=START,
        finished_at=None,
    )
