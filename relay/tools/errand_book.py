"""Enter errands into the durable list, each with its line in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import audit, errands

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from db.errands import NewErrand
    from db.pool import Connection


async def enter_errands(
    conn: Connection, new: Iterable[NewErrand], *, case_id: int | None, ordered_by: str, now: datetime
) -> int:
    """Add errands in the caller's transaction and return how many were not in the list before.

    Args:
        conn: The connection.
        new: The errands.
        case_id: The case of those that name none themselves.
        ordered_by: On whose word it is done: the relay's by policy, or a person's.
        now: The time.

    Raises:
        DatabaseError: Nothing was added.
    """
    count = 0
    for one in new:
        case = case_id if one.case_id is None else one.case_id
        errand_id = await errands.add(
            conn, kind=one.kind, subject=one.subject, payload=one.payload, case_id=case, now=now
        )
        if errand_id is None:
            continue
        count += 1
        # The audit log says that something is to be done, never about what.
        detail = {"errand": errand_id, "kind": one.kind.value, "case": case}
        await audit.append(conn, at=now, actor=ordered_by, event="errand_added", detail=detail)
    return count
