"""Verify what peers sign, other than attestations: by which key of which peer, and again after a new key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from db import peer_keys, peers
from db.peers import Tier
from relay.exchange.intake import IntakeReason, Rejected
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.keys import parse_multikey
from signatures.objects import IssuerKey

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection, Database
    from relay.exchange.intake import Refetch
    from signatures.objects import SignedObject

# What a peer that changed its keys a moment ago looks like.
_MAY_BE_NEW_KEY: Final = frozenset({IntakeReason.UNKNOWN_KEY, Reason.WRONG_KEY, Reason.KEY_EXPIRED})


class Parsed(Protocol):
    """An object of the exchange that was parsed."""

    @property
    def signed(self) -> SignedObject: ...  # noqa: D102 (the class says it)


_P = TypeVar("_P", bound=Parsed)
_P_contra = TypeVar("_P_contra", bound=Parsed, contravariant=True)
_P_co = TypeVar("_P_co", bound=Parsed, covariant=True)


class Parse(Protocol[_P_co]):
    """Parses an object of one type."""

    def __call__(self, data: bytes, /, *, allow_http: bool = False) -> _P_co: ...  # noqa: D102


class Verify(Protocol[_P_contra]):
    """Verifies an object of one type."""

    def __call__(  # noqa: D102 (the class says it)
        self,
        parsed: _P_contra,
        /,
        *,
        issuer_key: IssuerKey,
        now: datetime,
        trusted_time: datetime | None = None,
        allow_published_test_keys: bool = False,
    ) -> None: ...


async def receive_object(
    raw: bytes,
    *,
    parse: Parse[_P],
    verify: Verify[_P],
    database: Database,
    now: datetime,
    refetch: Refetch | None = None,
    allow_http: bool = False,
) -> _P | Rejected:
    """Parse what a peer signed, and verify that a peer that counts did so.

    Args:
        raw: The bytes as received.
        parse: Parses the type that is expected.
        verify: Verifies it.
        database: What is known of peers.
        now: When it was received.
        refetch: Called once where the issuer may have new keys.
        allow_http: Admit issuers without TLS, in test set-ups.

    Raises:
        DatabaseError: It cannot be known who the issuer is.
    """
    try:
        parsed = parse(raw, allow_http=allow_http)
    except (MalformedError, VerificationError) as error:
        return reject(error)
    failed = await _verify(parsed, verify, database=database, now=now)
    may_be_new = failed is not None and failed.reason in _MAY_BE_NEW_KEY
    if may_be_new and refetch is not None and await refetch(parsed.signed.issuer):
        failed = await _verify(parsed, verify, database=database, now=now)
    return parsed if failed is None else failed


def reject(error: MalformedError | VerificationError) -> Rejected:
    """Return why an object does not count."""
    if isinstance(error, VerificationError):
        return Rejected(reason=error.reason, detail=error.detail)
    return Rejected(reason=IntakeReason.MALFORMED, detail=str(error))


async def _verify(parsed: _P, verify: Verify[_P], *, database: Database, now: datetime) -> Rejected | None:
    async with database.connection() as conn:
        key = await _find_key(conn, parsed.signed)
    if isinstance(key, Rejected):
        return key
    try:
        # What may be stored was decided when the key was admitted. The time of receipt is now: what such an
        # object brings about happens once, when it comes.
        verify(parsed, issuer_key=key, now=now, trusted_time=now, allow_published_test_keys=True)
    except (MalformedError, VerificationError) as error:
        return reject(error)
    return None


async def _find_key(conn: Connection, signed: SignedObject) -> IssuerKey | Rejected:
    peer = await peers.find_peer(conn, signed.issuer)
    if peer is None or peer.tier is Tier.UNKNOWN:
        return Rejected(reason=IntakeReason.UNKNOWN_PEER)
    if peer.tier is Tier.QUARANTINED:
        return Rejected(reason=IntakeReason.QUARANTINED)
    key = await peer_keys.find_peer_key(conn, signed.verification_method)
    if key is None or key.actor != signed.issuer:
        return Rejected(reason=IntakeReason.UNKNOWN_KEY)
    return IssuerKey(
        actor=key.actor,
        key_id=key.key_id,
        key=parse_multikey(key.multikey),
        expires=key.expires_at,
        revoked=key.revoked_at,
    )
