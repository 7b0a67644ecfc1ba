"""Make what peers take back of no effect: scans that it has spared are due, copies under a lost key go.

A scan that was spared is made up for at a time of its own within a span, so that one word of a peer does not
bring thousands of scans in the same second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from db.pool import Connection

# What is due earlier than drawn stays so.
_DUE: Final = "least(r.due_at, $2::timestamptz + random() * $3::interval)"

_RESCAN_STATE: Final = f"""-- rescan_state
UPDATE reliance AS r SET due_at = {_DUE}, audit_rate = 1
FROM mirror AS m
WHERE r.issuer = $1 AND r.finished_at IS NULL AND m.id = r.attestation_id AND m.issuer = $1
    AND m.state_digest = $4
RETURNING r.id
"""  # noqa: S608 (the expression is a constant of this file)


async def rescan_state(
    conn: Connection, *, issuer: str, state_digest: bytes, now: datetime, within: timedelta
) -> int:
    """Make due what was let go on an issuer's word under a state of its scanner; return how much."""
    return len(await conn.fetch(_RESCAN_STATE, issuer, now, within, state_digest))


_RESCAN_PROFILE: Final = f"""-- rescan_profile
UPDATE reliance AS r SET due_at = {_DUE}, audit_rate = 1
WHERE r.issuer = $1 AND r.finished_at IS NULL AND r.profile = $4
RETURNING r.id
"""  # noqa: S608 (the expression is a constant of this file)


async def rescan_profile(
    conn: Connection, *, issuer: str, profile: str, now: datetime, within: timedelta
) -> int:
    """Make due what was let go on an issuer's word under a profile; return how much."""
    return len(await conn.fetch(_RESCAN_PROFILE, issuer, now, within, profile))


_RESCAN_ATTESTATION: Final = f"""-- rescan_attestation
UPDATE reliance AS r SET due_at = {_DUE}, audit_rate = 1
WHERE r.issuer = $1 AND r.finished_at IS NULL AND r.attestation_id = $4
RETURNING r.id
"""  # noqa: S608 (the expression is a constant of this file)


async def rescan_attestation(
    conn: Connection, *, issuer: str, attestation_id: str, now: datetime, within: timedelta
) -> int:
    """Make due what was let go on one attestation; return how much."""
    return len(await conn.fetch(_RESCAN_ATTESTATION, issuer, now, within, attestation_id))


# A stolen key vouches for nothing that was received since, whenever it says that it was issued. What was
# received before and relied on later stays: the attestation is from before the theft.
_RESCAN_KEY: Final = f"""-- rescan_key
UPDATE reliance AS r SET due_at = {_DUE}, audit_rate = 1
WHERE r.issuer = $1 AND r.finished_at IS NULL AND r.key_id = $4 AND r.relied_at >= $5
    AND NOT EXISTS (
        SELECT 1 FROM mirror AS m WHERE m.id = r.attestation_id AND m.issuer = $1 AND m.received_at < $5
    )
RETURNING r.id
"""  # noqa: S608 (the expression is a constant of this file)


async def rescan_key(
    conn: Connection, *, issuer: str, key_id: str, since: datetime, now: datetime, within: timedelta
) -> int:
    """Make due what was let go on a word under a key that was received since a time; return how much.

    Call it before those attestations are deleted.
    """
    return len(await conn.fetch(_RESCAN_KEY, issuer, now, within, key_id, since))
