"""A list that changes in a running relay takes back what was attested under the one before, by itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from db import attestations, feed
from db.attestations import StoredAttestation
from db.hashlists import NewHashList, import_list
from relay.app import run_relay
from signatures.digests import digest_multibase
from signatures.revocation import RevocationBody, Scope, parse_revocation
from tests.e2e.world import wait_until
from tests.fediverse.clock import START
from tests.relay.line import open_line

if TYPE_CHECKING:
    from tests.relay.line import Line

NEW = NewHashList(
    name="new", version="1", category="spam", distance=0, min_quality=0, is_dihedral=False, digest=bytes(32)
)


async def attested(line: Line) -> bytes:
    """Store an attestation under the scanner as it is, and return its state."""
    state = line.tools.scans.scanning.state_digest
    async with line.database.connection() as conn:
        await attestations.insert_attestation(
            conn,
            StoredAttestation(
                id="1",
                sha256=bytes(32),
                profile=line.tools.vouching.identity.profile("image-1"),
                state_digest=state,
                published=START,
                end_time=START + timedelta(days=1),
                is_withheld_share=False,
                audience="public",
                object=b"{}",
            ),
        )
    return state


async def test_an_import_takes_back_the_state_before_it(dsn: str) -> None:
    async with open_line(dsn) as line:
        before = await attested(line)

        async def find() -> RevocationBody | None:
            async with line.database.connection() as conn:
                items = await feed.read(conn, cursor=0, peer="", visible_at=None, limit=10)
                if not items:
                    # Again, until the relay has begun to listen.
                    await import_list(conn, NEW, {"sha256": bytes(32)}, now=START)
            return parse_revocation(items[0].object, allow_http=True).body if items else None

        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(run_relay(line.relay, stop=stop))
            try:
                body = await wait_until(find, "a revocation in the feed")
            finally:
                stop.set()

    assert (body.scope, body.object) == (Scope.STATE, digest_multibase(before))
