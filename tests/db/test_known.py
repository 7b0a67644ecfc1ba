from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from db import rulings, verdicts
from db.known import Known, find_known

if TYPE_CHECKING:
    from db.pool import Database

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SHA256, STATE, OTHER_STATE = bytes(32), bytes([1]) * 32, bytes([2]) * 32


async def test_one_question_tells_both_the_ruling_and_the_verdict(database: Database) -> None:
    async with database.connection() as conn:
        assert await find_known(conn, SHA256, STATE) == Known(ruling=None, report=None)
        await verdicts.put_verdict(
            conn,
            verdicts.StoredVerdict(
                sha256=SHA256,
                state_digest=STATE,
                verdict="no-match",
                reason=None,
                report={"a": 1},
                scanned_at=NOW,
            ),
        )
        assert await find_known(conn, SHA256, STATE) == Known(ruling=None, report={"a": 1})
        assert await find_known(conn, SHA256, OTHER_STATE) == Known(ruling=None, report=None)
        await rulings.set_ruling(
            conn,
            rulings.Ruling(sha256=SHA256, ruling=rulings.RulingKind.BLOCK, ruled_by="admin", ruled_at=NOW),
        )
        assert await find_known(conn, SHA256, STATE) == Known(
            ruling=rulings.RulingKind.BLOCK, report={"a": 1}
        )
