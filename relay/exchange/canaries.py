"""Draw canaries, and see who attested one.

A canary goes out as an ordinary picture in an ordinary public post, which an admin makes: a relay that posted
by itself would be known by it, and whoever lies would scan those posts alone. Our own server has to let it
through, so that its bytes are allowed by a ruling; everybody else's scanner finds it, as spam, and its people
see what it is.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from db import audit
from db.canaries import Canary, put_canary
from db.rulings import Ruling, RulingKind, set_ruling
from scanner.canary import NAME, draw_fresh_canary
from scanner.report import Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Database
    from scanner.report import Report

CHANCE_BYTES: Final = 32

SURE_DISTANCE: Final = 20
"""Bits. A canary that a server made smaller is 16 from the drawing; one that is hardly near enough here may
be too far away for a scanner with other decoders, which would then have lied about nothing."""

_MAX_NOTE: Final = 500


def is_canary_by_looks(report: Report) -> bool:
    """Tell whether a scan found that a picture is surely a canary to everybody, and nothing else in it."""
    is_surely_near = any(one.distance is None or one.distance <= SURE_DISTANCE for one in report.findings)
    return (
        report.verdict is Verdict.MATCH
        and {one.list_name for one in report.findings} == {NAME}
        and is_surely_near
    )


async def draw(database: Database, *, chance: bytes, note: str, by: str, now: datetime) -> bytes:
    """Draw a new canary, and watch for who attests it.

    Args:
        database: Where it is kept, before anybody has it.
        chance: `CHANCE_BYTES` fresh random octets.
        note: What it is for, in the admin's words.
        by: Who has it drawn.
        now: The time.

    Raises:
        DatabaseError: It is not watched for; show it to nobody.
    """
    picture = draw_fresh_canary(chance)
    await watch(database, hashlib.sha256(picture).digest(), note=note, by=by, now=now)
    return picture


async def watch(database: Database, sha256: bytes, *, note: str, by: str, now: datetime) -> None:
    """Watch for who attests a canary, and let our own server show it.

    The caller owes: it is a canary by its looks, for an honest scanner that finds nothing in other pictures
    would be taken for a liar.

    Raises:
        DatabaseError: It is not watched for.
    """
    async with database.transaction() as conn:
        await put_canary(conn, Canary(sha256=sha256, note=note[:_MAX_NOTE], drawn_by=by, drawn_at=now))
        await set_ruling(conn, Ruling(sha256=sha256, ruling=RulingKind.ALLOW, ruled_by=by, ruled_at=now))
        await audit.append(conn, at=now, actor=by, event="canary_drawn", detail={"note": note[:_MAX_NOTE]})
