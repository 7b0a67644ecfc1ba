"""Come back to media that was let go before: look at its bytes again, and see to what follows.

For audits of what a peer's word has spared us, and for media that lists which came later may hold. Bytes are
had again from where they lie sealed, or from where deliveries said that they can be had; from then on the
doors know what was found, and what the backend stores already is seen to by errands.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from db import media
from relay.model import FetchFailure, Location, Media, MediaDecision, MediaReference
from relay.pipeline import look
from relay.stages.act import find_places_of, plan_for_outcome
from relay.stages.consult import consult_digest
from relay.stages.decide import judge
from relay.stages.record import record_rescan

if TYPE_CHECKING:
    from relay.line import Tools
    from relay.model import Door, MediaOutcome
    from relay.tools.spool import Spool

_log = logging.getLogger(__name__)

# Where the same bytes were elsewhere, too: a handful is enough to have them again, if anybody has.
_MAX_URLS: Final = 4


async def look_again(
    sha256: bytes, *, tools: Tools, url: str = "", retained: Spool | None = None
) -> MediaOutcome | None:
    """Find what a whole scan says of bytes that were let go; None where they cannot be had.

    What is known of them already counts as such a scan. Where a person is to rule on them, the bytes are had
    all the same, if they can be, and kept for that.

    Args:
        sha256: Their digest, 32 bytes.
        tools: What the line works with.
        url: Where they were had from; empty where that is not known.
        retained: Where they may lie sealed.

    Raises:
        DatabaseError: Verdicts could not be read or kept; nothing is known.
    """
    reference = MediaReference(url=url, location=Location.STORED)
    known = await consult_digest(
        sha256, None, reference, database=tools.database, state_digest=tools.scans.scanning.state_digest
    )
    judged = None if known is None else judge(known, tools.policy)
    if judged is not None and not await _are_wanted(sha256, judged, tools=tools):
        return judged
    async with tools.memory.open_account() as account:
        data = None if retained is None else await asyncio.to_thread(retained.find, sha256)
        if data is not None:
            await account.grow(len(data))
            return await look(Media(data=data, sha256=sha256, content_type=None), reference, tools=tools)
        async with tools.database.connection() as conn:
            urls = await media.list_urls_of(conn, sha256, limit=_MAX_URLS)
        for place in dict.fromkeys((url, *urls) if url else urls):
            fetched = await tools.client.fetch_media(
                place, max_bytes=tools.max_media_bytes, reserve=account.grow
            )
            # Other bytes than those that were let go say nothing: servers re-encode, and liars swap.
            if not isinstance(fetched, FetchFailure) and fetched.sha256 == sha256:
                return await look(fetched, reference, tools=tools)
    return judged


async def _are_wanted(sha256: bytes, outcome: MediaOutcome, *, tools: Tools) -> bool:
    """Tell whether a person needs the bytes to rule on them, and has not got them."""
    if not outcome.needs_case or outcome.purge:
        return False
    return not await asyncio.to_thread(tools.spool.holds, sha256)


async def follow_up(sha256: bytes, outcome: MediaOutcome, *, door: Door, tools: Tools) -> None:
    """See to what was let go and would not be now: a case, and what follows wherever it went to.

    Raises:
        DatabaseError: Nothing was recorded; the next look does.
    """
    if outcome.decision is MediaDecision.RELEASE:
        return
    async with tools.database.connection() as conn:
        places = await find_places_of(conn, sha256, own_host=tools.acting.own_host)
    planned = [
        errand
        for place in places
        for errand in await plan_for_outcome(outcome, place, acting=tools.acting, database=tools.database)
    ]
    case_id = await record_rescan(
        outcome, door=door, database=tools.database, now=tools.clock.now(), errands=planned
    )
    if case_id is not None:
        _log.warning("new_cases count=1")
