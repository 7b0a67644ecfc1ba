"""Say what the relay knows of bytes that it delivers: their digest, and the attestation if it gives one out.

Who gets the bytes may have the attestation, since it says less than they do. The share that is never issued
stays back here, too, and what no public post carried was never attested: bytes without an attestation are the
ordinary case, and mean nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import attestations
from db.errors import DatabaseError
from relay.model import Audience, Decision, DeliveryDecision, Door, Location, MediaReference
from relay.pipeline import find_outcome
from relay.stages.attest import attest
from signatures.attestation import parse_attestation
from signatures.digests import repr_digest_of
from signatures.fields import ATTESTATION_HEADER, build_attestation_field

if TYPE_CHECKING:
    from datetime import datetime

    from db.attestations import StoredAttestation
    from relay.line import Tools
    from signatures.message import Headers

_log = logging.getLogger(__name__)

_REFERENCE = MediaReference(url="", location=Location.UPLOAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """Find the headers that speak of bytes."""

    tools: Tools

    async def describe(self, sha256: bytes) -> Headers:
        """Return the headers for bytes that are released. Those of the whole, whatever part of it is sent."""
        # RFC 9530 section 3.1: a representation's digest is the same for each of its parts.
        digest = ("Repr-Digest", repr_digest_of(sha256))
        try:
            attestation = await self._find(sha256, now=self.tools.clock.now())
        except DatabaseError as error:
            # The bytes were released already; without our word they are like most.
            _log.warning("attestation_not_found error=%s", type(error).__name__)
            attestation = None
        if attestation is None:
            return (digest,)
        return (digest, (ATTESTATION_HEADER, build_attestation_field(attestation)))

    async def _find(self, sha256: bytes, *, now: datetime) -> bytes | None:
        vouching = self.tools.vouching
        if not vouching.is_enabled:
            return None
        found = await self._find_newest(sha256)
        if found is None or found.audience != Audience.PUBLIC:
            return None
        if not self._is_current(found, now):
            await self._renew(sha256, now=now)
            found = await self._find_newest(sha256)
        if found is None or not self._is_current(found, now) or found.is_withheld_share:
            return None
        return None if await self._is_taken_back(found) else found.object

    async def _find_newest(self, sha256: bytes) -> StoredAttestation | None:
        vouching = self.tools.vouching
        async with self.tools.database.connection() as conn:
            return await attestations.find_newest(conn, sha256, vouching.identity.profile(vouching.profile))

    def _is_current(self, found: StoredAttestation, now: datetime) -> bool:
        """Tell whether an attestation holds, and is of the scanner as it is now."""
        state = self.tools.vouching.scanning.published_state
        return found.end_time > now and found.state_digest == state.digest

    async def _renew(self, sha256: bytes, *, now: datetime) -> None:
        """Attest anew what was attested before and was examined since, as the scanner is now.

        That it was attested says that it stood in a post for everybody, which nobody would tell us again.
        """
        outcome = await find_outcome(sha256, _REFERENCE, door=Door.UPLOADS, tools=self.tools)
        if outcome is None:
            return
        decision = Decision(delivery=DeliveryDecision.FORWARD, outcomes=(outcome,), reason=Door.UPLOADS.value)
        for _ in range(await attest(decision, tools=self.tools.vouching, now=now)):
            self.tools.metrics.count_attestation(outcome="issued")

    async def _is_taken_back(self, found: StoredAttestation) -> bool:
        """Tell whether we revoked this attestation or its key; what it says of the state was held before."""
        # What we built ourselves parses, and may name http where nothing else was to be had.
        attestation = parse_attestation(found.object, allow_http=True)
        subjects = (attestation.body.id, attestation.verification_method)
        async with self.tools.database.connection() as conn:
            revoked = await attestations.list_revocations_of(conn, subjects)
        return any(one.issuer == attestation.body.issuer for one in revoked)
