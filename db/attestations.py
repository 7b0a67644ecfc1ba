"""Keep our signed attestations, the salted states they name, and revocations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAttestation:
    """An attestation with what it is looked up by.

    Attributes:
        id: The ULID in its address.
        sha256: The digest of the bytes it speaks of, 32 bytes.
        profile: The policy it was made under.
        state_digest: The digest of the scanner's salted state, 32 bytes.
        published: When it was issued.
        end_time: When it ends.
        is_withheld_share: It is kept back from the feed, so that peers' audits are not foreseen.
        audience: public or restricted, as the delivery that carried the bytes.
        object: The signed bytes, never re-serialized.
    """

    id: str
    sha256: bytes
    profile: str
    state_digest: bytes
    published: datetime
    end_time: datetime
    is_withheld_share: bool
    audience: str
    object: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRevocation:
    """A revocation, ours or a peer's.

    Attributes:
        id: Its address.
        issuer: The actor that issued it.
        scope: attestation, state, profile or key.
        subject: What is revoked.
        published: When its issuer says that it was issued.
        received_at: When we had it.
        object: The signed bytes.
    """

    id: str
    issuer: str
    scope: str
    subject: str
    published: datetime
    received_at: datetime
    object: bytes


_ATTESTATION: Final = """
    a.id, a.sha256, a.profile, a.state_digest, a.published, a.end_time, a.is_withheld_share, a.audience,
    a.object
"""


_INSERT_ATTESTATION: Final = """-- insert_attestation
INSERT INTO attestations (
    id, sha256, profile, state_digest, published, end_time, is_withheld_share, audience, object
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO NOTHING
RETURNING id
"""


async def insert_attestation(conn: Connection, attestation: StoredAttestation) -> bool:
    """Store an attestation; False if one of its id is there, which stays as it is."""
    return (
        await conn.fetchval(
            _INSERT_ATTESTATION,
            attestation.id,
            attestation.sha256,
            attestation.profile,
            attestation.state_digest,
            attestation.published,
            attestation.end_time,
            attestation.is_withheld_share,
            attestation.audience,
            attestation.object,
        )
        is not None
    )


_FIND_ATTESTATION: Final = f"""-- find_attestation
SELECT {_ATTESTATION} FROM attestations AS a WHERE a.id = $1
"""  # noqa: S608 (the columns are a constant of this file)


async def find_attestation(conn: Connection, attestation_id: str) -> StoredAttestation | None:
    """Find an attestation by its id, ended or not."""
    row = await conn.fetchrow(_FIND_ATTESTATION, attestation_id)
    return None if row is None else StoredAttestation(**row)


_FIND_NEWEST: Final = f"""-- find_newest
SELECT {_ATTESTATION} FROM attestations AS a
WHERE a.sha256 = $1 AND a.profile = $2
ORDER BY a.published DESC, a.id DESC
LIMIT 1
"""  # noqa: S608 (the columns are a constant of this file)


async def find_newest(conn: Connection, sha256: bytes, profile: str) -> StoredAttestation | None:
    """Find the newest attestation on these bytes under a profile.

    Whether it holds is not checked here.
    """
    row = await conn.fetchrow(_FIND_NEWEST, sha256, profile)
    return None if row is None else StoredAttestation(**row)


_PURGE_ATTESTATIONS: Final = """-- purge_attestations
DELETE FROM attestations AS a
WHERE a.id IN (SELECT o.id FROM attestations AS o WHERE o.end_time < $1 ORDER BY o.end_time LIMIT $2)
RETURNING a.id
"""


async def purge_attestations(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete attestations that ended before a time; return how many."""
    return len(await conn.fetch(_PURGE_ATTESTATIONS, before, limit))


_PUT_REVOCATION: Final = """-- put_revocation
INSERT INTO revocations (id, issuer, scope, subject, published, received_at, object)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO NOTHING
RETURNING id
"""


async def put_revocation(conn: Connection, revocation: StoredRevocation) -> bool:
    """Store a revocation; False if one of its id is there, which stays as it is."""
    return (
        await conn.fetchval(
            _PUT_REVOCATION,
            revocation.id,
            revocation.issuer,
            revocation.scope,
            revocation.subject,
            revocation.published,
            revocation.received_at,
            revocation.object,
        )
        is not None
    )


_LIST_REVOCATIONS_OF: Final = """-- list_revocations_of
SELECT r.id, r.issuer, r.scope, r.subject, r.published, r.received_at, r.object
FROM revocations AS r
WHERE r.subject = ANY($1::text[])
ORDER BY r.received_at, r.id
"""


async def list_revocations_of(conn: Connection, subjects: Sequence[str]) -> tuple[StoredRevocation, ...]:
    """List the revocations of any of these subjects.

    That a revocation's issuer may revoke its subject is not checked here.
    """
    rows = await conn.fetch(_LIST_REVOCATIONS_OF, list(subjects))
    return tuple(StoredRevocation(**row) for row in rows)


_LIST_REVOCATIONS: Final = """-- list_revocations
SELECT r.id, r.issuer, r.scope, r.subject, r.published, r.received_at, r.object
FROM revocations AS r
WHERE r.issuer = $1 AND r.published >= $2
ORDER BY r.published, r.id
LIMIT $3
"""


async def list_revocations(
    conn: Connection, *, issuer: str, since: datetime, limit: int
) -> tuple[StoredRevocation, ...]:
    """List an issuer's revocations from a time on, oldest first."""
    return tuple(StoredRevocation(**row) for row in await conn.fetch(_LIST_REVOCATIONS, issuer, since, limit))


_PUT_STATE: Final = """-- put_state
INSERT INTO states (state_digest, document, created_at) VALUES ($1, $2, $3)
ON CONFLICT (state_digest) DO NOTHING
"""


async def put_state(
    conn: Connection, *, state_digest: bytes, document: dict[str, Any], now: datetime
) -> None:
    """Store a salted description of the scanner; without floats it comes back exactly."""
    await conn.execute(_PUT_STATE, state_digest, document, now)


_FIND_STATE: Final = """-- find_state
SELECT s.document FROM states AS s WHERE s.state_digest = $1
"""


async def find_state(conn: Connection, state_digest: bytes) -> dict[str, Any] | None:
    """Find a description of the scanner; only authenticated peers may see it."""
    document: dict[str, Any] | None = await conn.fetchval(_FIND_STATE, state_digest)
    return document


_FIND_STATE_TIME: Final = """-- find_state_time
SELECT s.created_at FROM states AS s WHERE s.state_digest = $1
"""


async def find_state_time(conn: Connection, state_digest: bytes) -> datetime | None:
    """Find since when a state of the scanner is known."""
    created_at: datetime | None = await conn.fetchval(_FIND_STATE_TIME, state_digest)
    return created_at


_LIST_NEWEST: Final = f"""-- list_newest
SELECT {_ATTESTATION} FROM attestations AS a ORDER BY a.published DESC, a.id DESC LIMIT $1
"""  # noqa: S608 (the columns are a constant of this file)


async def list_newest(conn: Connection, *, limit: int) -> tuple[StoredAttestation, ...]:
    """List the newest attestations."""
    return tuple(StoredAttestation(**row) for row in await conn.fetch(_LIST_NEWEST, limit))
