"""Count what detectors said, and what moderators ruled on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorCount:
    """What one detector did in the scans that are kept.

    Attributes:
        name: The detector.
        is_shadow: It was only tried out in them.
        looked: Scans in which it looked.
        found: Of these, those in which it found something.
        failed: Scans in which it failed.
    """

    name: str
    is_shadow: bool
    looked: int
    found: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledScan:
    """A scan of bytes that a person ruled on.

    Attributes:
        category: Of the case.
        was_upheld: Whether the newest ruling upheld it; else it was released.
        detectors: Of the report, in its JSON form.
        findings: Of the report, in its JSON form.
        shadow: Of the report, in its JSON form; empty in those from before there was one.
    """

    category: str
    was_upheld: bool
    detectors: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    shadow: list[dict[str, Any]]


_COUNT_DETECTORS: Final = """-- count_detectors
WITH runs AS (
    SELECT
        run.value AS run,
        EXISTS (
            SELECT 1 FROM jsonb_array_elements(v.report -> 'findings') AS f
            WHERE f.value ->> 'detector' = run.value ->> 'name'
        ) AS found,
        false AS is_shadow
    FROM verdicts AS v, jsonb_array_elements(v.report -> 'detectors') AS run
    UNION ALL
    SELECT one.value -> 'run', jsonb_array_length(one.value -> 'findings') > 0, true
    FROM verdicts AS v, jsonb_array_elements(coalesce(v.report -> 'shadow', '[]'::jsonb)) AS one
)
SELECT
    r.run ->> 'name' AS name,
    r.is_shadow,
    count(*) FILTER (WHERE r.run ->> 'outcome' IN ('ran', 'overruled')) AS looked,
    count(*) FILTER (WHERE r.found) AS found,
    count(*) FILTER (WHERE r.run ->> 'outcome' = 'failed') AS failed
FROM runs AS r
GROUP BY 1, 2
ORDER BY 1, 2
"""


async def count_detectors(conn: Connection) -> tuple[DetectorCount, ...]:
    """Count over all verdicts that are kept what each detector did."""
    return tuple(DetectorCount(**row) for row in await conn.fetch(_COUNT_DETECTORS))


_LIST_RULED: Final = """-- list_ruled
WITH ruled AS (
    SELECT DISTINCT ON (c.sha256) c.sha256, c.category, c.state
    FROM cases AS c
    WHERE c.state IN ('released', 'upheld') AND c.sha256 IS NOT NULL
    ORDER BY c.sha256, c.ruled_at DESC, c.id DESC
)
SELECT
    r.category,
    r.state = 'upheld' AS was_upheld,
    coalesce(v.report -> 'detectors', '[]'::jsonb) AS detectors,
    coalesce(v.report -> 'findings', '[]'::jsonb) AS findings,
    coalesce(v.report -> 'shadow', '[]'::jsonb) AS shadow
FROM ruled AS r
CROSS JOIN LATERAL (
    SELECT w.report FROM verdicts AS w WHERE w.sha256 = r.sha256
    ORDER BY w.scanned_at DESC, w.state_digest
    LIMIT 1
) AS v
ORDER BY r.sha256
LIMIT $1
"""


async def list_ruled(conn: Connection, *, limit: int) -> tuple[RuledScan, ...]:
    """List the newest scan of all bytes that a person ruled on, one of each, with the newest ruling."""
    return tuple(RuledScan(**row) for row in await conn.fetch(_LIST_RULED, limit))
