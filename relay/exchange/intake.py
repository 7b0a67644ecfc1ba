"""Take in what peers attest: a proof in numbered steps, the cheap ones first.

An attestation comes with the bytes, in an activity, as an answer or in a feed. However it comes, it passes
here and nowhere else, and passing here says only that a known peer made this statement and stands by it.
Whether its word is worth anything is another question: see `relay.trust`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

from db import attestations as attestation_table
from db import mirror, peer_keys, peers
from db.mirror import MirroredAttestation
from db.peers import Tier
from relay.exchange.equivocation import is_same_object, prove_equivocation
from signatures.attestation import parse_attestation, verify_attestation
from signatures.digests import digest_multibase
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.keys import parse_multikey
from signatures.objects import IssuerKey
from signatures.revocation import (
    NO_REVOCATIONS,
    RevocationBody,
    RevocationIndex,
    Scope,
    build_revocation_index,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from db.attestations import StoredRevocation
    from db.equivocations import Equivocation
    from db.pool import Connection, Database
    from signatures.attestation import Attestation

_T = TypeVar("_T")

# Below this a thread costs more than it spares the loop; each takes about 150 µs.
_IN_PLACE: Final = 4


class IntakeReason(StrEnum):
    """Why an attestation was not taken in, beyond the reasons of `signatures`."""

    MALFORMED = "malformed"
    UNKNOWN_PEER = "unknown_peer"
    QUARANTINED = "quarantined"
    UNKNOWN_KEY = "unknown_key"
    CHANGED = "changed"
    """Another object of the same id came before: the issuer says two things under one name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The attestation is not to be believed; whoever showed it is not thereby accused."""

    reason: IntakeReason | Reason
    detail: str = ""
    equivocation: Equivocation | None = None
    """The exception: its issuer proves by its own signatures that it said two things under one name."""


Admitted: TypeAlias = MirroredAttestation | Rejected

# What a peer that changed its keys a moment ago looks like, and a forger, too.
_MAY_BE_NEW_KEY: Final = frozenset(
    {IntakeReason.UNKNOWN_KEY, Reason.WRONG_KEY, Reason.BAD_SIGNATURE, Reason.KEY_EXPIRED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """What this relay knows of some issuers; a snapshot, for verifying without the database.

    Attributes:
        tiers: The tier of each peer, by actor.
        keys: Their admitted keys, by id.
        revocations: What they have taken back of what is verified.
        received: What was received before, by id.
    """

    tiers: Mapping[str, Tier] = field(default_factory=dict)
    keys: Mapping[str, IssuerKey] = field(default_factory=dict)
    revocations: RevocationIndex = NO_REVOCATIONS
    received: Mapping[str, MirroredAttestation] = field(default_factory=dict)


class Refetch(Protocol):
    """Fetch a peer's actor again, at most once in ten minutes, and tell whether any key changed."""

    async def __call__(self, actor: str) -> bool: ...  # noqa: D102 (the class says it)


async def admit(
    raw: bytes,
    *,
    database: Database,
    now: datetime,
    refetch: Refetch | None = None,
    allow_http: bool = False,
) -> Admitted:
    """Verify one attestation, and return what to store of it; nothing is stored here.

    Args:
        raw: The bytes as they came.
        database: What is known of peers.
        now: The time, which becomes that of its receipt if it never came before.
        refetch: Called once where the issuer may have new keys.
        allow_http: Admit issuers without TLS, in test set-ups.

    Raises:
        DatabaseError: It cannot be known who the issuer is.
    """
    (admitted,) = await admit_page((raw,), database=database, now=now, refetch=refetch, allow_http=allow_http)
    return admitted


async def admit_page(
    raws: Sequence[bytes],
    *,
    database: Database,
    now: datetime,
    refetch: Refetch | None = None,
    allow_http: bool = False,
) -> tuple[Admitted, ...]:
    """Verify many attestations with a handful of queries, in their order; see `admit`.

    Raises:
        DatabaseError: It cannot be known who the issuers are.
    """
    parsed = await _run(len(raws), lambda: [parse(raw, allow_http=allow_http) for raw in raws])
    admitted = await _verify_page(parsed, database=database, now=now)
    if refetch is None:
        return admitted
    doubtful = {
        one.body.issuer
        for one, found in zip(parsed, admitted, strict=True)
        if not isinstance(one, Rejected) and isinstance(found, Rejected) and found.reason in _MAY_BE_NEW_KEY
    }
    changed = {actor for actor in sorted(doubtful) if await refetch(actor)}
    if not changed:
        return admitted
    again = await _verify_page(
        [one for one in parsed if not isinstance(one, Rejected) and one.body.issuer in changed],
        database=database,
        now=now,
    )
    fresh = iter(again)
    return tuple(
        next(fresh) if not isinstance(one, Rejected) and one.body.issuer in changed else found
        for one, found in zip(parsed, admitted, strict=True)
    )


async def _verify_page(
    parsed: Sequence[Attestation | Rejected], *, database: Database, now: datetime
) -> tuple[Admitted, ...]:
    whole = [one for one in parsed if not isinstance(one, Rejected)]
    if not whole:
        return tuple(one for one in parsed if isinstance(one, Rejected))
    async with database.connection() as conn:
        authorities = await find_authorities(conn, whole)
    return await _run(len(parsed), lambda: _verify_all(parsed, authorities=authorities, now=now))


def _verify_all(
    parsed: Sequence[Attestation | Rejected], *, authorities: Authorities, now: datetime
) -> tuple[Admitted, ...]:
    received = dict(authorities.received)
    authorities = replace(authorities, received=received)
    admitted: list[Admitted] = []
    for one in parsed:
        found = one if isinstance(one, Rejected) else verify(one, authorities=authorities, now=now)
        if isinstance(found, MirroredAttestation):
            # Two of one name may stand in one page.
            received.setdefault(found.id, found)
        admitted.append(found)
    return tuple(admitted)


async def _run(count: int, work: Callable[[], _T]) -> _T:
    return work() if count <= _IN_PLACE else await asyncio.to_thread(work)


def parse(raw: bytes, *, allow_http: bool = False) -> Attestation | Rejected:
    """Do the steps that need to know nothing: size and depth, strict JSON, form, one proof, one origin."""
    # Steps 1 to 6 of section 1, in their order, are those of `parse_attestation`.
    try:
        return parse_attestation(raw, allow_http=allow_http)
    except (MalformedError, VerificationError) as error:
        return _reject(error)


async def find_authorities(conn: Connection, parsed: Iterable[Attestation]) -> Authorities:
    """Find everything that verifying these attestations needs to know."""
    given = list(parsed)
    tiers: dict[str, Tier] = {}
    keys: dict[str, IssuerKey] = {}
    for actor in sorted({one.body.issuer for one in given}):
        peer = await peers.find_peer(conn, actor)
        if peer is None:
            continue
        tiers[actor] = peer.tier
        for key in await peer_keys.list_peer_keys(conn, actor):
            keys[key.key_id] = IssuerKey(
                actor=key.actor,
                key_id=key.key_id,
                key=parse_multikey(key.multikey),
                expires=key.expires_at,
                revoked=key.revoked_at,
            )
    known = [one for one in given if one.body.issuer in tiers]
    revoked = await attestation_table.list_revocations_of(conn, sorted(_subjects(known)))
    received = await mirror.list_mirrored(conn, sorted({one.body.id for one in known}))
    return Authorities(
        tiers=tiers,
        keys=keys,
        revocations=build_revocation_index(_body(one) for one in revoked),
        received={one.id: one for one in received},
    )


def verify(attestation: Attestation, *, authorities: Authorities, now: datetime) -> Admitted:
    """Verify that a known peer made this statement and stands by it; the order is that of the proof.

    What is received again keeps the time of its first receipt, which is the one time that the thief of a key
    cannot choose.

    The caller owes: the bytes at hand have the digest and size that the body names; of several by one issuer
    for one digest and profile the newest counts (`newest`); what the word of this peer is worth.
    """
    body = attestation.body
    before = authorities.received.get(body.id)
    received_at = now if before is None else before.received_at
    # 7. and 8. The peer is known, and the key was admitted for this very peer.
    key = _find_key(attestation, authorities)
    if isinstance(key, Rejected):
        return key
    if before is not None and not is_same_object(before.object, attestation):
        return Rejected(
            reason=IntakeReason.CHANGED,
            equivocation=prove_equivocation(before, attestation, keys=authorities.keys, now=now),
        )
    # 9. to 12. The key's own times, the window, the signature, and then what was taken back.
    try:
        verify_attestation(
            attestation,
            issuer_key=key,
            now=now,
            revocations=authorities.revocations,
            trusted_time=received_at,
            # What may be stored was decided when the key was admitted.
            allow_published_test_keys=True,
        )
    except (MalformedError, VerificationError) as error:
        return _reject(error)
    return MirroredAttestation(
        id=body.id,
        issuer=body.issuer,
        key_id=key.key_id,
        sha256=body.sha256,
        profile=body.profile,
        state_digest=body.state_sha256,
        as_of=body.state_as_of,
        published=body.published,
        end_time=body.end_time,
        received_at=received_at,
        object=attestation.raw,
    )


def _find_key(attestation: Attestation, authorities: Authorities) -> IssuerKey | Rejected:
    tier = authorities.tiers.get(attestation.body.issuer)
    if tier is None:
        return Rejected(reason=IntakeReason.UNKNOWN_PEER)
    if tier is Tier.QUARANTINED:
        return Rejected(reason=IntakeReason.QUARANTINED)
    key = authorities.keys.get(attestation.verification_method)
    if key is None or key.actor != attestation.body.issuer:
        return Rejected(reason=IntakeReason.UNKNOWN_KEY)
    return key


def _reject(error: MalformedError | VerificationError) -> Rejected:
    if isinstance(error, VerificationError):
        return Rejected(reason=error.reason, detail=error.detail)
    return Rejected(reason=IntakeReason.MALFORMED, detail=str(error))


def newest(words: Iterable[MirroredAttestation]) -> tuple[MirroredAttestation, ...]:
    """Keep the newest of each issuer, digest and profile, which is the one that counts."""
    chosen: dict[tuple[str, bytes, str], MirroredAttestation] = {}
    for word in words:
        index = (word.issuer, word.sha256, word.profile)
        other = chosen.get(index)
        if other is None or (word.published, word.id) > (other.published, other.id):
            chosen[index] = word
    return tuple(chosen.values())


def _subjects(parsed: Iterable[Attestation]) -> set[str]:
    """Return everything whose revocation would take one of these back."""
    subjects: set[str] = set()
    states: set[bytes] = set()
    for one in parsed:
        body = one.body
        states.add(body.state_sha256)
        subjects |= {body.id, body.profile, one.verification_method}
    # Base 58 is slow to write, and a page of a feed mostly has one state.
    return subjects | {digest_multibase(state) for state in states}


def _body(stored: StoredRevocation) -> RevocationBody:
    return RevocationBody(
        id=stored.id,
        issuer=stored.issuer,
        audience="",
        published=stored.published,
        scope=Scope(stored.scope),
        object=stored.subject,
    )
