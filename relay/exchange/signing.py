"""Sign what relays ask and answer each other, by the profile of FASP.

RFC 9421 with Ed25519: a request over `@method`, `@target-uri` and `content-digest`, an answer over `@status`
and `content-digest`, both with `created` and `keyid`. Our requests carry a `nonce` besides, so that two equal
ones within a second are still two. Source: FASP general v0.1, protocol basics.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.errors import StartupError
from signatures.errors import Reason, VerificationError
from signatures.http import FASP_FRESHNESS, Profile, Scheme, sign_request, sign_response, verify_response
from signatures.keys import parse_multikey

if TYPE_CHECKING:
    from datetime import datetime

    from db.peers import Peer
    from relay.clock import Clock
    from relay.tools.identity import Identity
    from signatures.keys import PrivateKey
    from signatures.message import RequestMessage, ResponseMessage

# 96 bits: nobody ever sees two equal ones.
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSigner:
    """Signs with the relay's own key of the peer API; see `create_peer_signer`."""

    key: PrivateKey
    key_id: str
    clock: Clock

    def sign(self, message: RequestMessage) -> RequestMessage:
        """Return a request to a peer with Host, Date, Content-Digest and the signature.

        Raises:
            MalformedError: It is signed already, or a header cannot be signed.
        """
        return sign_request(
            message,
            key=self.key,
            key_id=self.key_id,
            scheme=Scheme.RFC9421,
            now=self.clock.now(),
            profile=Profile.FASP,
            nonce=secrets.token_urlsafe(_NONCE_BYTES),
        )

    def sign_answer(self, answer: ResponseMessage) -> ResponseMessage:
        """Return an answer to a peer with Content-Digest and the signature; refusals are signed alike.

        Raises:
            MalformedError: It is signed already.
        """
        return sign_response(answer, key=self.key, key_id=self.key_id, now=self.clock.now())


def create_peer_signer(identity: Identity, clock: Clock) -> PeerSigner:
    """Take the key of the peer API from an identity.

    Raises:
        StartupError: There is none, because the keys were only found and not made.
    """
    if identity.api_key is None:
        raise StartupError(
            "This relay has no key for its peers yet, so that it can ask them nothing. The relay makes it "
            "when it starts: start it once, or run `breakwater keys generate` as its user."
        )
    multikey = identity.api_key.public.to_multikey()
    return PeerSigner(key=identity.api_key, key_id=f"{identity.actor}#{multikey}", clock=clock)


def verify_answer(answer: ResponseMessage, *, peer: Peer, now: datetime) -> None:
    """Verify that a peer signed this answer, just now.

    The caller owes: the answer came on the connection of the request, to the peer's own origin over TLS.
    Nothing in the profile binds an answer to what was asked.

    Raises:
        MalformedError: A header of the signature stands there twice or does not parse.
        VerificationError: As `signatures.http.verify_response`, or unknown_issuer for a peer whose key was
            never fetched. After wrong_key and bad_signature the peer may have a new key: see
            `relay.exchange.admission`.
    """
    if peer.key_id is None or peer.multikey is None:
        raise VerificationError(Reason.UNKNOWN_ISSUER, "the peer's key was never fetched")
    verify_response(
        answer, key=parse_multikey(peer.multikey), key_id=peer.key_id, now=now, freshness=FASP_FRESHNESS
    )
