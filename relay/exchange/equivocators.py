"""Draw the conclusion where a peer said two things under one name: keep the proof, and rely on it no more.

Honest relays name each of their statements anew, so that this never befalls one by chance. It is hard
evidence: the pair is kept as it was signed, and the peer is in quarantine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from db import equivocations, peers
from relay.exchange.intake import Rejected
from relay.exchange.standings import APPROVED
from relay.exchange.weighing import demote
from signatures.attestation import parse_attestation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from db.equivocations import Equivocation
    from db.pool import Connection, Database
    from relay.exchange.intake import Admitted
    from relay.exchange.weighing import OnDoubt

REASON: Final = "it signed two different statements under one name"


async def hold_against_issuers(
    admitted: Iterable[Admitted], *, database: Database, now: datetime, on_doubt: OnDoubt | None = None
) -> int:
    """Keep every proof among what was verified, and put whoever gave it in quarantine; return how many.

    Args:
        admitted: What `relay.exchange.intake` says about a page.
        database: Where proofs and peers are.
        now: The time.
        on_doubt: Told of each peer that is demoted.

    Raises:
        DatabaseError: Some were not kept; they are found again when the objects come again.
    """
    count = 0
    for one in admitted:
        if isinstance(one, Rejected) and one.equivocation is not None:
            async with database.transaction() as conn:
                count += await _hold_against(conn, one.equivocation, now=now, on_doubt=on_doubt)
    return count


async def _hold_against(
    conn: Connection, pair: Equivocation, *, now: datetime, on_doubt: OnDoubt | None
) -> bool:
    # The peer first, as everywhere.
    peer = await peers.lock_peer(conn, pair.issuer)
    if peer is None:
        return False
    is_new = await equivocations.keep_equivocation(conn, pair)
    if not is_new or peer.tier not in APPROVED:
        return is_new
    await demote(conn, peer, REASON, now=now)
    if on_doubt is not None:
        profile = parse_attestation(pair.second, allow_http=True).body.profile
        # At the end: other writers of the feed wait for what is published in a transaction.
        await on_doubt(conn, issuer=peer.actor, profile=profile, key_id=pair.second_key_id, now=now)
    return is_new
