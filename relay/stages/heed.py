"""Heed: has a peer warned of exactly these bytes?

A warning is somebody else's word. It withholds what our own scan would let go and puts it before a person of
ours; it hides nothing that we found ourselves, and it deletes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.exchange.alerts import find_warning

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Database


async def heed(sha256: bytes, *, database: Database, now: datetime) -> str | None:
    """Find the category of a peer's warning of bytes of which we have no verdict; None for no warning.

    Bytes with a verdict were compared before it was made, or when the warning came; to consult finds what
    fitted.

    Raises:
        DatabaseError: It cannot be known.
    """
    async with database.transaction(waits_for_disk=False) as conn:
        return await find_warning(conn, sha256, now=now)
