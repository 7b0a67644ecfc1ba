"""Follow, Accept, Reject and Undo between relays, as we send them: who reads whose feed.

    they_follow   no ──their Follow──► asked ──admin approves──► accepted ──their Undo──► no
    we_follow     no ──admin adds────► asked ──their Accept────► accepted ──their Reject─► no

Every change is made with its letter (`db.peer_outbox`) in the caller's transaction.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Final

from db import audit, peer_outbox, peering
from db.peers import Following, Peer
from relay.exchange.activities import Verb
from relay.tools.ulids import build_ulid

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection
    from relay.tools.identity import Identity
    from signatures.strictjson import JsonObject, JsonValue

_CONTEXT: Final = "https://www.w3.org/ns/activitystreams"
_CHANCE_BYTES: Final = 10


async def accept_their_follow(
    conn: Connection, peer: Peer, *, follow_id: str, identity: Identity, by: str, now: datetime
) -> None:
    """Let a peer read our feed, and tell it so."""
    await peering.set_they_follow(conn, peer.actor, to=Following.ACCEPTED, follow_id=follow_id, now=now)
    their_follow: JsonObject = {
        "id": follow_id,
        "type": Verb.FOLLOW.value,
        "actor": peer.actor,
        "object": identity.actor,
    }
    await _send(conn, peer, Verb.ACCEPT, their_follow, identity=identity, now=now)
    await note_event(conn, peer, "peer_follow_accepted", by=by, now=now)


async def reject_their_follow(conn: Connection, peer: Peer, *, identity: Identity, now: datetime) -> None:
    """Let a peer read our feed no more, and tell it so."""
    await peering.set_they_follow(conn, peer.actor, to=Following.NO, follow_id="", now=now)
    their_follow: JsonObject = {
        "id": peer.their_follow,
        "type": Verb.FOLLOW.value,
        "actor": peer.actor,
        "object": identity.actor,
    }
    await _send(conn, peer, Verb.REJECT, their_follow, identity=identity, now=now)


async def ask_to_follow(conn: Connection, peer: Peer, *, identity: Identity, now: datetime) -> None:
    """Ask a peer to let us read its feed; what was not delivered of an earlier wish is dropped."""
    await peer_outbox.drop_letters(conn, peer.actor, kinds=(Verb.FOLLOW.value, Verb.UNDO.value))
    follow_id = await _send(conn, peer, Verb.FOLLOW, peer.actor, identity=identity, now=now)
    await peering.set_we_follow(conn, peer.actor, to=Following.ASKED, follow_id=follow_id, now=now)


async def undo_our_follow(conn: Connection, peer: Peer, *, identity: Identity, now: datetime) -> None:
    """Read a peer's feed no more, and tell it so."""
    await peer_outbox.drop_letters(conn, peer.actor, kinds=(Verb.FOLLOW.value,))
    await peering.set_we_follow(conn, peer.actor, to=Following.NO, follow_id="", now=now)
    our_follow: JsonObject = {
        "id": peer.our_follow,
        "type": Verb.FOLLOW.value,
        "actor": identity.actor,
        "object": peer.actor,
    }
    await _send(conn, peer, Verb.UNDO, our_follow, identity=identity, now=now)


async def _send(
    conn: Connection, peer: Peer, verb: Verb, target: JsonValue, *, identity: Identity, now: datetime
) -> str:
    activity_id = f"{identity.actor}/activities/{build_ulid(now, secrets.token_bytes(_CHANCE_BYTES))}"
    activity: JsonObject = {
        "@context": _CONTEXT,
        "id": activity_id,
        "type": verb.value,
        "actor": identity.actor,
        "to": [peer.actor],
        "object": target,
    }
    await peer_outbox.add_letter(
        conn,
        actor=peer.actor,
        inbox=peer.inbox,
        kind=verb.value,
        body=json.dumps(activity).encode(),
        now=now,
    )
    return activity_id


async def note_event(conn: Connection, peer: Peer, event: str, *, by: str, now: datetime) -> None:
    """Write into the audit log what was done about a peer, or by it."""
    await audit.append(conn, at=now, actor=by, event=event, detail={"peer": peer.domain})
