"""Find out which peer asks.

The proof: the request carries one signature of the profile of FASP; its key id lies in the document of an
actor that is a peer; the key is the one that was admitted for that peer; the signature is over this method,
this address *of ours*, this body and a recent time; the same signature was not seen before; and the peer may
ask.

What is wrong with the form of a request is said in so many words, because whoever implements the profile
needs it. Who is a peer is not: an unknown key, a bad signature, a peer in quarantine and one that was never
accepted are refused alike.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from db import peers
from db.peers import Following, Peer, Tier
from relay.tools.urls import parse_url
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.http import FASP_FRESHNESS, Profile, find_signature, verify_request
from signatures.keys import generate_ed25519, parse_multikey
from signatures.origins import without_fragment

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from db.pool import Database
    from signatures.http import HttpSignature
    from signatures.keys import PublicKey
    from signatures.message import RequestMessage

# As many as one peer may make in the ten minutes for which a signature can be fresh, at the default rate of
# look-ups and with room for its feed; 2 MB a peer at the most, and an admin accepts each peer by hand.
MAX_SEEN_PER_PEER: Final = 8_192

# What a stranger's key would do, too: everything up to the signature is checked with it and fails alike.
_NOBODYS_KEY: Final = generate_ed25519().public


class RefusalReason(StrEnum):
    """Why a request of the peer API is not answered."""

    FORM = "form"
    """It is not of the profile: no better key would help."""
    REPLAYED = "replayed"
    """The same signature came before."""
    TOO_MANY = "too_many"
    """More requests than can be told apart from repetitions."""
    NOT_ADMITTED = "not_admitted"
    """Not the signature of a peer that may ask here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request of the peer API that is not answered.

    Attributes:
        reason: Which rule it broke.
        detail: What to tell the far side; it says nothing about who is a peer.
    """

    reason: RefusalReason
    detail: str


PeerVerdict: TypeAlias = Peer | Refusal

_NOT_ADMITTED: Final = Refusal(
    reason=RefusalReason.NOT_ADMITTED,
    detail="This relay answers the peers that its admin accepted, and knows none by this signature.",
)


class Refresh(Protocol):
    """What fetches a peer's keys again; `relay.exchange.admission.PeerRefresher` is one."""

    async def __call__(self, actor: str) -> bool:
        """Fetch the keys of a peer again unless that was done a moment ago; tell whether any changed."""
        ...


class SeenSignatures:
    """The signatures of the last minutes, so that none is acted upon twice.

    Each process has its own: behind a balancer a request can be repeated once a process, to the same effect.
    """

    def __init__(self) -> None:
        self._by_peer: dict[str, OrderedDict[bytes, datetime]] = {}

    def note(self, actor: str, signature: bytes, *, until: datetime, now: datetime) -> RefusalReason | None:
        """Remember a verified signature for as long as it would pass; say why it must not count."""
        seen = self._by_peer.setdefault(actor, OrderedDict())
        while seen and next(iter(seen.values())) < now:
            seen.popitem(last=False)
        digest = hashlib.sha256(signature).digest()[:16]
        if digest in seen:
            return RefusalReason.REPLAYED
        if len(seen) >= MAX_SEEN_PER_PEER:
            return RefusalReason.TOO_MANY
        seen[digest] = until
        return None


async def authenticate_peer(
    message: RequestMessage,
    *,
    database: Database,
    now: datetime,
    base_url: str,
    seen: SeenSignatures,
    refresh: Refresh | None = None,
    may_ask: Callable[[Peer], bool] | None = None,
) -> PeerVerdict:
    """Find out which peer made a request.

    Args:
        message: The request as received. Its scheme and authority are not believed: the signature has to be
            over our own address, whatever a proxy in front made of it.
        database: Where the peers are.
        now: When it was received.
        base_url: Where this relay is found from outside.
        seen: The signatures of the last minutes.
        refresh: Fetches the peer's keys again after a signature by a key that we do not know.
        may_ask: Which peers are answered; `may_read` by default.

    Raises:
        DatabaseError: The database does not answer.
    """
    message = readdress(message, base_url)
    try:
        signature = find_signature(message)
    except MalformedError as error:
        return Refusal(reason=RefusalReason.FORM, detail=f"The signature cannot be read: {error}.")
    if signature is None:
        return Refusal(reason=RefusalReason.FORM, detail=_UNSIGNED)
    actor = without_fragment(signature.key_id)
    found = await _verify(message, signature, database=database, now=now)
    if found is _NOT_ADMITTED and refresh is not None and await refresh(actor):
        found = await _verify(message, signature, database=database, now=now)
    if isinstance(found, Refusal):
        return found
    if not (may_ask or may_read)(found):
        return _NOT_ADMITTED
    # Kept for twice the age that passes: once for clocks that run behind, once for those that run ahead.
    until = now + FASP_FRESHNESS.max_age + FASP_FRESHNESS.max_ahead
    match seen.note(found.actor, signature.parsed.signature, until=until, now=now):
        case None:
            return found
        case reason:
            return Refusal(reason=reason, detail=_REPEATED[reason])


_UNSIGNED: Final = (
    "The request is not signed. Sign it by RFC 9421 with Ed25519 over @method, @target-uri and "
    "content-digest, with created and keyid."
)
_REPEATED: Final = {
    RefusalReason.REPLAYED: "This very signature came before. Sign every request anew; a nonce tells equal "
    "ones of one second apart.",
    RefusalReason.TOO_MANY: "More requests in ten minutes than this relay remembers. Ask less often.",
}


def readdress(message: RequestMessage, base_url: str) -> RequestMessage:
    """Return the request as made to our own scheme and authority: only a signature over those verifies then.

    What a request was signed for is not asked of the request itself, whose Host is anybody's to choose.
    """
    own = parse_url(base_url)
    return replace(message, scheme=own.scheme, authority=own.authority)


def may_read(peer: Peer) -> bool:
    """Tell whether a peer may read here: its Follow was accepted, and it is not in quarantine."""
    return peer.they_follow is Following.ACCEPTED and peer.tier is not Tier.QUARANTINED


async def _verify(
    message: RequestMessage, signature: HttpSignature, *, database: Database, now: datetime
) -> PeerVerdict:
    async with database.connection() as conn:
        peer = await peers.find_peer(conn, without_fragment(signature.key_id))
    key = _find_key(peer, signature.key_id)
    try:
        verify_request(
            message,
            signature,
            key=_NOBODYS_KEY if key is None else key,
            now=now,
            freshness=FASP_FRESHNESS,
            profile=Profile.FASP,
        )
    except MalformedError as error:
        return Refusal(reason=RefusalReason.FORM, detail=f"The signature cannot be read: {error}.")
    except VerificationError as error:
        if error.reason is Reason.BAD_SIGNATURE:  # The one that a stranger's key and a peer's bring alike.
            return _NOT_ADMITTED
        return Refusal(reason=RefusalReason.FORM, detail=f"The signature was not accepted: {error}.")
    return _NOT_ADMITTED if peer is None or key is None else peer


def _find_key(peer: Peer | None, key_id: str) -> PublicKey | None:
    if peer is None or peer.multikey is None or peer.key_id != key_id:
        return None
    return parse_multikey(peer.multikey)
