"""What a commitment is of is kept until nobody audits it any more."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import commitments
from db.errors import DatabaseError
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from db.pool import Database


async def test_an_opening_is_forgotten_after_its_attestation_ended(database: Database) -> None:
    later = START + timedelta(days=1)
    async with database.connection() as conn:
        for digest, ends_at in ((bytes(32), START), (b"\1" * 32, later)):
            await commitments.put_commitment(conn, digest=digest, opening=digest[:4], ends_at=ends_at)
        assert await commitments.purge_commitments(conn, before=later, limit=9) == 1
        assert await commitments.find_opening(conn, bytes(32)) is None
        assert await commitments.find_opening(conn, b"\1" * 32) == b"\1" * 4


async def test_what_was_committed_to_never_changes(database: Database) -> None:
    async with database.connection() as conn:
        for opening in (b"first", b"second"):
            await commitments.put_commitment(conn, digest=bytes(32), opening=opening, ends_at=START)
        assert await commitments.find_opening(conn, bytes(32)) == b"first"


async def test_an_opening_has_a_bound(database: Database) -> None:
    with pytest.raises(DatabaseError):
        async with database.connection() as conn:
            await commitments.put_commitment(conn, digest=bytes(32), opening=bytes(65_537), ends_at=START)
