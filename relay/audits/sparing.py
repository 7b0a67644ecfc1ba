"""Leave a peer alone for a while that could not be reached, so that its audits hold up nobody else's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from relay.exchange.client import PeerFailure, PeerFailureReason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.peers import Peer
    from relay.clock import Clock
    from relay.exchange.peer_tools import PeerAsker, PeerTools
    from relay.exchange.prefixes import Prefix
    from signatures.strictjson import JsonObject

_T = TypeVar("_T")

LEFT_ALONE_FOR: Final = timedelta(minutes=15)
"""As long as an audit is put off for: in it each peer takes up the time of one question of the only worker,
even one that sends a byte now and then and never ends."""


class SparingAsker:
    """Asks peers for an auditor, and answers for those that were away a moment ago."""

    def __init__(self, asker: PeerAsker, clock: Clock) -> None:
        self._asker = asker
        self._clock = clock
        # No more of them than peers, whom an admin approves by hand.
        self._away_until: dict[str, datetime] = {}

    async def lookup(self, peer: Peer, digests: Sequence[bytes]) -> tuple[bytes, ...] | PeerFailure:
        """Ask what a peer attests about some bytes."""
        return self._spare(peer) or self._note(peer, await self._asker.lookup(peer, digests))

    async def buckets(self, peer: Peer, prefixes: Sequence[Prefix]) -> tuple[bytes, ...] | PeerFailure:
        """Ask what a peer attests about all bytes whose digests begin so."""
        return self._spare(peer) or self._note(peer, await self._asker.buckets(peer, prefixes))

    async def state(self, peer: Peer, digest: bytes) -> JsonObject | PeerFailure:
        """Ask for the description of a peer's scanner."""
        return self._spare(peer) or self._note(peer, await self._asker.state(peer, digest))

    async def opening(self, peer: Peer, commitment: bytes) -> bytes | PeerFailure:
        """Ask what a commitment of a peer is of."""
        return self._spare(peer) or self._note(peer, await self._asker.opening(peer, commitment))

    def _spare(self, peer: Peer) -> PeerFailure | None:
        until = self._away_until.get(peer.actor)
        if until is None or self._clock.now() >= until:
            return None
        return PeerFailure(reason=PeerFailureReason.UNREACHABLE, detail="it was away a moment ago")

    def _note(self, peer: Peer, answer: _T) -> _T:
        if isinstance(answer, PeerFailure) and answer.reason is PeerFailureReason.UNREACHABLE:
            self._away_until[peer.actor] = self._clock.now() + LEFT_ALONE_FOR
        else:
            self._away_until.pop(peer.actor, None)
        return answer


def spare_the_absent(tools: PeerTools) -> PeerTools:
    """Return tools for audits, of which each peer that is away holds up one in a while."""
    return replace(tools, asker=SparingAsker(tools.asker, tools.clock))
