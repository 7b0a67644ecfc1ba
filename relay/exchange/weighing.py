"""Draw the conclusions from an audit: for the peer's standing, and for what was let go on its word.

Every word about the same bytes is weighed once, however often they are scanned. A peer that is demoted is
demoted as a whole, under all its profiles and keys: whoever lies about one thing is not asked about others.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from db import audit, peers, reliance, standings
from db.peers import Tier
from relay.exchange.standings import APPROVED, build_stored, decide_standing
from relay.trust import Audited, weigh

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from db.peers import Peer
    from db.pool import Connection
    from relay.trust import Standing

_log = logging.getLogger(__name__)

_RELAY: Final = "relay"

_TOO_OFTEN: Final = "its attestations disagree with our scans more often than honest ones do"


class Ground(StrEnum):
    """What the outcome of an audit rests on."""

    SCAN = "scan"
    """What a scan of our own found, or did not."""
    SCORES = "scores"
    """The scores that it had committed to, beside our own of the same model."""
    OPENING = "opening"
    """It opened a commitment as something else than what it had signed."""
    UNOPENED = "unopened"
    """It answers, but did not say in a day what its scanner was, or what it had committed to."""
    CANARY = "canary"
    """It attested a canary of ours that its lists must have known."""


_HARD: Final[Mapping[Ground, str]] = {
    Ground.SCAN: "it attested what its own lists hold",
    Ground.OPENING: "it opened a commitment as something else than what it had signed",
    Ground.CANARY: "it attested a canary of ours, which its own lists hold: it signs without looking",
}


def explain_demotion(audited: Audited, ground: Ground) -> str:
    """Say why a peer went into quarantine, in words that go on after "because"."""
    if audited is Audited.CONTRADICTS:
        return _HARD.get(ground, _HARD[Ground.SCAN])
    if ground is Ground.SCORES:
        return f"{_TOO_OFTEN}; at last its scores were others than ours of the same model"
    if ground is Ground.UNOPENED:
        return f"{_TOO_OFTEN}; at last it did not open what it had committed to"
    return _TOO_OFTEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Whose word was given about some bytes, and under what.

    Attributes:
        sha256: The digest of the bytes, 32 bytes.
        issuer: The peer.
        profile: The profile.
        key_id: The key.
        attestation_id: The attestation.
    """

    sha256: bytes
    issuer: str
    profile: str
    key_id: str
    attestation_id: str


class OnDoubt(Protocol):
    """Told at the end of the transaction in which our own audits make a peer doubtful."""

    async def __call__(  # noqa: D102 (the class says it)
        self, conn: Connection, *, issuer: str, profile: str, key_id: str, now: datetime
    ) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What came of an audit.

    Attributes:
        standing: Where the peer stands by now.
        is_demoted: It went into quarantine with this audit.
        rescans: What had been let go on its word and is now due for a scan of our own.
    """

    standing: Standing
    is_demoted: bool = False
    rescans: int = 0


async def weigh_audit(
    conn: Connection,
    given: Given,
    audited: Audited,
    *,
    now: datetime,
    ground: Ground = Ground.SCAN,
    on_doubt: OnDoubt | None = None,
) -> Weighed | None:
    """Note what a scan of our own says about a peer's word, and move its standing.

    None where the word was weighed before, or is that of a peer whose word is not weighed.

    Args:
        conn: The connection, in a transaction.
        given: Whose word about what.
        audited: What was found.
        now: The time.
        ground: What that rests on.
        on_doubt: Told if the peer becomes doubtful.

    Raises:
        DatabaseError: Nothing was noted.
    """
    # The peer first, as everywhere: two audits of one peer wait for each other here.
    peer = await peers.lock_peer(conn, given.issuer)
    if peer is None or peer.tier not in APPROVED:
        return None
    is_new = await reliance.note_audited(
        conn,
        sha256=given.sha256,
        issuer=given.issuer,
        profile=given.profile,
        key_id=given.key_id,
        attestation_id=given.attestation_id,
        outcome=audited.value,
        ground=ground.value,
        now=now,
    )
    if not is_new:
        return None
    stored = await standings.lock_standing(conn, given.issuer, given.profile, given.key_id)
    before = decide_standing(peer, stored, now=now)
    if before.tier not in APPROVED:
        return None
    after = weigh(before, audited, now=now)
    if after == before and stored is not None:
        return Weighed(standing=after)
    await standings.put_standing(
        conn, build_stored(after, actor=given.issuer, profile=given.profile, key_id=given.key_id)
    )
    rescans = 0
    if after.tier is Tier.QUARANTINED:
        rescans = await demote(conn, peer, explain_demotion(audited, ground), now=now)
    elif after.tier is Tier.TRUSTED and before.tier is Tier.PROBATION:
        await _promote(conn, peer, now=now)
    if after.is_in_doubt and not before.is_in_doubt and on_doubt is not None:
        # At the end: other writers of the feed wait for what is published in a transaction.
        await on_doubt(conn, issuer=given.issuer, profile=given.profile, key_id=given.key_id, now=now)
    return Weighed(standing=after, is_demoted=after.tier is Tier.QUARANTINED, rescans=rescans)


async def demote(conn: Connection, peer: Peer, reason: str, *, now: datetime) -> int:
    """Put a peer in quarantine, with all its profiles and keys; return how much is scanned again for it.

    The caller owes: the peer's row is locked.

    Args:
        conn: The connection, in a transaction.
        peer: As it is stored.
        reason: Why, in words for the admin that go on after "because".
        now: The time.
    """
    await peers.set_tier(conn, peer.actor, expected=peer.tier, to=Tier.QUARANTINED, now=now)
    await standings.set_tiers(conn, peer.actor, to=Tier.QUARANTINED, now=now)
    # After the standings: whoever relies on the peer holds the lock of one, and its row is seen from here.
    rescans = await reliance.rescan_all(conn, issuer=peer.actor, now=now)
    await audit.append(
        conn,
        at=now,
        actor=_RELAY,
        event="peer_quarantined",
        detail={
            "peer": peer.domain,
            "from": peer.tier.value,
            "to": Tier.QUARANTINED.value,
            "reason": reason,
            "rescans": rescans,
        },
    )
    _log.error(
        "peer_quarantined peer=%s rescans=%d: %s. Nothing that it attests counts any more, and what was let "
        "go on its word is scanned again. See `breakwater peers show %s`.",
        peer.domain,
        rescans,
        reason,
        peer.domain,
    )
    return rescans


async def _promote(conn: Connection, peer: Peer, *, now: datetime) -> None:
    """Note that a peer's word spares scans from now on."""
    if peer.tier is Tier.PROBATION:
        await peers.set_tier(conn, peer.actor, expected=peer.tier, to=Tier.TRUSTED, now=now)
    await audit.append(conn, at=now, actor=_RELAY, event="peer_trusted", detail={"peer": peer.domain})
    _log.info("peer_trusted peer=%s", peer.domain)
