"""Find out who sent a delivery.

The proof: the request carries one signature; its key id is of one origin with the actor that the
activity names; that origin publishes the key for that actor (`relay.tools.key_directory`); the
signature, over this request, this body and a recent time, is by that key. Nothing else authenticates:
no failed step falls through to another way, and signatures inside the document earn no trust.

Not checked here: that `message.authority` is one of our own names, that the body is an activity, and
that it was not delivered before. The edge and the queue do that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from relay.model import Sender
from relay.tools.key_directory import FoundKey, KeyGone, KeyRefused, KeyUnavailable, RemoteKey
from relay.tools.urls import is_same_origin
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.http import INBOX_FRESHNESS, Freshness, Scheme, find_signature, verify_request
from signatures.http import HttpSignature as Signature

if TYPE_CHECKING:
    from datetime import datetime

    from signatures.message import RequestMessage

# What a replaced key looks like: a signature that is not the old key's, or another family of key.
_REPLACED_KEY: Final = frozenset((Reason.BAD_SIGNATURE, Reason.WRONG_KEY))


class Keys(Protocol):
    """What knows the keys of remote actors."""

    async def find_key(self, key_id: str) -> FoundKey:
        """Find the key with this id."""
        ...

    async def refetch(self, key_id: str) -> FoundKey:
        """Ask the origin again, unless it was asked a moment ago."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationPolicy:
    """What a delivery has to satisfy.

    Attributes:
        freshness: How old a signed time may be, and how far ahead of our clock. To accept what the
            backend would accept, it is the backend's own window.
    """

    freshness: Freshness = field(default=INBOX_FRESHNESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """The sender is known."""

    sender: Sender
    scheme: Scheme
    signed_at: datetime


class UnverifiableReason(StrEnum):
    """Why nobody can say who sent it."""

    GONE = "gone"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverifiable:
    """The key could not be had, so that the signature is neither good nor bad."""

    reason: UnverifiableReason
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The delivery is surely not what it claims to be.

    Attributes:
        is_malformed: The signature could not even be read: no other scheme would help the sender.
    """

    reason: Reason
    is_malformed: bool = False


Authentication = Authenticated | Unverifiable | Rejected


async def authenticate(
    message: RequestMessage,
    *,
    keys: Keys,
    now: datetime,
    policy: AuthenticationPolicy,
    actor: str | None = None,
) -> Authentication:
    """Find out who sent a request.

    Args:
        message: The request as received.
        keys: Where keys are found.
        now: When it was received.
        policy: What it has to satisfy.
        actor: The actor that the activity names. With it the sender must be exactly this actor; without
            it the caller owes the comparison with `Authenticated.sender`.
    """
    try:
        signature = find_signature(message)
    except MalformedError:
        return Rejected(reason=Reason.BAD_SIGNATURE, is_malformed=True)
    if signature is None:
        return Rejected(reason=Reason.NO_SIGNATURE)
    if actor is not None and not is_same_origin(signature.key_id, actor):
        # Before anything is asked of the origin that the key id names.
        return Rejected(reason=Reason.WRONG_ORIGIN)
    found = await keys.find_key(signature.key_id)
    outcome = _verify(message, signature, found, now=now, policy=policy)
    if isinstance(outcome, Rejected) and isinstance(found, RemoteKey) and outcome.reason in _REPLACED_KEY:
        again = await keys.refetch(signature.key_id)
        if not isinstance(again, RemoteKey) or again.key != found.key:
            outcome = _verify(message, signature, again, now=now, policy=policy)
    if isinstance(outcome, Authenticated) and actor is not None and outcome.sender.actor != actor:
        return Rejected(reason=Reason.WRONG_KEY)
    return outcome


def _verify(
    message: RequestMessage,
    signature: Signature,
    found: FoundKey,
    *,
    now: datetime,
    policy: AuthenticationPolicy,
) -> Authentication:
    match found:
        case KeyGone():
            return Unverifiable(reason=UnverifiableReason.GONE, key_id=found.key_id)
        case KeyUnavailable():
            return Unverifiable(reason=UnverifiableReason.UNAVAILABLE, key_id=found.key_id)
        case KeyRefused():
            return Rejected(reason=found.reason)
        case RemoteKey():
            pass
    try:
        verified = verify_request(message, signature, key=found.key, now=now, freshness=policy.freshness)
    except MalformedError:
        return Rejected(reason=Reason.BAD_SIGNATURE, is_malformed=True)
    except VerificationError as error:
        return Rejected(reason=error.reason)
    return Authenticated(
        sender=Sender(actor=found.owner, key_id=found.key_id),
        scheme=verified.scheme,
        signed_at=verified.signed_at,
    )
