"""Serve attestations, to signed requests of known peers only.

An attestation that does not exist, one of the share that is never issued, and one that is not public
are answered alike, so that asking tells nothing about what was withheld.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from db import attestations, peers
from db.errors import DatabaseError
from relay.exchange.taken_back import tell_taken_back
from relay.model import Audience
from relay.stages.authenticate import Authenticated, AuthenticationPolicy, authenticate
from relay.web import problems
from relay.web.edge import AmbiguousRequestError, Network, parse_arrival
from signatures.http import FASP_FRESHNESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.pool import Database
    from relay.clock import Clock
    from relay.tools.key_directory import KeyDirectory
    from signatures.message import RequestMessage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationDoor:
    """Answer requests for attestations by their id."""

    database: Database
    keys: KeyDirectory
    clock: Clock
    trusted_proxies: Sequence[Network]

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        try:
            arrival = parse_arrival(request, await request.read(), trusted_proxies=self.trusted_proxies)
            return await self._answer(request, arrival.message)
        except AmbiguousRequestError as error:
            return problems.ambiguous(str(error))
        except DatabaseError as error:
            _log.error("attestation_not_served error=%s", type(error).__name__)
            return problems.cannot_look()

    async def _answer(self, request: web.Request, message: RequestMessage) -> web.Response:
        now = self.clock.now()
        authenticated = await authenticate(
            message, keys=self.keys, now=now, policy=AuthenticationPolicy(freshness=FASP_FRESHNESS)
        )
        if not isinstance(authenticated, Authenticated):
            return problems.bad_signature("the signature could not be verified")
        async with self.database.connection() as conn:
            peer = await peers.find_peer(conn, authenticated.sender.actor)
            if peer is None or peer.tier is peers.Tier.QUARANTINED:
                return problems.not_a_peer()
            found = await attestations.find_attestation(conn, request.match_info["id"])
        is_served = (
            found is not None
            and not found.is_withheld_share
            and found.audience == Audience.PUBLIC
            and found.end_time > now
        )
        if is_served and found is not None:
            (is_served,) = [not one for one in await tell_taken_back((found.object,), database=self.database)]
        if found is None or not is_served:
            return problems.not_here("No such attestation, or none that is given out.")
        # The signed bytes as they were stored, never written anew.
        return web.Response(body=found.object, content_type="application/activity+json")
