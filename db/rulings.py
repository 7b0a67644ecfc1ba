"""Keep what moderators ruled on exact bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection


class RulingKind(StrEnum):
    """What the instance does with bytes, whatever a scan says."""

    ALLOW = "allow"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A moderator's decision on exactly these bytes; it says nothing about similar ones.

    Attributes:
        sha256: Their digest, 32 bytes.
        ruling: allow or block.
        ruled_by: Who decided.
        ruled_at: When.
    """

    sha256: bytes
    ruling: RulingKind
    ruled_by: str
    ruled_at: datetime

    @property
    def is_allowed(self) -> bool:
        """The bytes are released."""
        return self.ruling is RulingKind.ALLOW


_SET_RULING: Final = """-- set_ruling
INSERT INTO rulings (sha256, ruling, ruled_by, ruled_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (sha256) DO UPDATE
SET ruling = excluded.ruling, ruled_by = excluded.ruled_by, ruled_at = excluded.ruled_at
"""


async def set_ruling(conn: Connection, ruling: Ruling) -> None:
    """Store a ruling in place of an earlier one on the same bytes."""
    await conn.execute(_SET_RULING, ruling.sha256, ruling.ruling, ruling.ruled_by, ruling.ruled_at)


_FIND_RULING: Final = """-- find_ruling
SELECT r.sha256, r.ruling, r.ruled_by, r.ruled_at FROM rulings AS r WHERE r.sha256 = $1
"""


async def find_ruling(conn: Connection, sha256: bytes) -> Ruling | None:
    """Find the ruling on exactly these bytes."""
    row = await conn.fetchrow(_FIND_RULING, sha256)
    return None if row is None else Ruling(**{**row, "ruling": RulingKind(row["ruling"])})


_DELETE_RULING: Final = """-- delete_ruling
DELETE FROM rulings AS r WHERE r.sha256 = $1 RETURNING r.sha256
"""


async def delete_ruling(conn: Connection, sha256: bytes) -> bool:
    """Take a ruling back; False if there is none."""
    return await conn.fetchval(_DELETE_RULING, sha256) is not None
