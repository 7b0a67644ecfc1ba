"""Look at the peers now and then, so that new keys, new addresses and revocations are heard of unasked."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import peers
from db.errors import DatabaseError
from db.peers import Following, Tier

if TYPE_CHECKING:
    from db.peers import Peer
    from db.pool import Database
    from relay.exchange.admission import PeerRefresher

_log = logging.getLogger(__name__)

# A revocation mostly comes through the feed; a peer that is found in the hands of others may tell in its
# document alone. Four requests a day are nothing to it.
REFRESH_EVERY: Final = timedelta(hours=6)


class PeerUpkeep:
    """Fetches the actors of all peers again, one after the other."""

    def __init__(self, *, database: Database, refresher: PeerRefresher) -> None:
        self._database = database
        self._refresher = refresher
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Look at nobody any more."""
        self._stopping.set()

    async def run(self) -> None:
        """Look at everybody at once, and again every few hours until stopped."""
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look())
            await self._stopping.wait()
            looking.cancel()

    async def refresh_all(self) -> None:
        """Fetch the actor of every peer that we have to do with; strangers that only asked are left out."""
        async with self._database.connection() as conn:
            known = await peers.list_peers(conn)
        for peer in known:
            if has_to_do_with_us(peer):
                await self._refresher.refresh(peer.actor)

    async def _look(self) -> None:
        while True:
            try:
                await self.refresh_all()
            except DatabaseError as error:
                _log.error("peers_not_refreshed error=%s", type(error).__name__)
            await asyncio.sleep(REFRESH_EVERY.total_seconds())


def has_to_do_with_us(peer: Peer) -> bool:
    """Tell whether the admin added or approved a peer."""
    return peer.tier is not Tier.UNKNOWN or peer.we_follow is not Following.NO
