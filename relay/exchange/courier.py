"""Deliver to other relays' inboxes what lies in the outbox, until it arrives or three days are over.

A delivery is signed anew at each try, with the RSA key that every server verifies: by RFC 9421 first, and by
the older scheme where that was refused (the double knock of FASP).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import peer_outbox
from db.errors import DatabaseError
from relay.lifecycle import decide_retry
from relay.model import FetchFailure
from relay.tools.media_types import ACTIVITY_JSON
from relay.tools.naps import wait_within
from relay.tools.urls import MalformedUrlError, parse_url
from signatures.http import Scheme
from signatures.message import RequestMessage

if TYPE_CHECKING:
    from datetime import datetime

    from db.peer_outbox import Letter
    from db.pool import Database
    from relay.clock import Clock
    from relay.exchange.discovery import Requester
    from relay.tools.fetching import Signer

_log = logging.getLogger(__name__)

# Longer than a request may take; after a crash the letter goes out again then.
_LEASE: Final = timedelta(minutes=2)
# Notifications tell of every new letter; this bounds what a lost one costs.
_LONGEST_NAP: Final = timedelta(seconds=30)
_SHORTEST_NAP: Final = timedelta(milliseconds=50)
_AFTER_ERROR: Final = timedelta(seconds=5)
# What was given up is shown to the admin for as long.
_KEPT: Final = timedelta(days=30)
# What an inbox says in answer is not read, but the connection has to be emptied.
_MAX_ANSWER_BYTES: Final = 65_536

_UNAUTHORIZED: Final = 401
_SUCCESS: Final = range(200, 300)
# RFC 9110 section 15.5: the request will not be better the next time. The exceptions ask for another try: a
# key that could not be fetched, a time-out, too early, too many.
_FINAL: Final = frozenset(range(400, 500)) - {_UNAUTHORIZED, 408, 425, 429}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of one try.

    Attributes:
        letter: What was sent.
        reason: Why it did not arrive, in words; None if it did.
        again_at: When it is tried again; None if it arrived or was given up.
    """

    letter: Letter
    reason: str | None
    again_at: datetime | None


class Courier:
    """Delivers what lies in the outbox; the relay and its commands each have one."""

    def __init__(self, *, database: Database, client: Requester, signer: Signer, clock: Clock) -> None:
        self._database = database
        self._client = client
        self._signer = signer
        self._clock = clock
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Deliver nothing more; what is under way is sent again later."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(
                self._database.listen(peer_outbox.CHANNEL, lambda _payload: self._wake.set())
            )
            delivering = group.create_task(self._deliver())
            await self._stopping.wait()
            listening.cancel()
            delivering.cancel()

    async def send_due(self, actor: str | None = None) -> list[Sent]:
        """Try everything that is due once, for one relay if so asked."""
        sent: list[Sent] = []
        while (one := await self._send_next(actor)) is not None:
            sent.append(one)
        return sent

    async def _deliver(self) -> None:
        while True:
            try:
                self._wake.clear()
                await self.send_due()
                await self._nap()
            except DatabaseError as error:
                _log.error("outbox_not_read error=%s", type(error).__name__)
                await asyncio.sleep(_AFTER_ERROR.total_seconds())

    async def _nap(self) -> None:
        now = self._clock.now()
        async with self._database.connection() as conn:
            await peer_outbox.purge_letters(conn, before=now - _KEPT)
            due = await peer_outbox.next_due(conn)
        nap = _LONGEST_NAP if due is None else min(max(due - now, _SHORTEST_NAP), _LONGEST_NAP)
        await wait_within(self._wake, nap)

    async def _send_next(self, actor: str | None) -> Sent | None:
        now = self._clock.now()
        async with self._database.connection() as conn:
            letter = await peer_outbox.claim_letter(conn, now=now, again_at=now + _LEASE, actor=actor)
        if letter is None:
            return None
        reason, is_final = await self._post(letter)
        now = self._clock.now()
        again_at = None
        async with self._database.connection() as conn:
            if reason is None:
                await peer_outbox.delete_letter(conn, letter.id)
            else:
                if not is_final:
                    again_at = decide_retry(tries=letter.tries, queued_at=letter.created_at, now=now)
                await peer_outbox.put_back_letter(conn, letter.id, due_at=again_at, reason=reason)
        if reason is not None:
            _log.warning("letter_not_delivered kind=%s tries=%d reason=%s", letter.kind, letter.tries, reason)
        return Sent(letter=letter, reason=reason, again_at=again_at)

    async def _post(self, letter: Letter) -> tuple[str | None, bool]:
        """Make one try; return why it failed, None if it did not, and whether another would fail alike."""
        try:
            url = parse_url(letter.inbox)
        except MalformedUrlError:
            return "its inbox is no address", True
        message = RequestMessage(
            method="POST",
            scheme=url.scheme,
            authority=url.authority,
            target=url.target,
            headers=(("Content-Type", ACTIVITY_JSON), ("Accept", ACTIVITY_JSON)),
            body=letter.body,
        )
        status = _UNAUTHORIZED
        for scheme in (Scheme.RFC9421, Scheme.CAVAGE):
            answer = await self._client.request(
                "POST",
                str(url),
                headers=self._signer(message, scheme).headers,
                body=letter.body,
                max_bytes=_MAX_ANSWER_BYTES,
            )
            if isinstance(answer, FetchFailure):
                return f"not reached ({answer.value})", False
            status = answer.status
            if status != _UNAUTHORIZED:
                break
        if status in _SUCCESS:
            return None, False
        return f"refused with status {status}", status in _FINAL
