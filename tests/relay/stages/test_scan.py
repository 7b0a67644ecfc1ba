"""Bytes are examined once, however many ask, and whoever dies at it leaves them to the next."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import media as media_table
from db import verdicts
from relay.model import EvidenceBasis
from relay.stages.scan import ScanTools, scan
from relay.tools.flights import open_flights
from scanner.canary import draw_canary
from scanner.report import Report, UnscannableReason, Verdict, report_from_json
from tests.fediverse.clock import FrozenClock
from tests.images import encode, marker
from tests.relay.stages.parts import STATE, media, reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.pool import Database
    from relay.tools.scanning import Scanning
    from scanner.scan import Begun

PNG = encode(marker(1, width=96, height=96), "PNG")
PAGE = b"<!doctype html><title>A page</title>"


class CountingScanning:
    """The real scanner behind a gate."""

    def __init__(self, scanning: Scanning) -> None:
        self._scanning = scanning
        self.count = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def scan(self, data: bytes, *, declared_type: str | None) -> tuple[Begun, Report]:
        self.count += 1
        self.begun.set()
        await self.gate.wait()
        return await self._scanning.scan(data, declared_type=declared_type)


class NoticedClock(FrozenClock):
    """A clock that tells when somebody begins to wait by it."""

    def __init__(self) -> None:
        super().__init__()
        self.was_read = asyncio.Event()

    def monotonic(self) -> float:
        self.was_read.set()
        return super().monotonic()


class Bench:
    """Scan stages of any number of relays on one database and one scanner."""

    def __init__(self, database: Database, scanning: Scanning, stack: list[ScanTools]) -> None:
        self.database = database
        self.scanning = CountingScanning(scanning)
        self.clock = NoticedClock()
        self.relays = stack


@pytest.fixture
async def bench(database: Database, scanning: Scanning) -> AsyncIterator[Bench]:
    made = Bench(database, scanning, [])
    async with open_flights() as one, open_flights() as other:
        for name, flights in (("one", one), ("other", other)):
            made.relays.append(
                ScanTools(
                    scanning=made.scanning,  # type: ignore[arg-type] # it scans, which is all the stage asks for
                    flights=flights,
                    database=database,
                    clock=made.clock,
                    worker=name,
                )
            )
        yield made


async def _find_verdict(bench: Bench, data: bytes) -> verdicts.StoredVerdict | None:
    async with bench.database.connection() as conn:
        return await verdicts.find_verdict(conn, media(data).sha256, STATE)


async def _claim(bench: Bench, data: bytes, worker: str, lease: timedelta = timedelta(seconds=90)) -> bool:
    async with bench.database.connection() as conn:
        return await media_table.claim_examination(
            conn, media(data).sha256, worker=worker, lease=lease, now=bench.clock.now()
        )


@pytest.mark.parametrize(("data", "verdict"), [(PNG, Verdict.NO_MATCH), (draw_canary(), Verdict.MATCH)])
async def test_what_was_found_is_evidence_and_is_kept(data: bytes, verdict: Verdict, bench: Bench) -> None:
    found = await scan(media(data), reference(), tools=bench.relays[0], state_digest=STATE)

    assert found.report is not None
    assert (found.basis, found.report.verdict) == (EvidenceBasis.SCAN, verdict)
    assert (found.sha256, found.state_digest) == (media(data).sha256, STATE)
    stored = await _find_verdict(bench, data)
    assert stored is not None
    assert report_from_json(stored.report) == found.report
    async with bench.database.connection() as conn:
        seen = await media_table.find_media(conn, media(data).sha256)
    assert seen is not None
    assert (seen.size, seen.media_type) == (len(data), "image/png")
    assert await _claim(bench, data, "somebody else")


async def test_a_page_is_no_media_where_it_was_only_linked_to(bench: Bench) -> None:
    page = media(PAGE, "text/html")

    linked = await scan(page, reference(is_declared=False), tools=bench.relays[0], state_digest=STATE)
    declared = await scan(page, reference(), tools=bench.relays[0], state_digest=STATE)

    assert (linked.basis, linked.report) == (EvidenceBasis.NOT_MEDIA, None)
    assert declared.report is not None
    assert (declared.report.verdict, declared.report.reason) == (
        Verdict.UNSCANNABLE,
        UnscannableReason.NOT_MEDIA,
    )
    stored = await _find_verdict(bench, PAGE)
    assert stored is not None
    assert (stored.verdict, stored.reason) == ("unscannable", "not_media")


async def test_many_who_ask_at_once_share_one_scan(bench: Bench) -> None:
    bench.scanning.gate.clear()
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(
                scan(
                    media(PNG), reference(f"https://a.example/{n}"), tools=bench.relays[0], state_digest=STATE
                )
            )
            for n in range(20)
        ]
        await bench.scanning.begun.wait()
        bench.scanning.gate.set()

    assert bench.scanning.count == 1
    assert {one.result().reference.url for one in asked} == {f"https://a.example/{n}" for n in range(20)}


async def test_one_who_goes_away_spoils_nothing_for_the_others(bench: Bench) -> None:
    bench.scanning.gate.clear()
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(scan(media(PNG), reference(), tools=bench.relays[0], state_digest=STATE))
            for _ in range(2)
        ]
        await bench.scanning.begun.wait()
        asked[0].cancel()
        bench.scanning.gate.set()

    assert asked[0].cancelled()
    assert asked[1].result().basis is EvidenceBasis.SCAN
    assert bench.scanning.count == 1


async def test_two_relays_look_once_between_them(bench: Bench) -> None:
    bench.scanning.gate.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(scan(media(PNG), reference(), tools=bench.relays[0], state_digest=STATE))
        await bench.scanning.begun.wait()
        second = group.create_task(scan(media(PNG), reference(), tools=bench.relays[1], state_digest=STATE))
        await bench.clock.was_read.wait()
        bench.scanning.gate.set()

    assert bench.scanning.count == 1
    assert first.result() == second.result()


async def test_what_a_lost_relay_was_at_is_taken_over_when_its_claim_ends(bench: Bench) -> None:
    assert await _claim(bench, PNG, "lost")

    async with asyncio.TaskGroup() as group:
        looking = group.create_task(scan(media(PNG), reference(), tools=bench.relays[0], state_digest=STATE))
        bench.clock.advance(timedelta(seconds=91))

    assert looking.result().basis is EvidenceBasis.SCAN
    assert bench.scanning.count == 1


async def test_a_claim_that_never_ends_is_waited_for_only_so_long(bench: Bench) -> None:
    assert await _claim(bench, PNG, "hangs", lease=timedelta(days=1))
    bench.clock.tick = timedelta(seconds=30)

    found = await scan(media(PNG), reference(), tools=bench.relays[0], state_digest=STATE)

    assert found.report is not None
    assert found.report.verdict is Verdict.NO_MATCH


async def test_anothers_verdict_under_another_name_does_not_do(bench: Bench) -> None:
    """The other relay was told that it is a JPEG, so that its verdict is about a lie."""
    as_jpeg = media(PNG, "image/jpeg")
    bench.scanning.gate.clear()
    async with asyncio.TaskGroup() as group:
        lied = group.create_task(scan(as_jpeg, reference(), tools=bench.relays[0], state_digest=STATE))
        await bench.scanning.begun.wait()
        honest = group.create_task(scan(media(PNG), reference(), tools=bench.relays[1], state_digest=STATE))
        bench.scanning.gate.set()

    lied_report, honest_report = lied.result().report, honest.result().report
    assert lied_report is not None
    assert honest_report is not None
    assert lied_report.reason is UnscannableReason.TYPE_MISMATCH
    assert honest_report.verdict is Verdict.NO_MATCH
