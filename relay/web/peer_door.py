"""The door of the peer API: who asks is found out first, and every answer is signed, refusals included.

Cheapest first: the body's length, then the signature over it, then what it asks. What a peer may ask is
answered by a handler that knows the peer and gives a plain answer; signing it is done here, in one place.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from aiohttp import hdrs, web

from db.errors import DatabaseError
from relay.exchange.peer_authentication import (
    Refresh,
    Refusal,
    RefusalReason,
    SeenSignatures,
    authenticate_peer,
)
from relay.metrics import Metrics
from relay.web import problems
from relay.web.bodies import Bodies, TooMuchInHandError, TooSlowError
from relay.web.edge import AmbiguousRequestError, Network, parse_arrival
from signatures.message import ResponseMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from db.peers import Peer
    from db.pool import Database
    from relay.clock import Clock
    from relay.exchange.signing import PeerSigner

_log = logging.getLogger(__name__)

NAME: Final = "peer_api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question whose sender is known.

    Attributes:
        peer: Who asks.
        body: The octets of the body.
        query: The query as the server parsed it; the signature covered it as it was sent.
        parts: What the path's placeholders stand for.
    """

    peer: Peer
    body: bytes
    query: Mapping[str, str]
    parts: Mapping[str, str]


Handler: TypeAlias = Callable[[Asked], Awaitable[web.Response]]
"""Answers a peer's question; a DatabaseError that it raises is answered here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDoor:
    """Lets peers in and signs what they are answered.

    Attributes:
        database: Where the peers are.
        clock: The time.
        signer: Signs the answers.
        base_url: Where this relay is found from outside.
        trusted_proxies: Whose forwarding headers are believed.
        refresh: Fetches the keys of a peer again whose signature is by one that we do not know.
        seen: The signatures of the last minutes.
        bodies: What is being taken in now.
        metrics: Counts the answers.
    """

    database: Database
    clock: Clock
    signer: PeerSigner
    base_url: str
    trusted_proxies: Sequence[Network]
    refresh: Refresh | None = None
    seen: SeenSignatures = field(default_factory=SeenSignatures)
    bodies: Bodies = field(default_factory=Bodies)
    metrics: Metrics = field(default_factory=Metrics)

    def open(
        self, handler: Handler, *, max_bytes: int, may_ask: Callable[[Peer], bool] | None = None
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return what answers requests with a handler.

        Args:
            handler: Answers a question.
            max_bytes: How long its body may be.
            may_ask: Which peers are let in; those that may read our feed by default.
        """

        async def answer(request: web.Request) -> web.Response:
            response = await self._answer(request, handler, max_bytes, may_ask)
            self.metrics.count_door_answer(door=NAME, status=response.status)
            return self._sign(response)

        return answer

    async def _answer(
        self,
        request: web.Request,
        handler: Handler,
        max_bytes: int,
        may_ask: Callable[[Peer], bool] | None,
    ) -> web.Response:
        try:
            async with self.bodies.read(request, max_bytes=max_bytes) as body:
                arrival = parse_arrival(request, body, trusted_proxies=self.trusted_proxies)
                found = await authenticate_peer(
                    arrival.message,
                    database=self.database,
                    now=self.clock.now(),
                    base_url=self.base_url,
                    seen=self.seen,
                    refresh=self.refresh,
                    may_ask=may_ask,
                )
            if isinstance(found, Refusal):
                return _refuse(found)
            asked = Asked(peer=found, body=body, query=request.query, parts=request.match_info)
            return await handler(asked)
        except web.HTTPRequestEntityTooLarge:
            return problems.question_too_large(max_bytes)
        except TooSlowError:
            return problems.too_slow()
        except AmbiguousRequestError as error:
            return problems.ambiguous(str(error))
        except (DatabaseError, TooMuchInHandError) as error:
            _log.error("peer_not_answered error=%s", type(error).__name__)
            return problems.cannot_look()

    def _sign(self, response: web.Response) -> web.Response:
        """Sign a plain answer; what tells the server to close the connection stays."""
        body = response.body if isinstance(response.body, bytes) else b""
        signed = self.signer.sign_answer(ResponseMessage(status=response.status, headers=(), body=body))
        for name, value in signed.headers:
            response.headers[name] = value
        # What one peer may see is no other's.
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        return response


def _refuse(refusal: Refusal) -> web.Response:
    match refusal.reason:
        case RefusalReason.FORM | RefusalReason.REPLAYED:
            return problems.refused_peer_signature(refusal.detail)
        case RefusalReason.NOT_ADMITTED:
            return problems.no_peer_of_ours(refusal.detail)
        case RefusalReason.TOO_MANY:
            return problems.asking_too_often()
    assert_never(refusal.reason)
