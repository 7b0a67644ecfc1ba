"""Take in the revocations and doubts of a peer's feed.

Verifying may mean to fetch the peer's new keys, so that it comes first and holds nothing; what follows from
an item is done in the transaction that moves the cursor.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, assert_never

from db.feed import FeedKind
from relay.exchange.intake import Rejected
from relay.exchange.issuers import receive_object
from relay.exchange.notices import heed_doubt
from relay.exchange.revocations import apply_revocation
from signatures.doubt import Doubt, parse_doubt, verify_doubt
from signatures.revocation import Revocation, parse_revocation, verify_revocation

if TYPE_CHECKING:
    from datetime import datetime

    from db.feed import FeedItem
    from db.peers import Peer
    from db.pool import Connection, Database
    from relay.exchange.intake import Refetch

_log = logging.getLogger(__name__)

Effect: TypeAlias = Callable[["Connection"], Awaitable[object]]
"""What to do about an item, in the transaction that moves the cursor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedTaking:
    """Takes in what is not an attestation.

    Attributes:
        database: What is known of peers.
        refetch: Fetches a peer's keys again.
        allow_http: Admit issuers without TLS, in test set-ups.
    """

    database: Database
    refetch: Refetch | None = None
    allow_http: bool = False

    async def __call__(self, peer: Peer, item: FeedItem, *, now: datetime) -> Effect | None:
        """Verify an item of a peer's feed, and return what follows from it; None for nothing.

        Raises:
            DatabaseError: It cannot be known who issued it.
        """
        match item.kind:
            case FeedKind.ATTESTATION:
                return None
            case FeedKind.REVOCATION:
                return await self._verify_revocation(peer, item.object, now=now)
            case FeedKind.NOTICE:
                return await self._verify_doubt(peer, item.object, now=now)
        assert_never(item.kind)

    async def _verify_revocation(self, peer: Peer, raw: bytes, *, now: datetime) -> Effect | None:
        found = await receive_object(
            raw,
            parse=parse_revocation,
            verify=verify_revocation,
            database=self.database,
            now=now,
            refetch=self.refetch,
            allow_http=self.allow_http,
        )
        if not isinstance(found, Revocation) or found.body.issuer != peer.actor:
            self._report(peer, found)
            return None
        return partial(apply_revocation, revocation=found, now=now)

    async def _verify_doubt(self, peer: Peer, raw: bytes, *, now: datetime) -> Effect | None:
        found = await receive_object(
            raw,
            parse=parse_doubt,
            verify=verify_doubt,
            database=self.database,
            now=now,
            refetch=self.refetch,
            allow_http=self.allow_http,
        )
        if not isinstance(found, Doubt) or found.body.teller != peer.actor:
            self._report(peer, found)
            return None
        return partial(heed_doubt, doubt=found, now=now)

    def _report(self, peer: Peer, found: Revocation | Doubt | Rejected) -> None:
        # A peer speaks in its feed for itself alone.
        reason = found.reason.value if isinstance(found, Rejected) else "another_issuer"
        _log.warning("feed_item_rejected peer=%s reason=%s", peer.domain, reason)
