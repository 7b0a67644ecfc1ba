"""Who the relay is: its actor, its three keys, and what it signs with them.

The RSA key signs HTTP requests, because every server can verify that. One Ed25519 key signs attestations and
nothing else, so that it can be revoked without the others; a second one signs what relays ask and answer each
other, so that a key that is in use all day never vouches for media.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from signatures.http import Scheme, sign_request
from signatures.times import format_json_time

if TYPE_CHECKING:
    from relay.clock import Clock
    from relay.tools.key_files import RetiredKey
    from signatures.keys import PrivateKey, PublicKey
    from signatures.message import RequestMessage
    from signatures.strictjson import JsonObject

RSA_FRAGMENT: Final = "main-key"
API_PATH: Final = "/api/v1"
API_TERM: Final = "mediaScanApi"
"""What `endpoints` of the actor calls the place where peers ask."""
CAPABILITY: Final = "https://w3id.org/fep/f06a"
"""What `generator.implements` of the actor names (FEP-844e): it attests what it scanned."""
SOFTWARE_NAME: Final = "breakwater"
SOFTWARE_VERSION: Final = "0.1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The relay's own actor.

    Attributes:
        base_url: Where the relay is found from outside, without a slash at its end.
        http_key: RSA, for HTTP signatures.
        signing_key: Ed25519, for attestations.
        secret: 32 bytes that never leave; everything derived is bound to this install.
        retired: Earlier signing keys, which are published until the last attestation they signed has ended.
        api_key: Ed25519, for what relays ask and answer each other; None only for an install from before
            there was such a key, until it is started again.
    """

    base_url: str
    http_key: PrivateKey
    signing_key: PrivateKey
    secret: bytes
    retired: tuple[RetiredKey, ...] = ()
    api_key: PrivateKey | None = None

    @property
    def actor(self) -> str:
        """The id of the actor."""
        return f"{self.base_url}/actor"

    @property
    def http_key_id(self) -> str:
        """The id of the RSA key."""
        return f"{self.actor}#{RSA_FRAGMENT}"

    @property
    def verification_method(self) -> str:
        """The id of the Ed25519 key: its fragment is the key itself, so a new key has a new id."""
        return f"{self.actor}#{self.signing_key.public.to_multikey()}"

    @property
    def api_url(self) -> str:
        """Where peers ask, without a slash at its end."""
        return f"{self.base_url}{API_PATH}"

    @property
    def peers_collection(self) -> str:
        """Whom attestations are addressed to."""
        return f"{self.actor}/peers"

    def profile(self, name: str) -> str:
        """Return the id of a scanning profile."""
        return f"{self.base_url}/profiles/{name}"

    def build_actor(self) -> JsonObject:
        """Build the actor document, readable by anyone."""
        return {
            "@context": [
                "https://www.w3.org/ns/activitystreams",
                "https://w3id.org/security/v1",
                "https://www.w3.org/ns/did/v1",
                "https://w3id.org/security/multikey/v1",
                {
                    "generator": "as:generator",
                    "implements": {"@id": "https://w3id.org/fep/844e/implements"},
                    API_TERM: {"@id": f"{CAPABILITY}#{API_TERM}", "@type": "@id"},
                },
            ],
            "id": self.actor,
            "type": "Application",
            "preferredUsername": SOFTWARE_NAME,
            "name": "Breakwater media scanning relay",
            "summary": "Scans inbound media for one instance and attests what it did not find.",
            "inbox": f"{self.actor}/inbox",
            "outbox": f"{self.actor}/outbox",
            "endpoints": {API_TERM: self.api_url},
            "manuallyApprovesFollowers": True,
            "generator": {
                "type": "Application",
                "name": "Breakwater",
                "implements": [
                    {"href": "https://datatracker.ietf.org/doc/html/rfc9421", "name": "RFC-9421"},
                    {"href": CAPABILITY, "name": "FEP-f06a: Media Scan Attestations"},
                    {"href": "https://w3id.org/fep/8b32", "name": "FEP-8b32: Object Integrity Proofs"},
                ],
            },
            "publicKey": {
                "id": self.http_key_id,
                "owner": self.actor,
                "publicKeyPem": self.http_key.public.to_pem(),
            },
            "assertionMethod": [
                self._build_multikey(self.signing_key.public, {}),
                *(self._build_multikey(one.key, _build_end(one)) for one in self.retired),
            ],
            # FEP-521a: what authenticates the actor, as against what it asserts.
            "authentication": [] if self.api_key is None else [self._build_multikey(self.api_key.public, {})],
        }

    def _build_multikey(self, key: PublicKey, more: JsonObject) -> JsonObject:
        """Build one entry as FEP-521a has it."""
        return {
            "id": f"{self.actor}#{key.to_multikey()}",
            "type": "Multikey",
            "controller": self.actor,
            "publicKeyMultibase": key.to_multikey(),
            **more,
        }


def _build_end(retired: RetiredKey) -> JsonObject:
    end: JsonObject = {"expires": format_json_time(retired.expires)}
    if retired.revoked is not None:
        end["revoked"] = format_json_time(retired.revoked)
    return end


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySigner:
    """Sign our own GET requests; servers that demand signed fetches let the relay in."""

    identity: Identity
    clock: Clock

    def __call__(self, message: RequestMessage, scheme: Scheme) -> RequestMessage:
        """Return the message with a signature in the given scheme."""
        return sign_request(
            message,
            key=self.identity.http_key,
            key_id=self.identity.http_key_id,
            scheme=scheme,
            now=self.clock.now(),
        )
