"""The inbox door: a reverse proxy for `POST …/inbox`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from aiohttp import web
from multidict import CIMultiDict

from db.errors import DatabaseUnavailableError
from relay.errors import MalformedActivityError
from relay.pipeline import Accepted, Overloaded, PassedThrough, Refused, Reply, Tools, receive
from relay.web import problems
from relay.web.edge import AmbiguousRequestError, Network, is_inbox, parse_arrival

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxDoor:
    """Answer deliveries.

    Attributes:
        tools: What the line works with.
        trusted_proxies: Whose forwarding headers are believed.
        max_body_bytes: The longest body that is read.
        hosts: The names under which deliveries may reach us; empty for any. A signature binds a delivery
            to the host it was made for, and one made for another server is not for us.
    """

    tools: Tools
    trusted_proxies: Sequence[Network]
    max_body_bytes: int
    hosts: frozenset[str]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request to an inbox."""
        if request.method != "POST" or not is_inbox(request.raw_path.partition("?")[0]):
            return problems.not_here(
                "This is Breakwater's inbox door. It takes POST requests to inboxes; everything else belongs "
                "to the server behind it, and the reverse proxy should send it there."
            )
        try:
            body = await request.read()
            arrival = parse_arrival(request, body, trusted_proxies=self.trusted_proxies)
            if self.hosts and arrival.message.authority.lower() not in self.hosts:
                return problems.malformed("The Host header names a server that is not behind this relay.")
            reply = await receive(arrival.message, remote_address=arrival.remote_address, tools=self.tools)
        except web.HTTPRequestEntityTooLarge:
            reply_response = problems.too_large(self.max_body_bytes)
        except AmbiguousRequestError as error:
            reply_response = problems.malformed(f"{error}; two servers could read this request differently.")
        except MalformedActivityError as error:
            reply_response = problems.malformed(str(error))
        except DatabaseUnavailableError:
            _log.error("delivery_not_stored reason=database_unavailable")
            reply_response = problems.cannot_store()
        else:
            reply_response = _respond(reply)
        self.tools.metrics.count_answer(status=reply_response.status)
        return reply_response


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
