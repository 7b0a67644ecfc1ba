"""What the admin decides about a peer: take it on, rely on it, put it aside, forget it. All of it is audited.

    unknown ──approve──► probation ──(100 audits agree)──► trusted
        any ──approve, as an ally──► allied          any ──quarantine──► quarantined ──reinstate──► probation

The tier of a peer is the admin's word about it as a whole. How far its word spares a scan is measured for
each of its profiles and keys (`db.standings`); where the admin moves the tier, those start anew from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db import audit, peer_outbox, peering, peers, reliance, standings
from db.peers import Following, Peer, Tier
from relay.errors import BreakwaterError
from relay.exchange.follows import accept_their_follow, ask_to_follow, reject_their_follow, undo_our_follow
from relay.exchange.receiving import APPROVED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection, Database
    from relay.tools.identity import Identity

_REASON_CHARACTERS: Final = 500


class TierError(BreakwaterError):
    """There is no such peer, or it does not stand where this can be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an admin's decision brought about.

    Attributes:
        peer: As it stands now.
        accepted: Its Follow was accepted.
        asked: It was asked to let us follow.
        rescans: What had been let go on its word and is now due for a scan of our own.
    """

    peer: Peer
    accepted: bool = False
    asked: bool = False
    rescans: int = 0


async def approve(
    database: Database,
    actor: str,
    *,
    identity: Identity,
    by: str,
    now: datetime,
    is_ally: bool = False,
    follows_back: bool = True,
) -> Decision:
    """Approve a peer: let it read our feed if it asked, read its own, and audit all that it says at first.

    Args:
        database: Where the peers are.
        actor: Which peer.
        identity: Who we are.
        by: Who decides.
        now: The time.
        is_ally: The same operator, or a contract: it sees what we attest at once, and is audited less once it
            has earned that.
        follows_back: Ask to read its feed, too.

    Raises:
        TierError: There is no such peer, or it is in quarantine.
    """
    async with database.transaction() as conn:
        peer = await _lock(conn, actor)
        if peer.tier is Tier.QUARANTINED:
            raise TierError(
                f"{peer.domain} is in quarantine, so that nothing of it counts. To give it another chance: "
                f"breakwater peers reinstate {peer.domain}"
            )
        tier = Tier.ALLIED if is_ally else peer.tier if peer.tier in APPROVED else Tier.PROBATION
        if tier is not peer.tier:
            await _move(conn, peer, tier, by=by, event="peer_approved", now=now)
        accepts = peer.they_follow is Following.ASKED
        if accepts:
            await accept_their_follow(
                conn, peer, follow_id=peer.their_follow, identity=identity, by=by, now=now
            )
        asks = follows_back and peer.we_follow is Following.NO
        if asks:
            await ask_to_follow(conn, peer, identity=identity, now=now)
        return Decision(peer=await _lock(conn, actor), accepted=accepts, asked=asks)


async def quarantine(database: Database, actor: str, *, reason: str, by: str, now: datetime) -> Decision:
    """Ignore all that a peer says, and scan again ourselves what was let go on its word.

    Raises:
        TierError: There is no such peer, or it is in quarantine already.
    """
    async with database.transaction() as conn:
        peer = await _lock(conn, actor)
        if peer.tier is Tier.QUARANTINED:
            raise TierError(f"{peer.domain} is in quarantine already. Nothing was changed.")
        await _move(conn, peer, Tier.QUARANTINED, by=by, event="peer_quarantined", reason=reason, now=now)
        rescans = await reliance.rescan_all(conn, issuer=actor, now=now)
        return Decision(peer=await _lock(conn, actor), rescans=rescans)


async def reinstate(database: Database, actor: str, *, by: str, now: datetime) -> Decision:
    """Give a peer in quarantine another chance: on probation, with no credit left.

    Raises:
        TierError: There is no such peer, or neither it nor anything of it is in quarantine.
    """
    async with database.transaction() as conn:
        peer = await _lock(conn, actor)
        measured = await standings.list_standings(conn, actor)
        if Tier.QUARANTINED not in {peer.tier, *(one.tier for one in measured)}:
            raise TierError(f"{peer.domain} is not in quarantine. Nothing was changed.")
        await _move(conn, peer, Tier.PROBATION, by=by, event="peer_reinstated", now=now)
        return Decision(peer=await _lock(conn, actor))


async def set_alerts(
    database: Database, actor: str, *, categories: Sequence[str], key: bytes | None, by: str, now: datetime
) -> Decision:
    """Exchange alerts with a peer for these categories only, sealed with a key that both sides know.

    Raises:
        TierError: There is no such peer.
        ValueError: There are categories and no key.
    """
    if categories and key is None:
        raise ValueError("alerts are sealed with a key")
    async with database.transaction() as conn:
        peer = await _lock(conn, actor)
        await peering.set_alerts(conn, actor, categories=sorted(categories), key=key, now=now)
        await audit.append(
            conn,
            at=now,
            actor=by,
            event="peer_alerts_set",
            detail={"peer": peer.domain, "categories": sorted(categories)},
        )
        return Decision(peer=await _lock(conn, actor))


async def remove(database: Database, actor: str, *, identity: Identity, by: str, now: datetime) -> Decision:
    """Take leave of a peer, and forget it with its keys and standings; what relied on it is scanned again.

    Raises:
        TierError: There is no such peer.
    """
    async with database.transaction() as conn:
        peer = await _lock(conn, actor)
        await peer_outbox.drop_letters(conn, actor)
        if peer.we_follow is not Following.NO:
            await undo_our_follow(conn, peer, identity=identity, now=now)
        if peer.they_follow is not Following.NO:
            await reject_their_follow(conn, peer, identity=identity, now=now)
        rescans = await reliance.rescan_all(conn, issuer=actor, now=now)
        await peers.delete_peer(conn, actor)
        await audit.append(
            conn, at=now, actor=by, event="peer_removed", detail={"peer": peer.domain, "rescans": rescans}
        )
        return Decision(peer=peer, rescans=rescans)


async def _lock(conn: Connection, actor: str) -> Peer:
    peer = await peers.lock_peer(conn, actor)
    if peer is None:
        raise TierError("This peer is not known any more. `breakwater peers list` shows those that are.")
    return peer


async def _move(
    conn: Connection, peer: Peer, to: Tier, *, by: str, event: str, now: datetime, reason: str = ""
) -> None:
    await peers.set_tier(conn, peer.actor, expected=peer.tier, to=to, now=now)
    await standings.set_tiers(conn, peer.actor, to=to, now=now)
    detail = {"peer": peer.domain, "from": peer.tier.value, "to": to.value}
    if reason:
        detail["reason"] = reason[:_REASON_CHARACTERS]
    await audit.append(conn, at=now, actor=by, event=event, detail=detail)
