"""Other relays as the tests meet them: an actor on a simulated origin, with all that leads to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from relay.exchange.actors import PeerFacts
from relay.exchange.discovery import APPLICATION_REL, SERVICE_REL, fetch_peer
from relay.tools.identity import Identity
from signatures.http import Scheme, sign_request
from signatures.message import RequestMessage
from tests.fediverse import behaviours as do
from tests.fediverse import send
from tests.fediverse.actors import ed25519_key, rsa_key

if TYPE_CHECKING:
    import asyncio
    from datetime import datetime

    from relay.tools.fetching import GuardedClient
    from tests.fediverse import Origin, WireRequest, WireResponse
    from tests.fediverse.behaviours import Behaviour

ACTIVITY_JSON = "application/activity+json"


def build_identity(base_url: str, number: int) -> Identity:
    """Build an identity with keys of its own, the same for the same number."""
    return Identity(
        base_url=base_url,
        http_key=rsa_key(500 + number),
        signing_key=ed25519_key(500 + 2 * number),
        api_key=ed25519_key(501 + 2 * number),
        secret=bytes([number] * 32),
    )


class Neighbour:
    """Another relay.

    Attributes:
        identity: Its actor and keys.
        document: What its actor's address serves; a test may change it.
    """

    def __init__(self, origin: Origin, *, number: int = 1, path: str = "/breakwater") -> None:
        self.origin = origin
        self.identity = build_identity(origin.url(path), number)
        self.document: dict[str, Any] = dict(self.identity.build_actor())
        origin.on(f"{path}/actor", self._serve_document())
        origin.on(f"{path}/actor/inbox", do.refuse(202))

    @property
    def actor(self) -> str:
        return self.identity.actor

    @property
    def inbox_path(self) -> str:
        return f"{urlsplit(self.actor).path}/inbox"

    @property
    def domain(self) -> str:
        return urlsplit(self.actor).netloc

    @property
    def letters(self) -> list[dict[str, Any]]:
        """What came into its inbox."""
        return [json.loads(one.body) for one in self.origin.requests if one.path == self.inbox_path]

    def name_in_webfinger(self, *more: dict[str, object]) -> None:
        """Let the bare host lead to it, after other links."""
        links = [*more, {"rel": SERVICE_REL, "type": ACTIVITY_JSON, "href": self.actor}]
        self.origin.on("/.well-known/webfinger", do.serve_json({"links": links}, "application/jrd+json"))

    def name_in_nodeinfo(self) -> None:
        """Let the list of NodeInfo documents lead to it."""
        links = [{"rel": APPLICATION_REL, "href": self.actor}]
        self.origin.on("/.well-known/nodeinfo", do.serve_json({"links": links}, "application/json"))

    def build(self, kind: str, target: object, *, number: int = 1, **more: object) -> dict[str, object]:
        """Build an activity of its actor."""
        return {
            "@context": "https://www.w3.org/ns/activitystreams",
            "id": f"{self.actor}/activities/{number}",
            "type": kind,
            "actor": self.actor,
            "object": target,
            **more,
        }

    def sign(
        self, activity: object, inbox: str, *, now: datetime, scheme: Scheme = Scheme.RFC9421
    ) -> RequestMessage:
        """Build a delivery, signed with its RSA key."""
        parts = urlsplit(inbox)
        message = RequestMessage(
            method="POST",
            scheme=parts.scheme,
            authority=parts.netloc,
            target=parts.path,
            headers=(("Content-Type", ACTIVITY_JSON),),
            body=activity if isinstance(activity, bytes) else json.dumps(activity).encode(),
        )
        return sign_request(
            message, key=self.identity.http_key, key_id=self.identity.http_key_id, scheme=scheme, now=now
        )

    async def deliver(self, activity: object, inbox: str, *, now: datetime) -> WireResponse:
        """Deliver an activity, signed now."""
        parts = urlsplit(inbox)
        message = self.sign(activity, inbox, now=now)
        return await send(message, host=parts.hostname or "", port=parts.port or 80)

    async def find(self, client: GuardedClient) -> PeerFacts:
        """Fetch what it says about itself."""
        found = await fetch_peer(self.actor, domain=self.domain, client=client)
        assert isinstance(found, PeerFacts), found
        return found

    def _serve_document(self) -> Behaviour:
        async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
            return await do.serve_json(self.document)(request, number, writer)

        return behave
