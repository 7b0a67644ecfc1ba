"""A report speaks for the lists that it was made with, and a page is a page only if nobody says otherwise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay.model import EvidenceBasis
from relay.stages.scan import ScanTools, scan
from relay.tools.flights import open_flights
from scanner.report import UnscannableReason
from tests.fediverse.clock import FrozenClock
from tests.images import encode, marker
from tests.relay.stages.parts import STATE, media, reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.pool import Database
    from relay.tools.scanning import Scanning
    from scanner.report import Report
    from scanner.scan import Begun

PNG = encode(marker(1, width=96, height=96), "PNG")
OTHER_STATE = bytes(reversed(STATE))


class GatedScanning:
    """The real scanner, whose first scan waits."""

    def __init__(self, scanning: Scanning) -> None:
        self._scanning = scanning
        self.count = 0
        self.begun, self.gate = asyncio.Event(), asyncio.Event()

    async def scan(self, data: bytes, *, declared_type: str | None) -> tuple[Begun, Report]:
        self.count += 1
        if self.count == 1:
            self.begun.set()
            await self.gate.wait()
        return await self._scanning.scan(data, declared_type=declared_type)


@pytest.fixture
async def tools(database: Database, scanning: Scanning) -> AsyncIterator[ScanTools]:
    async with open_flights() as flights:
        yield ScanTools(
            scanning=GatedScanning(scanning),  # type: ignore[arg-type] # it scans, which is all that is asked
            flights=flights,
            database=database,
            clock=FrozenClock(),
            worker="one",
        )


async def test_nobody_joins_a_scan_that_began_under_older_lists(tools: ScanTools) -> None:
    gated = tools.scanning
    assert isinstance(gated, GatedScanning)
    async with asyncio.TaskGroup() as group:
        old = group.create_task(scan(media(PNG), reference(), tools=tools, state_digest=STATE))
        await gated.begun.wait()
        new = group.create_task(scan(media(PNG), reference(), tools=tools, state_digest=OTHER_STATE))
        await asyncio.wait({new})
        gated.gate.set()

    assert gated.count == 2
    assert (old.result().state_digest, new.result().state_digest) == (STATE, OTHER_STATE)


@pytest.mark.parametrize("content_type", ["image/svg+xml", "video/mp4", "audio/ogg"])
async def test_a_link_that_its_origin_calls_media_is_no_page(content_type: str, tools: ScanTools) -> None:
    gated = tools.scanning
    assert isinstance(gated, GatedScanning)
    gated.gate.set()
    drawing = media(b'<svg xmlns="http://www.w3.org/2000/svg"/>', content_type)

    found = await scan(drawing, reference(is_declared=False), tools=tools, state_digest=STATE)

    assert found.basis is EvidenceBasis.SCAN
    assert found.report is not None
    assert found.report.reason is UnscannableReason.NOT_MEDIA
