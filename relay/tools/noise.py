"""Notice listed hashes that fit many different pictures, and take them out of use or raise an alarm.

A perceptual hash may be of a picture that has hardly anything on it, or simply wrong, and then it fits things
that have nothing to do with each other. A flood of copies of one picture fits one hash, too, so that not
files are counted but looks: only pictures that lie further from each other than a match is wide differ.

Who wants a hash to be forgotten could send pictures made for that. So a hash of abuse material or of intimate
pictures is never taken out of use by itself: it goes on being matched, and the admin is told. Of all others
near matches are suspended until a person decides. Exact digests are never noise.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import noisy
from db.noisy import NoiseState, NoisyEntry
from scanner.hashlist import DEFAULT_DISTANCE, DEFAULT_MIN_QUALITY
from scanner.report import Basis

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from db.pool import Connection, Database
    from scanner.report import Report

_log = logging.getLogger(__name__)

WINDOW: Final = timedelta(days=7)
"""How far back is looked: "suddenly" on a small instance is a week."""

MIN_UNLIKE: Final = 12
"""So many pictures unlike each other near one hash are no chance: two random hashes are within 31 bits of
each other about once in 10**37."""

UNLIKE_BITS: Final = DEFAULT_DISTANCE
"""Pictures further apart than a confident match are different pictures."""

_SEVERE: Final = ("csam-", "csem-", "ncii-", "tvec")
_MOST_BITS: Final = 500
_MOST_SUSPECTS: Final = 100
_RELAY: Final = "relay"


async def note_near(conn: Connection, report: Report, *, now: datetime) -> None:
    """Remember which listed hashes a file looks like."""
    shown = (one.bits for one in report.fingerprints.pdq if one.quality >= DEFAULT_MIN_QUALITY)
    bits = next(shown, None)
    for finding in report.findings:
        if (
            bits is not None
            and finding.basis is Basis.NEAR_HASH
            and finding.entry is not None
            and finding.list_name is not None
        ):
            await noisy.put_near(
                conn, finding.list_name, finding.entry, sha256=report.fingerprints.sha256, bits=bits, now=now
            )


async def find_noise(*, database: Database, now: datetime) -> tuple[NoisyEntry, ...]:
    """Find listed hashes that have become noisy, and decide about them.

    Raises:
        DatabaseError: Some were not decided about; the next round does.
    """
    since = now - WINDOW
    found: list[NoisyEntry] = []
    async with database.connection() as conn:
        suspects = await noisy.list_suspects(conn, since=since, files=MIN_UNLIKE, limit=_MOST_SUSPECTS)
    for list_name, entry, category in suspects:
        async with database.transaction() as conn:
            bits = await noisy.list_bits(conn, list_name, entry, since=since, limit=_MOST_BITS)
            unlike = count_unlike(bits)
            if unlike >= MIN_UNLIKE:
                decided = NoisyEntry(
                    list_name=list_name,
                    entry=entry,
                    state=NoiseState.ALARM if category.startswith(_SEVERE) else NoiseState.SUSPENDED,
                    unlike=unlike,
                    noticed_at=now,
                    decided_by=_RELAY,
                )
                # Another relay, or a person, may have decided since.
                if await noisy.put_noticed(conn, decided):
                    found.append(decided)
    for one in found:
        # Which list and which entry, `breakwater lists noisy` tells the admin.
        _log.error("noisy_hash state=%s pictures=%d", one.state.value, one.unlike)
    return tuple(found)


def count_unlike(hashes: Iterable[bytes]) -> int:
    """Count pictures that look unlike each other: none of them is near one that was counted before."""
    counted: list[int] = []
    for one in hashes:
        bits = int.from_bytes(one)
        if all((bits ^ other).bit_count() > UNLIKE_BITS for other in counted):
            counted.append(bits)
    return len(counted)
