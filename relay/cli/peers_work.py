"""What the commands about peers do, and what they say about it afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from db import audit, peer_outbox
from db.peers import Following
from relay.cli.peers_tools import make_alert_key, read_alert_key
from relay.cli.peers_view import describe, export_evidence, find_one
from relay.cli.peers_words import explain_discovery, explain_letter
from relay.errors import BreakwaterError
from relay.exchange import tiers
from relay.exchange.admission import admit_stranger
from relay.exchange.discovery import DiscoveryFailure, discover
from relay.exchange.follows import ask_to_follow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from db.peers import Peer
    from db.pool import Database
    from relay.cli.peers_tools import PeerTools
    from relay.exchange.courier import Sent


class PeerError(BreakwaterError):
    """This cannot be done with that relay."""


async def add(
    tools: PeerTools, name: str, *, group: str | None, note: str, follows: bool, by: str
) -> dict[str, Any]:
    """Look for a relay, keep it as unknown, and ask to read its feed.

    Raises:
        PeerError: There is no such relay, or it is this one.
    """
    facts = await discover(name, client=tools.client)
    if isinstance(facts, DiscoveryFailure):
        raise PeerError(explain_discovery(facts))
    if facts.actor == tools.identity.actor:
        raise PeerError(f"{facts.actor} is this relay itself. Nothing was stored.")
    now = tools.clock.now()
    async with tools.database.transaction() as conn:
        peer = await admit_stranger(conn, facts, now=now, group=group, note=note)
        if isinstance(peer, DiscoveryFailure):
            raise PeerError(explain_discovery(peer))
        await audit.append(conn, at=now, actor=by, event="peer_added", detail={"peer": peer.domain})
        if follows and peer.we_follow is not Following.ACCEPTED:
            await ask_to_follow(conn, peer, identity=tools.identity, now=now)
    sent = await _send(tools, peer)
    return {
        **await show(tools.database, peer.actor, now=now),
        "software": facts.software,
        **sent,
        "next": "Compare the fingerprints with those that its admin sees (breakwater keys show). Then: "
        f"breakwater peers approve {peer.domain}",
    }


async def approve(
    tools: PeerTools, name: str, *, is_ally: bool, follows_back: bool, by: str
) -> dict[str, Any]:
    """Approve a peer, and tell it so.

    Raises:
        NoSuchPeerError: There is no such peer.
        TierError: It is in quarantine.
    """
    peer = await _find(tools.database, name)
    done = await tiers.approve(
        tools.database,
        peer.actor,
        identity=tools.identity,
        by=by,
        now=tools.clock.now(),
        is_ally=is_ally,
        follows_back=follows_back,
    )
    return {
        "domain": peer.domain,
        "tier": done.peer.tier.value,
        "reads us": "yes" if done.peer.they_follow is Following.ACCEPTED else "as soon as it asks",
        **await _send(tools, peer),
    }


async def remove(tools: PeerTools, name: str, *, by: str) -> dict[str, Any]:
    """Take leave of a peer and forget it.

    Raises:
        NoSuchPeerError: There is no such peer.
    """
    peer = await _find(tools.database, name)
    done = await tiers.remove(
        tools.database, peer.actor, identity=tools.identity, by=by, now=tools.clock.now()
    )
    return {
        "domain": peer.domain,
        "done": "removed",
        "to be scanned again": done.rescans,
        **await _send(tools, peer),
    }


async def show(database: Database, name: str, *, now: datetime) -> dict[str, Any]:
    """Say everything about one peer.

    Raises:
        NoSuchPeerError: There is no such peer.
    """
    async with database.connection() as conn:
        return await describe(conn, await find_one(conn, name), now=now)


async def show_evidence(database: Database, name: str) -> dict[str, Any]:
    """Return what proves that a peer said two things under one name.

    Raises:
        NoSuchPeerError: There is no such peer.
    """
    async with database.connection() as conn:
        return await export_evidence(conn, await find_one(conn, name))


async def quarantine(database: Database, name: str, *, reason: str, by: str, now: datetime) -> dict[str, Any]:
    """Ignore all that a peer says.

    Raises:
        NoSuchPeerError: There is no such peer.
        TierError: It is in quarantine already.
    """
    peer = await _find(database, name)
    done = await tiers.quarantine(database, peer.actor, reason=reason, by=by, now=now)
    return {"domain": peer.domain, "tier": done.peer.tier.value, "to be scanned again": done.rescans}


async def reinstate(database: Database, name: str, *, by: str, now: datetime) -> dict[str, Any]:
    """Give a peer in quarantine another chance.

    Raises:
        NoSuchPeerError: There is no such peer.
        TierError: It is not in quarantine.
    """
    peer = await _find(database, name)
    done = await tiers.reinstate(database, peer.actor, by=by, now=now)
    return {"domain": peer.domain, "tier": done.peer.tier.value, "credit": "none left"}


async def set_alerts(
    database: Database,
    name: str,
    *,
    categories: Sequence[str],
    new_key: Path | None,
    key_file: Path | None,
    by: str,
    now: datetime,
) -> dict[str, Any]:
    """Exchange alerts with a peer for these categories only; for none of them the key is forgotten.

    Raises:
        NoSuchPeerError: There is no such peer.
        PeerError: There is no key yet.
        AlertKeyError: The file cannot be used.
        StartupError: The file cannot be read, or others can read it.
    """
    peer = await _find(database, name)
    key = peer.alert_key
    if key_file is not None:
        key = read_alert_key(key_file)
    elif new_key is not None:
        key = make_alert_key(new_key)
    if categories and key is None:
        raise PeerError(
            f"There is no key for alerts with {peer.domain} yet, and nothing was changed. Make one with "
            "--new-key FILE, or take the other admin's with --key-file FILE."
        )
    key = key if categories else None
    await tiers.set_alerts(database, peer.actor, categories=categories, key=key, by=by, now=now)
    return {"domain": peer.domain, "alerts for": sorted(categories) or ["nothing"]}


async def _find(database: Database, name: str) -> Peer:
    async with database.connection() as conn:
        return await find_one(conn, name)


async def _send(tools: PeerTools, peer: Peer) -> dict[str, Any]:
    """Deliver what was just written, unless the running relay was quicker, and say how far it has come."""
    sent = await tools.courier.send_due(peer.actor)
    async with tools.database.connection() as conn:
        waiting = await peer_outbox.list_letters(conn, peer.actor)
    told = {one.letter.id for one in sent}
    return {
        "sent": [_describe_sent(one) for one in sent],
        "on its way": [explain_letter(one) for one in waiting if one.id not in told],
    }


def _describe_sent(sent: Sent) -> str:
    kind = sent.letter.kind
    if sent.reason is None:
        return f"{kind}: delivered"
    if sent.again_at is None:
        return f"{kind}: given up, {sent.reason}"
    return f"{kind}: {sent.reason}; the running relay tries again"
