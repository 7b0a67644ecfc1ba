"""Scan: examine bytes once, however many deliveries point at them, and remember the verdict.

Within this process the callers share one flight; between processes the database's claim lets one
relay look while the others wait for its verdict, at most as long as its lease. Services of others are asked
last, and what they say is part of the verdict that is kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import media as media_table
from db import verdicts
from db.media_hashes import put_hashes
from relay.model import Evidence, EvidenceBasis, Media, MediaReference
from relay.tools.kept_hashes import build_hashes
from relay.tools.noise import note_near
from relay.tools.reuse import is_reusable
from scanner.report import Report, UnscannableReason, Verdict, report_from_json, report_to_json

if TYPE_CHECKING:
    from db.pool import Database
    from relay.clock import Clock
    from relay.services.desk import Desk
    from relay.tools.flights import Flights
    from relay.tools.scanning import Scanning
    from scanner.scan import Begun

# Longer than the scanner's own time limit for one file, so that it ends only with a lost process.
_EXAMINATION_LEASE: Final = timedelta(seconds=90)
_POLL: Final = timedelta(milliseconds=50)

# What servers show as media if a response says so, whatever the bytes are (an SVG, for instance).
_MEDIA_KINDS: Final = ("image/", "video/", "audio/")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTools:
    """What the scan stage works with.

    Attributes:
        scanning: The scanner.
        flights: Who is being scanned now, by digest, declared type and the state of the scanner.
        database: Where verdicts are kept and examinations claimed.
        clock: The time.
        worker: The name of this process.
        services: The services of others that are asked, too; None where nothing is to leave this machine.
    """

    scanning: Scanning
    flights: Flights[tuple[bytes, str | None, bytes], Report]
    database: Database
    clock: Clock
    worker: str
    services: Desk | None = None

    @property
    def state_digest(self) -> bytes:
        """Under what verdicts are kept: that with the services, or that of the scanner alone."""
        return self.scanning.local_digest if self.services is None else self.scanning.state_digest


def keep_here(tools: ScanTools) -> ScanTools:
    """Return tools that tell no service anything; their verdicts are those of the scanner alone."""
    return replace(tools, services=None)


async def begin(
    media: Media,
    reference: MediaReference,
    *,
    tools: ScanTools,
    state_digest: bytes,
    flights: Flights[tuple[bytes, str | None, bytes], Begun],
) -> Begun:
    """Look the bytes up in the lists, before anything costly is done; nothing is stored of it.

    Args:
        media: The bytes.
        reference: What pointed at them.
        tools: What the stage works with.
        state_digest: The state of the scanner.
        flights: Who is being looked up now.
    """
    declared_type = media.content_type or reference.declared_type
    begun = await flights.share(
        (media.sha256, declared_type, state_digest),
        lambda: tools.scanning.begin(media.data, declared_type=declared_type),
    )
    if tools.services is None:
        return begun
    return replace(begun, report=tools.services.announce(begun.report), is_whole=False)


async def scan(
    media: Media,
    reference: MediaReference,
    *,
    tools: ScanTools,
    state_digest: bytes,
    begun: Begun | None = None,
) -> Evidence:
    """Scan the bytes and return what was found as evidence.

    Args:
        media: The bytes.
        reference: What pointed at them.
        tools: What the stage works with.
        state_digest: The state of the scanner.
        begun: The scan of these very bytes that was begun, if there is one, so that it is gone on with.
    """
    declared_type = media.content_type or reference.declared_type
    report = await tools.flights.share(
        # Lists may be swapped while a scan runs, and its report does not speak for the new ones.
        (media.sha256, declared_type, state_digest),
        lambda: _examine(media, declared_type, tools, state_digest, begun),
    )
    # A bare link that led to a web page is a link; what was declared as media, by whoever pointed at it or by
    # its own origin, and is none stays unknown.
    is_page = report.reason is UnscannableReason.NOT_MEDIA and report.verdict is Verdict.UNSCANNABLE
    is_declared = reference.is_declared or (declared_type or "").startswith(_MEDIA_KINDS)
    if is_page and not is_declared:
        return Evidence(reference=reference, basis=EvidenceBasis.NOT_MEDIA)
    return Evidence(
        reference=reference,
        basis=EvidenceBasis.SCAN,
        sha256=media.sha256,
        report=report,
        state_digest=state_digest,
    )


async def _examine(
    media: Media, declared_type: str | None, tools: ScanTools, state_digest: bytes, begun: Begun | None
) -> Report:
    if not await _claim(media.sha256, tools):
        known = await _await_verdict(media.sha256, tools, state_digest)
        if known is not None and is_reusable(known, declared_type):
            return known
    if begun is None:
        begun, report = await tools.scanning.scan(media.data, declared_type=declared_type)
    else:
        report = await tools.scanning.finish(begun)
    if tools.services is not None:
        report = await tools.services.ask(media.data, report, make_copies=tools.scanning.make_copies)
    now = tools.clock.now()
    # The decision, which rests on the verdict, is stored after it and waits for the disk for both.
    async with tools.database.transaction(waits_for_disk=False) as conn:
        await media_table.record_media(
            conn,
            sha256=media.sha256,
            size=len(media.data),
            media_type=None if report.facts.media_type is None else report.facts.media_type.value,
            now=now,
        )
        await verdicts.put_verdict(
            conn,
            verdicts.StoredVerdict(
                sha256=media.sha256,
                state_digest=state_digest,
                verdict=report.verdict.value,
                reason=_reason(report),
                report=report_to_json(report),
                scanned_at=now,
            ),
        )
        await note_near(conn, report, now=now)
        await put_hashes(conn, build_hashes(begun, now=now))
        await media_table.finish_examination(conn, media.sha256, worker=tools.worker)
    return report


def _reason(report: Report) -> str | None:
    is_unknown = report.verdict is Verdict.UNSCANNABLE and report.reason is not None
    return report.reason.value if is_unknown and report.reason is not None else None


async def _claim(sha256: bytes, tools: ScanTools) -> bool:
    async with tools.database.transaction(waits_for_disk=False) as conn:
        return await media_table.claim_examination(
            conn, sha256, worker=tools.worker, lease=_EXAMINATION_LEASE, now=tools.clock.now()
        )


async def _await_verdict(sha256: bytes, tools: ScanTools, state_digest: bytes) -> Report | None:
    """Wait for the verdict of whoever holds the claim; None once the claim is ours or too old."""
    give_up = tools.clock.monotonic() + _EXAMINATION_LEASE.total_seconds()
    while tools.clock.monotonic() < give_up:
        await asyncio.sleep(_POLL.total_seconds())
        async with tools.database.connection() as conn:
            stored = await verdicts.find_verdict(conn, sha256, state_digest)
        if stored is not None:
            return report_from_json(stored.report)
        if await _claim(sha256, tools):
            return None
    return None
