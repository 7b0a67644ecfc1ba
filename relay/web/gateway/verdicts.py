"""Decide whether a copy may be released: by what is known of its digest, or else by an examination.

An examination goes on when nobody waits for it any more, so that the next request finds its verdict.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum, auto
from typing import TYPE_CHECKING

from db.errors import DatabaseError
from relay.model import Door, Location, Media, MediaDecision, MediaReference
from relay.pipeline import examine_bytes, find_outcome, judge_unseen
from relay.tools.copies import CopyStorageError
from scanner.errors import ScannerError

if TYPE_CHECKING:
    from datetime import timedelta

    from relay.model import MediaOutcome
    from relay.pipeline import Tools
    from relay.tools.copies import Copy
    from relay.tools.flights import Flights

_log = logging.getLogger(__name__)

_KNOWN_FAILURES = (DatabaseError, ScannerError, CopyStorageError, TimeoutError)


class Answer(Enum):
    """What becomes of a copy."""

    RELEASE = auto()
    REFUSE = auto()
    NOT_YET = auto()


class Verdicts:
    """Ask the line about copies.

    Args:
        tools: What the line works with.
        flights: What is being examined now, by digest and declared type.
        within: How long a request waits.
    """

    def __init__(
        self, tools: Tools, flights: Flights[tuple[bytes, str | None], Answer], *, within: timedelta
    ) -> None:
        self._tools = tools
        self._flights = flights
        self._within_seconds = within.total_seconds()

    async def decide(self, copy: Copy, declared_type: str | None) -> Answer:
        """Decide about a copy; where nothing can be known in time, it is not released yet."""
        reference = _refer(declared_type)
        digest = copy.sha256
        try:
            async with asyncio.timeout(self._within_seconds):
                known = await find_outcome(digest, reference, door=Door.GATEWAY, tools=self._tools)
                if known is not None:
                    return _answer(known)
                return await self._flights.share(
                    (digest, declared_type), lambda: self._examine(copy, digest, reference)
                )
        except _KNOWN_FAILURES as error:
            _log.warning("gateway_not_examined error=%s", type(error).__name__)
            return Answer.NOT_YET

    async def decide_unseen(self, declared_type: str | None) -> Answer:
        """Decide about media that cannot be examined as a whole: only the admin's policy can release it."""
        try:
            outcome = await judge_unseen(_refer(declared_type), door=Door.GATEWAY, tools=self._tools)
        except _KNOWN_FAILURES as error:
            _log.warning("gateway_not_examined error=%s", type(error).__name__)
            return Answer.NOT_YET
        # Another try brings the same: what could not be seen is refused for good.
        return Answer.RELEASE if outcome.decision is MediaDecision.RELEASE else Answer.REFUSE

    async def _examine(self, copy: Copy, digest: bytes, reference: MediaReference) -> Answer:
        async with self._tools.memory.open_account() as account:
            await account.grow(copy.size)
            data = await copy.read()
            if len(data) != copy.size:
                # Whoever brought the copy has gone, and took it along before its turn in memory came.
                raise CopyStorageError("The copy is gone.")
            media = Media(data=data, sha256=digest, content_type=reference.declared_type)
            return _answer(await examine_bytes(media, reference, door=Door.GATEWAY, tools=self._tools))


def _refer(declared_type: str | None) -> MediaReference:
    # No address: nothing that is written down about the gateway says who fetched what.
    return MediaReference(url="", location=Location.BACKEND_FETCH, declared_type=declared_type)


def _answer(outcome: MediaOutcome) -> Answer:
    if outcome.decision is MediaDecision.RELEASE:
        return Answer.RELEASE
    return Answer.NOT_YET if outcome.retry else Answer.REFUSE
