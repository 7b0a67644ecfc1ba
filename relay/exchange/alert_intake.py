"""Take in a peer's warning. Whoever sends one learns that it arrived, and nothing else.

The proof: the peer that asks is the one that signed the warning; it is for us and recent; both admins agreed
on its category; the peer does not warn of everything; and our own moderators mostly found it right. What
follows, if any bytes of ours fit, is in `relay.exchange.alerts`.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from db import alert_hits, alerts
from db.alerts import Alert
from db.peers import Tier
from relay.exchange.alerts import is_suspended
from relay.exchange.intake import Rejected
from relay.exchange.issuers import receive_object
from signatures.alert import parse_alert, verify_alert

if TYPE_CHECKING:
    from datetime import datetime

    from db.peers import Peer
    from db.pool import Database
    from relay.exchange.intake import Refetch

_log = logging.getLogger(__name__)

LONGEST_AGE: Final = timedelta(days=7)
"""Senders give up after three days."""

MAX_A_DAY: Final = 1_000
"""The pilot of the design found 80 matches in 26 weeks of eight services; a list of digests is a million."""

_DAY: Final = timedelta(days=1)


class AlertReceipt(StrEnum):
    """What became of a warning."""

    TAKEN = "taken"
    """It is stored, or was before, or is not listened to: the sender is told no more than that it came."""
    REFUSED = "refused"
    """It is no warning of this peer to us that can be verified."""
    NOT_AGREED = "not_agreed"
    """The admins did not agree on warnings of this category."""
    TOO_MANY = "too_many"
    """The peer warns of more than anybody can look at."""


def may_warn(peer: Peer) -> bool:
    """Tell whether warnings are exchanged with a peer at all."""
    return (
        bool(peer.alerts)
        and peer.alert_key is not None
        and peer.tier
        not in {
            Tier.UNKNOWN,
            Tier.QUARANTINED,
        }
    )


async def receive_alert(
    raw: bytes,
    *,
    peer: Peer,
    recipient: str,
    database: Database,
    now: datetime,
    refetch: Refetch | None = None,
    allow_http: bool = False,
) -> AlertReceipt:
    """Verify and store a warning.

    Args:
        raw: The bytes as received.
        peer: Who sent them, as its request proved.
        recipient: Our own actor.
        database: Where warnings are.
        now: When it came.
        refetch: Called once where the peer may have new keys.
        allow_http: Admit peers without TLS, in test set-ups.

    Raises:
        DatabaseError: It was not stored.
    """
    found = await receive_object(
        raw,
        parse=parse_alert,
        verify=verify_alert,
        database=database,
        now=now,
        refetch=refetch,
        allow_http=allow_http,
    )
    if isinstance(found, Rejected):
        _log.warning("alert_refused peer=%s reason=%s", peer.domain, found.reason.value)
        return AlertReceipt.REFUSED
    body = found.body
    if body.issuer != peer.actor or body.recipient != recipient or body.published <= now - LONGEST_AGE:
        return AlertReceipt.REFUSED
    if not may_warn(peer) or body.category not in peer.alerts:
        return AlertReceipt.NOT_AGREED
    alert = Alert(issuer=peer.actor, mac=body.mac, category=body.category, received_at=now)
    async with database.transaction() as conn:
        if is_suspended(await alerts.count_rulings(conn, peer.actor)):
            dropped = await alert_hits.drop_unmatched(conn, peer.actor)
            _log.warning("alerts_suspended peer=%s dropped=%d", peer.domain, dropped)
            return AlertReceipt.TAKEN
        if await alert_hits.count_received(conn, peer.actor, since=now - _DAY) >= MAX_A_DAY:
            return AlertReceipt.TOO_MANY
        await alerts.put_alert(conn, alert)
    return AlertReceipt.TAKEN
