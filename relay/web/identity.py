"""Say who the relay is: actor, WebFinger, NodeInfo. All of it is readable by anyone, unsigned."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from relay.exchange.discovery import APPLICATION_REL, MODERATION, RELATIONSHIP, ROLE_NAME, SERVICE_REL
from relay.tools.identity import SOFTWARE_NAME, SOFTWARE_VERSION, Identity
from relay.web import problems

if TYPE_CHECKING:
    from collections.abc import Mapping

_NODEINFO_21: Final = "http://nodeinfo.diaspora.software/ns/schema/2.1"

_ACTIVITY_JSON: Final = "application/activity+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityPages:
    """Serve the relay's own documents.

    Attributes:
        identity: The actor and its keys.
        domain: The instance's domain that the relay stands for; empty where it has only its own.
        profile: The name of the scanning profile.
    """

    identity: Identity
    domain: str
    profile: str

    async def actor(self, _: web.Request) -> web.Response:
        """Answer with the actor document."""
        return _json(self.identity.build_actor(), _ACTIVITY_JSON)

    async def outbox(self, request: web.Request) -> web.Response:
        """Answer with an empty collection: the relay publishes nothing to everybody."""
        return _json(
            {
                "@context": "https://www.w3.org/ns/activitystreams",
                "id": f"{self.identity.base_url}{request.path.removeprefix(self._path)}",
                "type": "OrderedCollection",
                "totalItems": 0,
                "orderedItems": [],
            },
            _ACTIVITY_JSON,
        )

    async def scanning_profile(self, request: web.Request) -> web.Response:
        """Answer with the scanning profile that attestations name."""
        if request.match_info["name"] != self.profile:
            return problems.not_here("No such profile.")
        return _json(
            {
                "@context": "https://www.w3.org/ns/activitystreams",
                "id": self.identity.profile(self.profile),
                "type": "Document",
                "name": "Breakwater scanning profile",
                "summary": "Every picture of a file is decoded and checked against hash lists (exact and "
                "perceptual) and, where the admin switched it on, an image classifier. What was checked "
                "against is described by the state of each attestation.",
            },
            _ACTIVITY_JSON,
        )

    async def webfinger(self, request: web.Request) -> web.Response:
        """Answer a look-up of the relay's account, its actor or its bare host (FEP-d556)."""
        resource = request.query.get("resource", "")
        host = urlsplit(self.identity.base_url).netloc
        account = f"acct:{SOFTWARE_NAME}@{host}"
        hosts = {host, self.domain} - {""}
        bare = {
            f"{scheme}://{name}{end}" for scheme in ("https", "http") for name in hosts for end in ("", "/")
        }
        if resource in bare:
            link = {
                "rel": SERVICE_REL,
                "type": _ACTIVITY_JSON,
                "href": self.identity.actor,
                # A server beside us may name actors for other purposes; this tells ours apart.
                "properties": {ROLE_NAME: MODERATION, RELATIONSHIP: MODERATION},
            }
            return _json(
                {"subject": resource, "aliases": [self.identity.actor], "links": [link]},
                "application/jrd+json",
            )
        if resource in {account, self.identity.actor}:
            link = {"rel": "self", "type": _ACTIVITY_JSON, "href": self.identity.actor}
            return _json(
                {"subject": account, "aliases": [self.identity.actor], "links": [link]},
                "application/jrd+json",
            )
        return problems.not_here("This relay knows only its own account, its actor and its bare host.")

    async def nodeinfo_links(self, _: web.Request) -> web.Response:
        """Answer with the NodeInfo links, the application actor among them (FEP-2677)."""
        links = [
            {"rel": _NODEINFO_21, "href": f"{self.identity.base_url}/nodeinfo/2.1"},
            {"rel": APPLICATION_REL, "href": self.identity.actor},
        ]
        return _json({"links": links}, "application/json")

    async def nodeinfo(self, _: web.Request) -> web.Response:
        """Answer with NodeInfo 2.1."""
        return _json(
            {
                "version": "2.1",
                "software": {"name": SOFTWARE_NAME, "version": SOFTWARE_VERSION},
                "protocols": ["activitypub"],
                "services": {"inbound": [], "outbound": []},
                "openRegistrations": False,
                "usage": {"users": {"total": 0}},
                "metadata": {"scansFor": self.domain, "applicationActor": self.identity.actor},
            },
            "application/json",
        )

    @property
    def _path(self) -> str:
        return urlsplit(self.identity.base_url).path


def _json(document: Mapping[str, object], content_type: str) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type=content_type)
