"""Preserve: keep withheld bytes, sealed, for the person who rules on them; keep nothing else."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from relay.model import MediaDecision
from relay.tools.spool import Spool, SpoolFullError

if TYPE_CHECKING:
    from relay.model import Media, MediaOutcome

_log = logging.getLogger(__name__)


async def preserve(outcome: MediaOutcome, media: Media, *, spool: Spool) -> None:
    """Seal the bytes of withheld media into the spool; remove what must not be kept."""
    if outcome.purge:
        await asyncio.to_thread(spool.purge, media.sha256)
        return
    if outcome.decision is MediaDecision.RELEASE or not outcome.needs_case:
        return
    try:
        await asyncio.to_thread(spool.keep, media.sha256, media.data)
    except (SpoolFullError, OSError) as error:
        # The decision stands without the copy: withheld is withheld.
        _log.error("spool_not_kept error=%s", type(error).__name__)
