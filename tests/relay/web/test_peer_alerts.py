"""Peers bring warnings on which both sides agreed, and learn from the answer only that they came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db import alert_hits, media, peering
from db.peers import Tier
from relay.exchange.client import PeerFailure, PeerFailureReason
from signatures.alert import AlertBody, build_alert, seal_digest
from tests.fediverse import FrozenClock
from tests.fediverse.clock import START
from tests.relay.exchange.sides import Sides, open_sides

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.pool import Database

KEY = bytes([3] * 32)
SEEN = bytes([1] * 32)


@pytest.fixture
async def sides(database: Database) -> AsyncIterator[Sides]:
    async with open_sides(database, FrozenClock()) as opened:
        yield opened


async def agree(sides: Sides, *categories: str) -> None:
    async with sides.database.connection() as conn:
        await peering.set_alerts(
            conn, sides.them.actor, categories=categories, key=KEY if categories else None, now=START
        )


def alert(sides: Sides, sha256: bytes = SEEN, *, category: str = "spam") -> bytes:
    return build_alert(
        AlertBody(
            id=f"{sides.them.base_url}/alerts/1",
            issuer=sides.them.actor,
            recipient=sides.us.actor,
            published=START,
            mac=seal_digest(sha256, key=KEY),
            category=category,
        ),
        key=sides.them.signing_key,
        verification_method=sides.them.verification_method,
    )


async def stored(sides: Sides) -> int:
    async with sides.database.connection() as conn:
        return len(await alert_hits.list_pending(conn, limit=10))


async def send(sides: Sides, raw: bytes) -> PeerFailureReason | None:
    failure = await sides.client.send_alert(sides.peer, raw)
    return failure.reason if isinstance(failure, PeerFailure) else None


async def test_a_warning_that_fits_is_answered_like_one_that_does_not(sides: Sides) -> None:
    await agree(sides, "spam")
    async with sides.database.connection() as conn:
        await media.record_media(conn, sha256=SEEN, size=1, media_type=None, now=START)

    assert await send(sides, alert(sides)) is None
    assert await send(sides, alert(sides, bytes(32))) is None
    # The same again is as good as new.
    assert await send(sides, alert(sides)) is None
    assert await stored(sides) == 2


async def test_what_was_not_agreed_on_is_refused(sides: Sides) -> None:
    await agree(sides, "spam")

    assert await send(sides, alert(sides, category="tvec")) is PeerFailureReason.REFUSED
    assert await stored(sides) == 0


@pytest.mark.parametrize("tier", [Tier.QUARANTINED, Tier.UNKNOWN], ids=str)
async def test_a_peer_that_is_not_relied_on_warns_nobody(tier: Tier, sides: Sides) -> None:
    await agree(sides, "spam")
    await sides.promote(tier)

    assert await send(sides, alert(sides)) is PeerFailureReason.REFUSED
    assert await stored(sides) == 0


async def test_without_an_agreement_nobody_is_let_in(sides: Sides) -> None:
    assert await send(sides, alert(sides)) is PeerFailureReason.REFUSED
    assert await stored(sides) == 0


async def test_what_is_no_warning_is_refused(sides: Sides) -> None:
    await agree(sides, "spam")

    assert await send(sides, b"{}") is PeerFailureReason.MALFORMED
    assert await stored(sides) == 0
