"""Find and end what we ourselves attested and take back: by a state of the scanner, a profile or a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection

# One row of `states` for each import of a list; whether one has attestations, its index tells at once.
_LIST_OTHER_STATES: Final = """-- list_other_states
SELECT s.state_digest FROM states AS s
WHERE s.state_digest <> $1
    AND s.retired_at IS NULL
    AND EXISTS (
        SELECT 1 FROM attestations AS a
        WHERE a.state_digest = s.state_digest AND a.end_time > $2 AND NOT a.is_withheld_share
    )
ORDER BY s.created_at, s.state_digest
"""


async def list_other_states(conn: Connection, *, current: bytes, now: datetime) -> tuple[bytes, ...]:
    """List the states but the current one under which something was given out that has not ended."""
    return tuple(row["state_digest"] for row in await conn.fetch(_LIST_OTHER_STATES, current, now))


_RETIRE_STATE: Final = """-- retire_state
UPDATE states AS s SET retired_at = $2 WHERE s.state_digest = $1 AND s.retired_at IS NULL
RETURNING s.state_digest
"""


async def retire_state(conn: Connection, state_digest: bytes, *, now: datetime) -> bool:
    """Note that a state is taken back; False if it was already, or is not known."""
    return await conn.fetchval(_RETIRE_STATE, state_digest, now) is not None


_IS_RETIRED: Final = """-- is_retired
SELECT EXISTS (SELECT 1 FROM states AS s WHERE s.state_digest = $1 AND s.retired_at IS NOT NULL)
"""


async def is_retired(conn: Connection, state_digest: bytes) -> bool:
    """Tell whether a state was taken back."""
    return bool(await conn.fetchval(_IS_RETIRED, state_digest))


# No index leads to profiles, which change once in years; asked at the start alone.
_FIND_OTHER_PROFILE: Final = """-- find_other_profile
SELECT a.profile FROM attestations AS a
WHERE a.profile <> $1 AND a.end_time > $2 AND NOT a.is_withheld_share
LIMIT 1
"""


async def find_other_profile(conn: Connection, *, current: str, now: datetime) -> str | None:
    """Find another profile than the current one under which something was given out that has not ended."""
    profile: str | None = await conn.fetchval(_FIND_OTHER_PROFILE, current, now)
    return profile


_END_RETIRED: Final = """-- end_retired
UPDATE attestations AS a SET end_time = $1
WHERE a.id IN (
    SELECT o.id FROM attestations AS o
    WHERE o.end_time > $1
        AND o.state_digest IN (SELECT s.state_digest FROM states AS s WHERE s.retired_at IS NOT NULL)
    LIMIT $2
)
RETURNING a.id
"""


async def end_retired(conn: Connection, *, now: datetime, limit: int) -> int:
    """End what was attested under a state that was taken back, so that it is answered no more."""
    return len(await conn.fetch(_END_RETIRED, now, limit))


_END_PROFILE: Final = """-- end_profile
UPDATE attestations AS a SET end_time = $2
WHERE a.id IN (SELECT o.id FROM attestations AS o WHERE o.profile = $1 AND o.end_time > $2 LIMIT $3)
RETURNING a.id
"""


async def end_profile(conn: Connection, profile: str, *, now: datetime, limit: int) -> int:
    """End what was attested under a profile; return how many."""
    return len(await conn.fetch(_END_PROFILE, profile, now, limit))


_END_SINCE: Final = """-- end_since
UPDATE attestations AS a SET end_time = $2
WHERE a.id IN (SELECT o.id FROM attestations AS o WHERE o.published >= $1 AND o.end_time > $2 LIMIT $3)
RETURNING a.id
"""


async def end_since(conn: Connection, *, since: datetime, now: datetime, limit: int) -> int:
    """End what was attested since a time; return how many."""
    return len(await conn.fetch(_END_SINCE, since, now, limit))


_IS_ANNOUNCED: Final = """-- is_announced
SELECT EXISTS (SELECT 1 FROM revocations AS r WHERE r.id = $1)
"""


async def is_announced(conn: Connection, revocation_id: str) -> bool:
    """Tell whether a revocation was issued already."""
    return bool(await conn.fetchval(_IS_ANNOUNCED, revocation_id))


_PURGE_REVOCATIONS: Final = """-- purge_revocations
DELETE FROM revocations AS r
WHERE r.id IN (SELECT o.id FROM revocations AS o WHERE o.received_at < $1 ORDER BY o.received_at LIMIT $2)
RETURNING r.id
"""


async def purge_revocations(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget what was taken back so long ago that all of it has ended by itself; return how many."""
    return len(await conn.fetch(_PURGE_REVOCATIONS, before, limit))
