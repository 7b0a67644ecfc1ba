"""Remote actors: their documents, their keys, and what can happen to both."""

from __future__ import annotations

import functools
import json
from enum import StrEnum
from typing import TYPE_CHECKING

from signatures.http import Scheme, sign_request
from signatures.keys import PrivateKey, generate_ed25519, generate_rsa
from signatures.message import Headers, RequestMessage
from tests.fediverse.behaviours import ACTIVITY_JSON, Behaviour, refuse, serve_json

if TYPE_CHECKING:
    import asyncio
    from datetime import datetime

    from tests.fediverse.wire import WireRequest
    from tests.fediverse.world import Origin


class KeyForm(StrEnum):
    """How an actor publishes its RSA key."""

    FRAGMENT = "fragment"
    """Inside the actor, as ACTOR#main-key."""
    STAND_ALONE = "stand_alone"
    """A document of its own at ACTOR/main-key that names its owner."""
    STUB = "stub"
    """At ACTOR/main-key, inside a cut-down actor."""


@functools.cache
def rsa_key(number: int) -> PrivateKey:
    """Return the process's nth RSA key; making one takes a tenth of a second."""
    return generate_rsa()


@functools.cache
def ed25519_key(number: int) -> PrivateKey:
    """Return the process's nth Ed25519 key."""
    return generate_ed25519()


class Actor:
    """An actor of an origin.

    Attributes:
        is_gone: Its document answers 410.
        lists_key: Its document publishes its keys.
        key_owner: What the published key gives as its owner; None for the actor itself.
    """

    def __init__(self, origin: Origin, name: str, *, number: int, form: KeyForm = KeyForm.FRAGMENT) -> None:
        self.origin = origin
        self.name = name
        self.form = form
        self.id = origin.url(f"/users/{name}")
        self.inbox = f"{self.id}/inbox"
        self.is_gone = False
        self.lists_key = True
        self.key_owner: str | None = None
        self._number = number
        self._rotations = 0
        self._statuses = 0

    @property
    def key_id(self) -> str:
        return f"{self.id}#main-key" if self.form is KeyForm.FRAGMENT else f"{self.id}/main-key"

    @property
    def multikey_id(self) -> str:
        return f"{self.id}#ed25519-key"

    @property
    def rsa(self) -> PrivateKey:
        return rsa_key(self._number + 1000 * self._rotations)

    @property
    def ed25519(self) -> PrivateKey:
        return ed25519_key(self._number + 1000 * self._rotations)

    def rotate_keys(self) -> None:
        """Replace both keys; signatures from now on are by the new ones."""
        self._rotations += 1

    def vanish(self) -> None:
        """Answer 410 from now on."""
        self.is_gone = True

    def new_id(self, kind: str = "statuses") -> str:
        """Return an id that was not used yet."""
        self._statuses += 1
        return f"{self.id}/{kind}/{self._statuses}"

    def build_key(self) -> dict[str, object]:
        return {
            "id": self.key_id,
            "owner": self.key_owner or self.id,
            "publicKeyPem": self.rsa.public.to_pem(),
        }

    def build_document(self) -> dict[str, object]:
        document: dict[str, object] = {
            "@context": [
                "https://www.w3.org/ns/activitystreams",
                "https://w3id.org/security/v1",
                "https://w3id.org/security/multikey/v1",
            ],
            "id": self.id,
            "type": "Person",
            "preferredUsername": self.name,
            "inbox": self.inbox,
            "outbox": f"{self.id}/outbox",
        }
        if self.lists_key:
            document["publicKey"] = self.build_key()
            document["assertionMethod"] = [
                {
                    "id": self.multikey_id,
                    "type": "Multikey",
                    "controller": self.key_owner or self.id,
                    "publicKeyMultibase": self.ed25519.public.to_multikey(),
                }
            ]
        return document

    def serve_document(self) -> Behaviour:
        """Serve what the actor is at the time of the request."""

        async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
            chosen = refuse(410) if self.is_gone else serve_json(self.build_document())
            return await chosen(request, number, writer)

        return behave

    def serve_key(self) -> Behaviour:
        """Serve the stand-alone key or the stub."""

        async def behave(request: WireRequest, number: int, writer: asyncio.StreamWriter) -> bool:
            stub = {"id": self.id, "type": "Person", "publicKey": self.build_key()}
            shown = self.build_key() if self.form is KeyForm.STAND_ALONE else stub
            chosen = refuse(410) if self.is_gone else serve_json(shown)
            return await chosen(request, number, writer)

        return behave

    def build_delivery(
        self,
        activity: object,
        inbox_url: str,
        *,
        headers: Headers = (("Content-Type", ACTIVITY_JSON),),
    ) -> RequestMessage:
        """Build an unsigned delivery; `activity` may be bytes that are to be sent as they are."""
        body = activity if isinstance(activity, bytes) else json.dumps(activity).encode()
        scheme, _, rest = inbox_url.partition("://")
        authority, slash, target = rest.partition("/")
        return RequestMessage(
            method="POST",
            scheme=scheme,
            authority=authority,
            target=slash + target,
            headers=headers,
            body=body,
        )

    def sign(
        self,
        message: RequestMessage,
        *,
        now: datetime,
        scheme: Scheme = Scheme.CAVAGE,
        key: PrivateKey | None = None,
        key_id: str | None = None,
    ) -> RequestMessage:
        """Sign a request with the RSA key, or with whatever key under whatever id a test wants."""
        return sign_request(
            message, key=key or self.rsa, key_id=key_id or self.key_id, scheme=scheme, now=now
        )

    def sign_and_build(
        self,
        activity: object,
        inbox_url: str,
        *,
        now: datetime,
        scheme: Scheme = Scheme.CAVAGE,
    ) -> RequestMessage:
        """Build a delivery of an activity and sign it."""
        return self.sign(self.build_delivery(activity, inbox_url), now=now, scheme=scheme)
