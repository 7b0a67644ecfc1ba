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
from relay.tools.carried import NOTHING
from relay.tools.copies import CopyStorageError
from scanner.errors import ScannerError

if TYPE_CHECKING:
    from datetime import timedelta

    from relay.model import MediaOutcome
    from relay.pipeline import Tools
    from relay.tools.carried import Carried
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
        flights: What is being examined now, by digest, declared type and the state of the scanner: lists may
            be swapped meanwhile, and a verdict does not speak for the new ones.
        within: How long a request waits.
        door: The door that the copies come in by.
        location: What they are, as it is written down.
    """

    def __init__(
        self,
        tools: Tools,
        flights: Flights[tuple[bytes, str | None, bytes], Answer],
        *,
        within: timedelta,
        door: Door = Door.GATEWAY,
        location: Location = Location.BACKEND_FETCH,
    ) -> None:
        self._tools = tools
        self._flights = flights
        self._within_seconds = within.total_seconds()
        self._door = door
        self._location = location

    async def decide(self, copy: Copy, declared_type: str | None, carried: Carried = NOTHING) -> Answer:
        """Decide about a copy; where nothing can be known in time, it is not released yet.

        Args:
            copy: The bytes.
            declared_type: What they are said to be.
            carried: What came beside them.
        """
        reference = self._refer(declared_type)
        digest = copy.sha256
        try:
            async with asyncio.timeout(self._within_seconds):
                known = await find_outcome(digest, reference, door=self._door, tools=self._tools)
                if known is not None:
                    return _answer(known)
                state = self._tools.scans.scanning.state_digest
                return await self._flights.share(
                    (digest, declared_type, state), lambda: self._examine(copy, digest, reference, carried)
                )
        except _KNOWN_FAILURES as error:
            _log.warning("media_not_examined door=%s error=%s", self._door.value, type(error).__name__)
            return Answer.NOT_YET

    async def decide_unseen(self, declared_type: str | None) -> Answer:
        """Decide about media that cannot be examined as a whole: only the admin's policy can release it."""
        try:
            outcome = await judge_unseen(self._refer(declared_type), door=self._door, tools=self._tools)
        except _KNOWN_FAILURES as error:
            _log.warning("media_not_examined door=%s error=%s", self._door.value, type(error).__name__)
            return Answer.NOT_YET
        # Another try brings the same: what could not be seen is refused for good.
        return Answer.RELEASE if outcome.decision is MediaDecision.RELEASE else Answer.REFUSE

    def _refer(self, declared_type: str | None) -> MediaReference:
        # No address: nothing that is written down says who fetched what.
        return MediaReference(url="", location=self._location, declared_type=declared_type)

    async def _examine(
        self, copy: Copy, digest: bytes, reference: MediaReference, carried: Carried
    ) -> Answer:
        async with self._tools.memory.open_account() as account:
            await account.grow(copy.size)
            data = await copy.read()
            if len(data) != copy.size:
                # Whoever brought the copy has gone, and took it along before its turn in memory came.
                raise CopyStorageError("The copy is gone.")
            media = Media(
                data=data,
                sha256=digest,
                content_type=reference.declared_type,
                attestation=carried.attestation,
                is_attestation_malformed=carried.is_malformed,
            )
            return _answer(await examine_bytes(media, reference, door=self._door, tools=self._tools))


def _answer(outcome: MediaOutcome) -> Answer:
    if outcome.decision is MediaDecision.RELEASE:
        return Answer.RELEASE
    return Answer.NOT_YET if outcome.retry else Answer.REFUSE
