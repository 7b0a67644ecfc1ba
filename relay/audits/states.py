"""Find out what a peer says its scanner was when it attested something."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import peer_states, peers
from relay.exchange.client import PeerFailure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from db.mirror import MirroredAttestation
    from relay.exchange.peer_tools import PeerTools

_log = logging.getLogger(__name__)

PATIENCE: Final = timedelta(hours=24)
"""How long a peer has to say what its scanner was when it attested something, and to open what it committed
to; and how long we try to have the bytes again."""


async def find_state(word: MirroredAttestation, *, tools: PeerTools) -> Mapping[str, Any] | None:
    """Find the description that an attestation names, asking the peer if need be; None if it does not say.

    Raises:
        DatabaseError: It cannot be known.
    """
    async with tools.database.connection() as conn:
        known = await peer_states.find_peer_state(conn, word.issuer, word.state_digest)
        peer = await peers.find_peer(conn, word.issuer)
    if known is not None or peer is None:
        return known
    document = await tools.asker.state(peer, word.state_digest)
    if isinstance(document, PeerFailure):
        _log.warning("peer_state_not_fetched peer=%s reason=%s", peer.domain, document.reason.value)
        return None
    async with tools.database.transaction(waits_for_disk=False) as conn:
        await peer_states.put_peer_state(
            conn, word.issuer, state_digest=word.state_digest, document=document, now=tools.clock.now()
        )
    return document
