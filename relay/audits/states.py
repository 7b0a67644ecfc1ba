"""Find out what a peer says its scanner was when it attested something."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from db import peer_states, peers
from relay.exchange.client import PeerFailure, PeerFailureReason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from db.mirror import MirroredAttestation
    from relay.exchange.peer_tools import PeerTools

_log = logging.getLogger(__name__)


async def find_state(word: MirroredAttestation, *, tools: PeerTools) -> Mapping[str, Any] | PeerFailure:
    """Find the description that an attestation names, asking the peer if need be.

    Raises:
        DatabaseError: It cannot be known.
    """
    async with tools.database.connection() as conn:
        known = await peer_states.find_peer_state(conn, word.issuer, word.state_digest)
        peer = await peers.find_peer(conn, word.issuer)
    if known is not None:
        return known
    if peer is None:
        return PeerFailure(reason=PeerFailureReason.NO_API)
    document = await tools.asker.state(peer, word.state_digest)
    if isinstance(document, PeerFailure):
        _log.warning("peer_state_not_fetched peer=%s reason=%s", peer.domain, document.reason.value)
        return document
    async with tools.database.transaction(waits_for_disk=False) as conn:
        await peer_states.put_peer_state(
            conn, word.issuer, state_digest=word.state_digest, document=document, now=tools.clock.now()
        )
    return document
