"""Sign the warnings that wait, and send each to the one peer that it is for."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from db import alert_letters, peers
from db.errors import DatabaseError
from db.peers import Tier
from relay.lifecycle import decide_retry
from relay.tools.naps import wait_within
from signatures.alert import AlertBody, build_alert

if TYPE_CHECKING:
    from db.alert_letters import AlertLetter
    from db.peers import Peer
    from db.pool import Database
    from relay.clock import Clock
    from relay.exchange.client import PeerFailure
    from relay.tools.identity import Identity

_log = logging.getLogger(__name__)

# Longer than a request may take; after a crash the warning goes out again then.
_LEASE: Final = timedelta(minutes=2)
_LONGEST_NAP: Final = timedelta(seconds=30)
_SHORTEST_NAP: Final = timedelta(milliseconds=50)
_AFTER_ERROR: Final = timedelta(seconds=5)


class SendsAlerts(Protocol):
    """What hands an alert to a peer; `relay.exchange.client.PeerClient` does."""

    async def send_alert(self, peer: Peer, alert: bytes) -> PeerFailure | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierTools:
    """What warnings are sent with."""

    database: Database
    identity: Identity
    client: SendsAlerts
    clock: Clock


class AlertCourier:
    """Sends the warnings that wait."""

    def __init__(self, tools: CourierTools) -> None:
        self._tools = tools
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Send nothing more; what is under way is sent again later."""
        self._stopping.set()

    async def run(self) -> None:
        """Send until stopped."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(
                self._tools.database.listen(alert_letters.CHANNEL, lambda _payload: self._wake.set())
            )
            sending = group.create_task(self._send())
            await self._stopping.wait()
            listening.cancel()
            sending.cancel()

    async def send_due(self) -> int:
        """Try everything that is due once; return how many warnings arrived.

        Raises:
            DatabaseError: It is not known what is due.
        """
        count = 0
        while True:
            now = self._tools.clock.now()
            async with self._tools.database.connection() as conn:
                letter = await alert_letters.claim_alert_letter(conn, now=now, again_at=now + _LEASE)
                peer = None if letter is None else await peers.find_peer(conn, letter.actor)
            if letter is None:
                return count
            count += await self._send_one(letter, peer)

    async def _send(self) -> None:
        while True:
            try:
                self._wake.clear()
                await self.send_due()
                await self._nap()
            except DatabaseError as error:
                _log.error("alerts_not_sent error=%s", type(error).__name__)
                await asyncio.sleep(_AFTER_ERROR.total_seconds())

    async def _nap(self) -> None:
        async with self._tools.database.connection() as conn:
            due = await alert_letters.next_due(conn)
        left = _LONGEST_NAP if due is None else due - self._tools.clock.now()
        nap = min(max(left, _SHORTEST_NAP), _LONGEST_NAP)
        await wait_within(self._wake, nap)

    async def _send_one(self, letter: AlertLetter, peer: Peer | None) -> bool:
        """Try one warning; tell whether it arrived."""
        if peer is None or peer.tier is Tier.QUARANTINED or letter.category not in peer.alerts:
            # The admin thought better of it meanwhile.
            await self._settle(letter, reason=None)
            return False
        failure = await self._tools.client.send_alert(peer, self._sign(letter))
        reason = None if failure is None else failure.reason.value
        await self._settle(letter, reason=reason)
        if reason is not None:
            _log.warning("alert_not_sent peer=%s tries=%d reason=%s", peer.domain, letter.tries, reason)
        return reason is None

    def _sign(self, letter: AlertLetter) -> bytes:
        identity = self._tools.identity
        return build_alert(
            AlertBody(
                id=f"{identity.base_url}/alerts/{letter.id}",
                issuer=identity.actor,
                recipient=letter.actor,
                published=letter.created_at.replace(microsecond=0),
                mac=letter.mac,
                category=letter.category,
            ),
            key=identity.signing_key,
            verification_method=identity.verification_method,
        )

    async def _settle(self, letter: AlertLetter, *, reason: str | None) -> None:
        now = self._tools.clock.now()
        due_at = (
            None if reason is None else decide_retry(tries=letter.tries, queued_at=letter.created_at, now=now)
        )
        async with self._tools.database.connection() as conn:
            if due_at is None:
                await alert_letters.delete_alert_letter(conn, letter.id)
            else:
                await alert_letters.put_back_alert_letter(conn, letter.id, due_at=due_at)
