"""The inbox of the relay's own actor: Follow, Accept, Reject and Undo from other relays, nothing else.

Cheapest first: the body's length and form, then whose signature it is (which may mean to fetch a key, so many
an address), then what it changes. The signature has to be over our own address, whatever a proxy in front
made of the request.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from aiohttp import web

from db.errors import DatabaseError
from relay.exchange.activities import (
    MAX_ACTIVITY_BYTES,
    FollowActivity,
    MalformedFollowError,
    parse_follow_activity,
)
from relay.exchange.peer_authentication import readdress
from relay.exchange.receiving import FollowTools, Receipt, receive_follow_activity
from relay.stages.authenticate import (
    Authenticated,
    AuthenticationPolicy,
    Rejected,
    Unverifiable,
    authenticate,
)
from relay.tools.key_limits import LOOKUPS_AT_ONCE, LOOKUPS_PER_SECOND, BoundedKeys
from relay.tools.limits import FairShare
from relay.web import problems
from relay.web.bodies import Bodies, TooMuchInHandError, TooSlowError
from relay.web.edge import AmbiguousRequestError, Network, parse_arrival
from signatures.http import FASP_FRESHNESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.tools.key_directory import KeyDirectory

_log = logging.getLogger(__name__)

# Senders wait 5 to 30 seconds; looking at a stranger's actor may take long.
_ANSWER_WITHIN: Final = timedelta(seconds=25)

# Relays sign every try anew, so that a signature need not last as long as a queue.
_POLICY: Final = AuthenticationPolicy(freshness=FASP_FRESHNESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorInboxDoor:
    """Answer deliveries to the relay's own actor.

    Attributes:
        tools: What follows are received with.
        keys: Who knows the keys of other actors.
        trusted_proxies: Whose forwarding headers are believed.
        lookups: How many unknown keys an address may make us fetch.
        answer_within: How long taking in one activity may last.
        bodies: What is being taken in now.
    """

    tools: FollowTools
    keys: KeyDirectory
    trusted_proxies: Sequence[Network]
    lookups: FairShare = field(
        default_factory=lambda: FairShare(per_second=LOOKUPS_PER_SECOND, burst=LOOKUPS_AT_ONCE)
    )
    answer_within: timedelta = _ANSWER_WITHIN
    bodies: Bodies = field(default_factory=Bodies)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one delivery."""
        try:
            async with self.bodies.read(request, max_bytes=MAX_ACTIVITY_BYTES) as body:
                async with asyncio.timeout(self.answer_within.total_seconds()):
                    return await self._take(request, body)
        except web.HTTPRequestEntityTooLarge:
            return problems.too_large(MAX_ACTIVITY_BYTES)
        except TooSlowError:
            return problems.too_slow()
        except AmbiguousRequestError as error:
            return problems.ambiguous(str(error))
        except MalformedFollowError as error:
            return problems.malformed(str(error))
        except (DatabaseError, TimeoutError, TooMuchInHandError) as error:
            _log.error("follow_not_stored error=%s", type(error).__name__)
            return problems.cannot_store()

    async def _take(self, request: web.Request, body: bytes) -> web.Response:
        arrival = parse_arrival(request, body, trusted_proxies=self.trusted_proxies)
        activity = parse_follow_activity(body)
        clock = self.tools.clock
        authenticated = await authenticate(
            readdress(arrival.message, self.tools.identity.base_url),
            keys=BoundedKeys(
                directory=self.keys, fair_share=self.lookups, address=arrival.remote_address, clock=clock
            ),
            now=clock.now(),
            policy=_POLICY,
            actor=activity.actor,
        )
        match authenticated:
            case Authenticated():
                return await self._receive(activity)
            case Unverifiable():
                return problems.cannot_store()
            case Rejected(reason=reason):
                return problems.bad_signature(reason.value)
        assert_never(authenticated)

    async def _receive(self, activity: FollowActivity) -> web.Response:
        receipt = await receive_follow_activity(activity, tools=self.tools)
        match receipt:
            case Receipt.TAKEN | Receipt.IGNORED:
                return problems.accepted()
            case Receipt.NOT_FOR_US:
                return problems.malformed("The Follow is about somebody else than this relay's actor.")
            case Receipt.NOT_A_PEER:
                return problems.not_a_peer()
            case Receipt.NOT_A_RELAY:
                return problems.not_a_relay()
            case Receipt.UNREACHABLE:
                return problems.cannot_store()
            case Receipt.TOO_MANY:
                return problems.flooding()
        assert_never(receipt)
