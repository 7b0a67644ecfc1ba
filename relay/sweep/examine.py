"""Examine one stored file: read it within bounds, have the line weigh its bytes, and note what follows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from db import sweeps
from relay.backends.abilities import Ability
from relay.model import Door, EvidenceBasis, Location, Media, MediaDecision, MediaReference, Place
from relay.pipeline import weigh
from relay.stages.act import plan_for_outcome
from relay.stages.preserve import preserve
from relay.stages.record import record_stored
from relay.sweep.counting import Deed, Kind, Result
from relay.sweep.source import FileUnreadableError, FileVanishedError, PassedOver
from scanner.report import UnscannableReason, Verdict
from scanner.sniff import Family, MediaType, family, sniff

if TYPE_CHECKING:
    from db.pool import Database
    from relay.clock import Clock
    from relay.metrics import Metrics
    from relay.model import MediaOutcome
    from relay.stages.act import Acting
    from relay.stages.decide import Policy
    from relay.stages.scan import ScanTools
    from relay.sweep.source import Entry, Opened, Source, StoredFile
    from relay.tools.memory import Account, MemoryBudget
    from relay.tools.spool import Spool

# A decoder that was busy or lost may be there a moment later; the same a second time is an answer.
_LOOKS: Final = 2

_MEDIA_SUFFIXES: Final = (
    *(".apng", ".avif", ".bmp", ".gif", ".heic", ".heif", ".ico", ".jfif", ".jpeg", ".jpg", ".jxl", ".png"),
    *(".svg", ".tif", ".tiff", ".webp"),
    *(".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm"),
    *(".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav"),
)
"""What claims by its name to be media is media that cannot be read, if its bytes are none."""

_MEDIA_KINDS: Final = ("image/", "video/", "audio/")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTools:
    """What a sweep works with.

    Attributes:
        database: Where verdicts, cases and checkpoints are.
        scans: The scanner.
        spool: Where withheld bytes await a ruling.
        policy: The admin's table.
        acting: What the admin wants done on the backend, and what can be done there.
        memory: The room for media, over all that is examined at once.
        metrics: Numbers that nobody reads in a command; the line counts them.
        clock: The time.
        max_media_bytes: How long media may be.
        peers: None: what lies here already is looked at by ourselves.
    """

    database: Database
    scans: ScanTools
    spool: Spool
    policy: Policy
    acting: Acting
    memory: MemoryBudget
    metrics: Metrics
    clock: Clock
    max_media_bytes: int
    peers: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a sweep goes about what it finds.

    Attributes:
        is_dry_run: Verdicts are kept, and nothing else: no case, no copy, no errand.
        asks_about_unscannable: What could not be examined becomes a case, too. By default it is counted: a
            server stores many videos, and a case for each would bury the others.
    """

    is_dry_run: bool
    asks_about_unscannable: bool = False


async def examine_entry(entry: Entry, *, source: Source, tools: SweepTools, manner: Manner) -> Result:
    """Examine one entry of a source's list.

    Raises:
        DatabaseError: Nothing is known of it; it is examined again.
    """
    if isinstance(entry, PassedOver):
        if entry.trouble is not None:
            return Result(entry=entry, kind=Kind.ERROR, detail=entry.trouble)
        return Result(entry=entry, kind=Kind.VANISHED if entry.is_gone else Kind.LEFT_OUT)
    try:
        async with tools.memory.open_account() as account, source.open(entry) as opened:
            media = await _read(entry, opened, account=account, max_bytes=tools.max_media_bytes)
            if isinstance(media, Result):
                return media
            return await _examine(entry, media, tools=tools, manner=manner)
    except FileVanishedError:
        return Result(entry=entry, kind=Kind.VANISHED)
    except FileUnreadableError as error:
        return Result(entry=entry, kind=Kind.ERROR, detail=error.trouble)


async def _read(entry: StoredFile, opened: Opened, *, account: Account, max_bytes: int) -> Media | Result:
    """Read media; of what is none, no more than tells so."""
    data, digest = bytearray(), hashlib.sha256()
    async for chunk in opened.chunks:
        await account.grow(len(chunk))
        if not data and not _is_media(chunk, entry.name, opened.content_type):
            return Result(entry=entry, kind=Kind.NOT_MEDIA, size=len(chunk))
        data += chunk
        digest.update(chunk)
        if len(data) > max_bytes:
            # No verdict is kept: these are not all the bytes, and their digest is not the file's.
            reason = UnscannableReason.TOO_LARGE
            return Result(entry=entry, kind=Kind.UNSCANNABLE, size=len(data), detail=reason)
    if not data and not _is_media(b"", entry.name, opened.content_type):
        return Result(entry=entry, kind=Kind.NOT_MEDIA)
    return Media(data=bytes(data), sha256=digest.digest(), content_type=None)


def _is_media(head: bytes, name: str, content_type: str | None) -> bool:
    """Tell media by its first bytes; and what claims to be media, lest it passes for something else."""
    found = sniff(head)
    if found is not None and (family(found) is not Family.OTHER or found is MediaType.SVG):
        return True
    return name.lower().endswith(_MEDIA_SUFFIXES) or (content_type or "").lower().startswith(_MEDIA_KINDS)


async def _examine(entry: StoredFile, media: Media, *, tools: SweepTools, manner: Manner) -> Result:
    reference = MediaReference(url="", location=Location.STORED)
    outcome = await weigh(media, reference, tools=tools)
    for _ in range(_LOOKS - 1):
        if outcome.retry:
            outcome = await weigh(media, reference, tools=tools)
    result = _read_outcome(entry, media, outcome)
    if manner.is_dry_run or not result.is_stopped:
        return result
    if result.kind is Kind.UNSCANNABLE and not manner.asks_about_unscannable:
        return result
    return await _follow_up(entry, result, media, outcome, tools=tools)


def _read_outcome(entry: StoredFile, media: Media, outcome: MediaOutcome) -> Result:
    evidence, report = outcome.evidence, outcome.evidence.report
    kind, detail = Kind.UNSCANNABLE, UnscannableReason.DETECTOR_UNAVAILABLE.value
    if evidence.basis is EvidenceBasis.RULING:
        kind, detail = (Kind.RELEASED if evidence.is_allowed else Kind.UPHELD), ""
    elif report is not None and report.verdict is Verdict.MATCH:
        category = next((one.category.value for one in report.findings if not one.advisory), "")
        kind, detail = Kind.MATCH, outcome.category or category
    elif report is not None and report.verdict is Verdict.NO_MATCH:
        kind, detail = Kind.NO_MATCH, ""
    elif report is not None and report.reason is not None:
        detail = report.reason.value
    return Result(
        entry=entry,
        kind=kind,
        size=len(media.data),
        detail=detail,
        is_known=evidence.basis is not EvidenceBasis.SCAN,
        is_stopped=outcome.decision is not MediaDecision.RELEASE,
    )


async def _follow_up(
    entry: StoredFile, result: Result, media: Media, outcome: MediaOutcome, *, tools: SweepTools
) -> Result:
    """Open the case, and hand what policy wants removed to the backend's adapter, or else to a person."""
    await preserve(outcome, media, spool=tools.spool)
    # What policy wants is asked as if it could be done, to tell people what it cannot do by itself.
    able = replace(tools.acting, abilities=frozenset({Ability.PURGE_MEDIA}))
    place = Place(alias=entry.alias or entry.name)
    wanted = await plan_for_outcome(outcome, place, acting=able, database=tools.database)
    has_adapter = bool(entry.alias) and Ability.PURGE_MEDIA in tools.acting.abilities
    await record_stored(
        outcome,
        Place(alias=entry.alias),
        door=Door.SWEEP,
        database=tools.database,
        now=tools.clock.now(),
        errands=wanted if has_adapter else (),
    )
    async with tools.database.connection() as conn:
        case = await sweeps.find_case_of_bytes(conn, media.sha256)
    deed = Deed.NOTHING if case is None else Deed.CASE
    if wanted:
        deed = Deed.ERRAND if has_adapter else Deed.BY_HAND
    return replace(result, case_id=None if case is None else case.id, deed=deed)
