"""The inbox door: a reverse proxy for `POST …/inbox`."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from aiohttp import web
from multidict import CIMultiDict

from db.errors import DatabaseError
from relay.errors import MalformedActivityError
from relay.pipeline import Accepted, Overloaded, PassedThrough, Refused, Reply, Tools, receive
from relay.web import problems
from relay.web.bodies import Bodies, TooMuchInHandError, TooSlowError
from relay.web.edge import AmbiguousRequestError, Network, is_ambiguous, is_inbox, parse_arrival

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)

# Senders give up after 5 to 30 seconds; a database that hangs must not keep their connections for ever.
_ANSWER_WITHIN: Final = timedelta(seconds=30)

# What can go wrong with a delivery; anything else is a fault of ours.
_KNOWN: Final = (
    AmbiguousRequestError,
    DatabaseError,
    MalformedActivityError,
    TimeoutError,
    TooMuchInHandError,
    TooSlowError,
    web.HTTPRequestEntityTooLarge,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxDoor:
    """Answer deliveries.

    Attributes:
        tools: What the line works with.
        trusted_proxies: Whose forwarding headers are believed.
        max_body_bytes: The longest body that is read.
        hosts: The names under which deliveries may reach us; empty for any. A signature binds a delivery
            to the host it was made for, and one made for another server is not for us.
        answer_within: How long taking in one delivery may last; past it nothing is known to be stored.
        bodies: What is being taken in now.
    """

    tools: Tools
    trusted_proxies: Sequence[Network]
    max_body_bytes: int
    hosts: frozenset[str]
    answer_within: timedelta = _ANSWER_WITHIN
    bodies: Bodies = field(default_factory=Bodies)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request to an inbox."""
        if request.method != "POST":
            return _belongs_behind()
        if is_ambiguous(request.raw_path):
            response = problems.ambiguous("the path")
        elif not is_inbox(request.raw_path):
            return _belongs_behind()
        else:
            response = await self._take(request)
        self.tools.metrics.count_answer(status=response.status)
        return response

    async def _take(self, request: web.Request) -> web.Response:
        try:
            async with self.bodies.read(request, max_bytes=self.max_body_bytes) as body:
                arrival = parse_arrival(request, body, trusted_proxies=self.trusted_proxies)
                if self.hosts and arrival.message.authority.lower() not in self.hosts:
                    return problems.malformed("The Host header names a server that is not behind this relay.")
                async with asyncio.timeout(self.answer_within.total_seconds()):
                    reply = await receive(
                        arrival.message, remote_address=arrival.remote_address, tools=self.tools
                    )
        except _KNOWN as error:
            return self._explain(error)
        return _respond(reply)

    def _explain(self, error: Exception) -> web.Response:
        """Answer a delivery that could not be taken in."""
        match error:
            case web.HTTPRequestEntityTooLarge():
                return problems.too_large(self.max_body_bytes)
            case TooSlowError():
                return problems.too_slow()
            case AmbiguousRequestError():
                return problems.ambiguous(str(error))
            case MalformedActivityError():
                return problems.malformed(str(error))
            case _:
                # Nothing is known to be stored. A sender that asks again is answered as for a duplicate.
                _log.error("delivery_not_stored error=%s", type(error).__name__)
                return problems.cannot_store()


def _belongs_behind() -> web.Response:
    return problems.not_here(
        "This is Breakwater's inbox door. It takes POST requests to inboxes; everything else belongs "
        "to the server behind it, and the reverse proxy should send it there."
    )


def _respond(reply: Reply) -> web.Response:
    match reply:
        case Accepted():
            return problems.accepted()
        case PassedThrough(answer=answer):
            return web.Response(status=answer.status, body=answer.body, headers=CIMultiDict(answer.headers))
        case Refused(reason=reason):
            return problems.bad_signature(reason)
        case Overloaded(is_flood=is_flood):
            return problems.flooding() if is_flood else problems.cannot_store()
    assert_never(reply)
