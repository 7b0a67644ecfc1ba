"""Tell peers whom our audits made us doubt, and hear whom theirs made them doubt.

A doubt names an issuer, a profile and a key, and never an item. Whoever trusts the teller audits all that it
relies on from that issuer for a while: this costs scans and censors nobody. Each teller counts once a day for
an issuer, so that one that cries wolf costs a handful of scans a day.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from db import doubts, standings
from db.feed import FeedKind
from db.peers import Tier
from relay import trust
from relay.exchange.publisher import publish_objects
from relay.tools.ulids import build_ulid
from signatures.doubt import DoubtBody, build_doubt

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection
    from db.standings import StoredStanding
    from relay.tools.identity import Identity
    from signatures.doubt import Doubt

_log = logging.getLogger(__name__)

INTERVAL: Final = timedelta(days=1)
"""How often a teller counts for an issuer."""

_LONGEST_AGE: Final = timedelta(days=2)
"""What is older says how things were: a relay that was away catches up with more than it should act upon."""

_CHANCE_BYTES: Final = 10


class Heard(StrEnum):
    """What followed from a doubt."""

    SCRUTINY = "scrutiny"
    """The issuer is audited more."""
    NOT_TRUSTED = "not_trusted"
    """The teller has not earned that its word counts."""
    TOLD_BEFORE = "told_before"
    """It counted for this issuer a short while ago, or it is old."""
    NOTHING = "nothing"
    """Nothing is relied on from that issuer under that profile and key."""


async def tell_doubt(
    conn: Connection, *, issuer: str, profile: str, key_id: str, identity: Identity, now: datetime
) -> bool:
    """Tell all peers that our own audits make us doubt an issuer; False if it was told within a day.

    The caller owes that they do: what others doubt is theirs to tell.

    Args:
        conn: Inside of the transaction that stores the standing.
        issuer: Whom.
        profile: Under which profile.
        key_id: With which key.
        identity: Who we are.
        now: The time.
    """
    if not await doubts.note_doubt(conn, teller=identity.actor, issuer=issuer, interval=INTERVAL, now=now):
        return False
    name = build_ulid(now, secrets.token_bytes(_CHANCE_BYTES))
    signed = build_doubt(
        DoubtBody(
            id=f"{identity.base_url}/doubts/{name}",
            teller=identity.actor,
            audience=identity.peers_collection,
            published=now.replace(microsecond=0),
            issuer=issuer,
            profile=profile,
            key_id=key_id,
        ),
        key=identity.signing_key,
        verification_method=identity.verification_method,
    )
    await publish_objects(conn, FeedKind.NOTICE, (signed,), now=now)
    _log.warning("peer_doubted issuer=%s", issuer)
    return True


async def heed_doubt(conn: Connection, doubt: Doubt, *, now: datetime) -> Heard:
    """Audit an issuer more because a peer that we trust doubts it.

    The caller owes: `verify_doubt`, now.

    Args:
        conn: The connection, in a transaction.
        doubt: What was verified.
        now: When it was received.
    """
    effect = await _heed(conn, doubt.body, now=now)
    if effect is Heard.SCRUTINY:
        _log.warning("doubt_heard teller=%s issuer=%s", doubt.body.teller, doubt.body.issuer)
    return effect


async def _heed(conn: Connection, body: DoubtBody, *, now: datetime) -> Heard:
    if body.published <= now - _LONGEST_AGE:
        return Heard.TOLD_BEFORE
    # Trust is earned by what it attested itself; there is none that others pass on.
    if not any(
        one.tier in {Tier.TRUSTED, Tier.ALLIED} for one in await standings.list_standings(conn, body.teller)
    ):
        return Heard.NOT_TRUSTED
    found = await standings.lock_standing(conn, body.issuer, body.profile, body.key_id)
    if found is None:
        return Heard.NOTHING
    if not await doubts.note_doubt(conn, teller=body.teller, issuer=body.issuer, interval=INTERVAL, now=now):
        return Heard.TOLD_BEFORE
    await standings.put_standing(conn, _scrutinised(found))
    return Heard.SCRUTINY


def _scrutinised(stored: StoredStanding) -> StoredStanding:
    standing = trust.Standing(
        tier=stored.tier,
        updated_at=stored.updated_at,
        log_ratio=stored.log_ratio,
        credit=stored.credit,
        audits=stored.audits,
        agreements=stored.agreements,
        scrutiny=stored.scrutiny,
    )
    return replace(stored, scrutiny=trust.scrutinise(standing).scrutiny)
