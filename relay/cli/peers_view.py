"""Describe peers: a line of the list, and everything that there is to know about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from db import alerts, audit, equivocations, mirror, peer_keys, peer_outbox, peers, reliance, standings
from db.peers import Tier
from relay import trust
from relay.cli.peers_words import (
    explain_evidence,
    explain_follow,
    explain_grounds,
    explain_letter,
    explain_reliance,
    explain_standing,
    explain_tier,
    explain_warnings,
)
from relay.errors import BreakwaterError
from relay.tools.limits import domain_of
from relay.trust import Standing
from signatures.keys import parse_multikey

if TYPE_CHECKING:
    from datetime import datetime

    from db.audit import AuditEntry
    from db.peer_keys import PeerKey
    from db.peers import Peer
    from db.pool import Connection, Database
    from db.standings import StoredStanding

_HISTORY: Final = 10
# How far back the reason of a quarantine is looked for.
_SEARCHED: Final = 200
_QUARANTINED: Final = "peer_quarantined"


class NoSuchPeerError(BreakwaterError):
    """There is no such peer, or more than one."""


async def find_one(conn: Connection, name: str) -> Peer:
    """Find the peer that an admin means by a domain or an actor.

    Raises:
        NoSuchPeerError: None or several are meant.
    """
    known = await peers.list_peers(conn)
    wanted = name.strip()
    found = [peer for peer in known if peer.actor == wanted]
    found = found or [
        peer for peer in known if wanted.lower() in {peer.domain.lower(), domain_of(peer.actor)}
    ]
    if not found:
        raise NoSuchPeerError(
            f"There is no peer {name!r}. `breakwater peers list` shows those that are known; "
            f"`breakwater peers add {wanted}` looks for a new one."
        )
    if len(found) > 1:
        actors = ", ".join(peer.actor for peer in found)
        raise NoSuchPeerError(f"{name!r} means several peers. Name one by its actor: {actors}")
    return found[0]


async def list_rows(database: Database) -> list[dict[str, Any]]:
    """List the peers, those that wait for the admin too."""
    async with database.connection() as conn:
        letters = await peer_outbox.list_letters(conn)
        known = await peers.list_peers(conn)
    rows = []
    for peer in known:
        own = tuple(one for one in letters if one.actor == peer.actor)
        rows.append(
            {
                "domain": peer.domain,
                "tier": peer.tier.value,
                "reads us": explain_follow(peer.they_follow, own, is_ours=False),
                "we read it": explain_follow(peer.we_follow, own, is_ours=True),
                "feed read": _time(peer.feed_read_at),
                "actor": peer.actor,
                "note": peer.note,
            }
        )
    return rows


async def describe(conn: Connection, peer: Peer, *, now: datetime) -> dict[str, Any]:
    """Say everything about one peer."""
    letters = await peer_outbox.list_letters(conn, peer.actor)
    keys = await peer_keys.list_peer_keys(conn, peer.actor)
    measured = await standings.list_standings(conn, peer.actor)
    rulings = await alerts.count_rulings(conn, peer.actor)
    outcomes = await reliance.count_outcomes(conn, peer.actor)
    grounds = await reliance.count_grounds(conn, peer.actor)
    mirrored = await mirror.count_mirrored(conn, now=now)
    pairs = await equivocations.list_equivocations(conn, peer.actor)
    history = await audit.list_about_peer(conn, peer.domain, limit=_SEARCHED)
    return {
        "domain": peer.domain,
        "actor": peer.actor,
        "tier": peer.tier.value,
        "standing": explain_tier(peer),
        "why": _find_reason(peer, history),
        "note": peer.note,
        "trust group": peer.trust_group,
        "added": _time(peer.added_at),
        "reads us": explain_follow(peer.they_follow, letters, is_ours=False),
        "we read it": explain_follow(peer.we_follow, letters, is_ours=True),
        "on its way": [explain_letter(one) for one in letters],
        "api": peer.api_url,
        "feed": {
            "read up to": peer.feed_cursor,
            "read at": _time(peer.feed_read_at),
            "attestations kept": mirrored.get(peer.actor, 0),
        },
        "keys": [
            *_describe_api_key(peer),
            *(_describe_key(one, now=now) for one in keys),
        ],
        "profiles": [_describe_standing(one, now=now) for one in measured],
        "relied on": {
            "counts": outcomes,
            "in words": explain_reliance(outcomes),
            "against it": explain_grounds(grounds),
        },
        "alerts": {
            "categories": list(peer.alerts),
            "rulings on its warnings": rulings,
            "in words": explain_warnings(rulings),
        },
        "evidence": explain_evidence(peer, len(pairs)),
        "history": [_describe_event(one) for one in history[:_HISTORY]],
    }


async def export_evidence(conn: Connection, peer: Peer) -> dict[str, Any]:
    """Return what proves that a peer said two things under one name, with all that it takes to verify it."""
    pairs = await equivocations.list_equivocations(conn, peer.actor)
    keys = {
        key_id: {"actor": peer.actor, "id": key_id, "multikey": multikey}
        for pair in pairs
        for key_id, multikey in (
            (pair.first_key_id, pair.first_multikey),
            (pair.second_key_id, pair.second_multikey),
        )
    }
    return {
        "issuer": peer.actor,
        "keys": list(keys.values()),
        "pairs": [
            {
                "id": pair.attestation_id,
                "found at": _time(pair.found_at),
                # They were parsed as strict JSON, which is UTF-8; each is what was signed, byte for byte.
                "first": pair.first.decode(),
                "second": pair.second.decode(),
            }
            for pair in pairs
        ],
    }


def _find_reason(peer: Peer, history: tuple[AuditEntry, ...]) -> str | None:
    """Say why a peer is in quarantine; None if it is not, or if that was too long ago."""
    if peer.tier is not Tier.QUARANTINED:
        return None
    entry = next((one for one in history if one.event == _QUARANTINED), None)
    if entry is None:
        return None
    return f"{entry.detail.get('reason') or 'no reason given'} ({entry.actor}, {_time(entry.at)})"


def _describe_api_key(peer: Peer) -> list[dict[str, Any]]:
    if peer.key_id is None or peer.multikey is None:
        return []
    return [
        {
            "signs": "requests and answers",
            "id": peer.key_id,
            "fingerprint": parse_multikey(peer.multikey).fingerprint,
            "since": None,
            "state": "in use",
        }
    ]


def _describe_key(key: PeerKey, *, now: datetime) -> dict[str, Any]:
    if key.revoked_at is not None:
        state = f"revoked: nothing that was received since {_time(key.revoked_at)} counts"
    elif key.expires_at is not None and key.expires_at <= now:
        state = f"ended at {_time(key.expires_at)}"
    elif key.expires_at is not None:
        state = f"in use until {_time(key.expires_at)}"
    else:
        state = "in use"
    return {
        "signs": "attestations",
        "id": key.key_id,
        "fingerprint": parse_multikey(key.multikey).fingerprint,
        "since": _time(key.admitted_at),
        "state": state,
    }


def _describe_standing(stored: StoredStanding, *, now: datetime) -> dict[str, Any]:
    standing = Standing(
        tier=stored.tier,
        updated_at=stored.updated_at,
        log_ratio=stored.log_ratio,
        credit=stored.credit,
        audits=stored.audits,
        agreements=stored.agreements,
        scrutiny=stored.scrutiny,
    )
    return {
        "profile": stored.profile,
        "key": stored.key_id,
        "tier": stored.tier.value,
        "standing": explain_standing(standing, now=now),
        "audits": stored.audits,
        "agreements": stored.agreements,
        "agrees at least": round(trust.agreement_bound(standing), 4),
        "audit rate": round(trust.audit_rate(standing, now=now), 4),
        "last audit": _time(stored.updated_at),
    }


def _describe_event(entry: AuditEntry) -> dict[str, Any]:
    more = {name: value for name, value in entry.detail.items() if name != "peer"}
    return {"at": _time(entry.at), "by": entry.actor, "what": entry.event, **more}


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="seconds")
