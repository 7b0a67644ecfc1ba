"""`breakwater attestations`: see what this relay has signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from db import attestations
from relay.errors import BreakwaterError

if TYPE_CHECKING:
    from db.pool import Database

_LISTED = 50


class NoSuchAttestationError(BreakwaterError):
    """There is no attestation of that id."""


async def list_newest(database: Database) -> list[dict[str, Any]]:
    """List the newest attestations; each speaks of media in which nothing was found."""
    async with database.connection() as conn:
        found = await attestations.list_newest(conn, limit=_LISTED)
    return [
        {
            "id": one.id,
            "published": one.published.isoformat(timespec="seconds"),
            "ends": one.end_time.isoformat(timespec="seconds"),
            "given out": "no, of the withheld share" if one.is_withheld_share else "to peers",
        }
        for one in found
    ]


async def get_signed(database: Database, name: str) -> bytes:
    """Return the signed bytes of an attestation, exactly as they were signed.

    Raises:
        NoSuchAttestationError: There is none of that id.
    """
    async with database.connection() as conn:
        found = (
            next(iter(await attestations.list_newest(conn, limit=1)), None)
            if name == "newest"
            else await attestations.find_attestation(conn, name)
        )
    if found is None:
        raise NoSuchAttestationError(
            f"There is no attestation {name!r}. `breakwater attestations list` shows the newest ones."
        )
    return found.object
