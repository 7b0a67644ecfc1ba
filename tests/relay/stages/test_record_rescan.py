"""What a later look finds is recorded once, and tells nobody outside of what only some may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db import alert_hits, alert_letters, peering
from db.hashlists import NewHashList, import_list
from db.peers import Tier
from relay.model import Door, MediaDecision
from relay.stages.record import record_rescan
from scanner.labels import Category
from scanner.report import Basis, Finding, Verdict
from tests.fediverse.clock import START
from tests.relay.exchange.pair import PEER, know
from tests.relay.rescans.seen import carry
from tests.relay.stages.parts import evidence, outcome, report

if TYPE_CHECKING:
    from db.pool import Database

LISTED = Finding(
    detector="lists", version="1", category=Category.SPAM, basis=Basis.EXACT_HASH, list_name="ours"
)
MATCH = report(Verdict.MATCH, findings=(LISTED,))
SHA256 = MATCH.fingerprints.sha256
STOPPED = outcome(evidence(MATCH), MediaDecision.BLOCK, category="spam", needs_case=True)


@pytest.mark.parametrize(("audience", "warns"), [("public", True), ("restricted", False), (None, False)])
async def test_peers_are_warned_of_an_old_match_only_if_a_public_post_had_it(
    audience: str | None,
    warns: bool,  # noqa: FBT001 (pytest passes it by name)
    database: Database,
) -> None:
    await know(database, PEER, tier=Tier.TRUSTED)
    new = NewHashList(
        name="ours", version="1", category="spam", distance=0, min_quality=0, is_dihedral=False, digest=SHA256
    )
    async with database.connection() as conn:
        await peering.set_alerts(conn, PEER.actor, categories=("spam",), key=bytes(32), now=START)
        await import_list(conn, new, {"sha256": SHA256}, now=START)
        assert await alert_hits.set_allowing(conn, "ours", allows=True)
    if audience is not None:
        await carry(database, SHA256, audience=audience)

    assert await record_rescan(STOPPED, door=Door.INBOX, database=database, now=START) is not None
    async with database.connection() as conn:
        assert (await alert_letters.next_due(conn) is not None) == warns


async def test_to_look_once_more_opens_no_second_case(database: Database) -> None:
    assert await record_rescan(STOPPED, door=Door.INBOX, database=database, now=START) is not None
    assert await record_rescan(STOPPED, door=Door.INBOX, database=database, now=START) is None
