"""Find out with one question all that is known of some bytes: a ruling, and a verdict under one state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from db.rulings import RulingKind

if TYPE_CHECKING:
    from db.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of some bytes.

    Attributes:
        ruling: What a moderator ruled on exactly these bytes; None where nobody did.
        report: What the scanner in the state that was asked for found, in its JSON form; None where it did
            not look.
    """

    ruling: RulingKind | None
    report: dict[str, Any] | None


_FIND_KNOWN: Final = """-- find_known
SELECT
    (SELECT r.ruling FROM rulings AS r WHERE r.sha256 = $1) AS ruling,
    (SELECT v.report FROM verdicts AS v WHERE v.sha256 = $1 AND v.state_digest = $2) AS report
"""


async def find_known(conn: Connection, sha256: bytes, state_digest: bytes) -> Known:
    """Find the ruling on these bytes and the verdict of the scanner in exactly this state."""
    row = await conn.fetchrow(_FIND_KNOWN, sha256, state_digest)
    ruling = None if row is None else row["ruling"]
    return Known(
        ruling=None if ruling is None else RulingKind(ruling),
        report=None if row is None else row["report"],
    )
