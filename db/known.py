"""Find out with one question what is known of some bytes: a ruling, a verdict under one state, a warning."""

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
        warning: The category of a peer's warning that fits them; None where there is none.
    """

    ruling: RulingKind | None
    report: dict[str, Any] | None
    warning: str | None = None


_FIND_KNOWN: Final = """-- find_known
SELECT
    (SELECT r.ruling FROM rulings AS r WHERE r.sha256 = $1) AS ruling,
    (SELECT v.report FROM verdicts AS v WHERE v.sha256 = $1 AND v.state_digest = $2) AS report,
    (SELECT h.category FROM alert_hits AS h WHERE h.sha256 = $1 ORDER BY h.category LIMIT 1) AS warning
"""


async def find_known(conn: Connection, sha256: bytes, state_digest: bytes) -> Known:
    """Find the ruling on these bytes, the verdict of the scanner in exactly this state, and any warning."""
    row = await conn.fetchrow(_FIND_KNOWN, sha256, state_digest)
    ruling = None if row is None else row["ruling"]
    return Known(
        ruling=None if ruling is None else RulingKind(ruling),
        report=None if row is None else row["report"],
        warning=None if row is None else row["warning"],
    )
