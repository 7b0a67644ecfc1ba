"""Copies for services that do not take a file: of every format, and never a no where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 - registers JPEG XL with Pillow
import pytest
from PIL import Image

from db.service_usage import find_used
from relay.config.services import Services
from relay.metrics import Metrics
from relay.services import copies as copies_module
from relay.services.breaker import FAILURES
from relay.services.opening import open_desk
from relay.tools.scanning import open_scanning
from scanner.report import Coverage, Report, RunOutcome, UnscannableReason, Verdict
from scanner.sniff import MediaType
from tests.fediverse.clock import START, FrozenClock
from tests.images import animation, encode, marker
from tests.relay.services.parts import PICTURE, copy_of, report_on, section_for
from tests.scanner.clips import Scene, clip, cover, sound
from tests.service_servers import FakeGoogle, FakePhotoDna, Scripted
from tests.service_servers.photodna import status_only

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from db.pool import Database
    from relay.services.copies import CopyMaker
    from relay.services.desk import Desk
    from relay.tools.scanning import Scanning
    from scanner.reduced import Copy
    from scanner.scan import Scanner

pillow_heif.register_heif_opener()

VIDEO = report_on(media_type=MediaType.MP4, frames=90)
BAD = Scripted(status=500)


class Making:
    """What makes copies, and counts how often."""

    def __init__(self, *made: Copy | UnscannableReason) -> None:
        self.times = 0
        self._made = made

    async def __call__(self, data: bytes, **_bounds: int) -> tuple[Copy, ...] | UnscannableReason:
        assert data == PICTURE
        self.times += 1
        # Whoever else wants them comes meanwhile.
        await asyncio.sleep(0)
        reason = self._made[0]
        if isinstance(reason, UnscannableReason):
            return reason
        return tuple(one for one in self._made if not isinstance(one, UnscannableReason))


@contextlib.asynccontextmanager
async def open_room(database: Database, directory: Path, *fakes: Any, **given: Any) -> AsyncIterator[Desk]:
    names = {FakePhotoDna: "photodna", FakeGoogle: "google"}
    sections = {
        names[type(fake)]: section_for(fake, directory, **(given if isinstance(fake, FakePhotoDna) else {}))
        for fake in fakes
    }
    settings = Services.model_validate(sections)
    async with open_desk(settings, database=database, metrics=Metrics(), clock=FrozenClock()) as desk:
        assert desk is not None
        yield desk


async def used(database: Database, service: str) -> int:
    async with database.connection() as conn:
        return await find_used(conn, service, FrozenClock().now().date())


def run_of(report: Report, name: str) -> RunOutcome:
    return next(one.outcome for one in report.detectors if one.name == name)


async def test_copies_are_made_once_for_all_who_need_them_and_each_that_is_sent_is_counted(
    database: Database, tmp_path: Path
) -> None:
    making = Making(copy_of(1), copy_of(2), copy_of(3))
    async with FakePhotoDna.open() as photodna, FakeGoogle.open() as google:
        async with open_room(database, tmp_path, photodna, google) as desk:
            report = await desk.ask(PICTURE, VIDEO, make_copies=making)
        assert (len(photodna.received), len(google.received)) == (3, 1)
    assert making.times == 1
    assert await used(database, "photodna") == 3
    assert await used(database, "google-content-safety") == 1
    assert report.verdict is Verdict.NO_MATCH
    assert report.facts.coverage is Coverage.SAMPLED


async def test_what_a_service_takes_as_it_is_goes_as_it_is(database: Database, tmp_path: Path) -> None:
    making = Making(copy_of(1))
    async with FakePhotoDna.open() as photodna, open_room(database, tmp_path, photodna) as desk:
        report = await desk.ask(PICTURE, report_on(), make_copies=making)
        assert [one.body for one in photodna.received] == [PICTURE]
    assert making.times == 0
    assert report.facts.coverage is Coverage.FULL


@pytest.mark.parametrize("code", [3208, 3209])
async def test_what_a_service_turns_down_for_its_size_goes_as_a_copy(
    code: int, database: Database, tmp_path: Path
) -> None:
    copy = copy_of(1)
    async with FakePhotoDna.open() as photodna, open_room(database, tmp_path, photodna) as desk:
        photodna.know(copy.data)
        photodna.script(Scripted(status=200, body=_body(code)))
        report = await desk.ask(PICTURE, report_on(), make_copies=Making(copy))
        assert [one.body for one in photodna.received] == [PICTURE, copy.data]
    assert report.verdict is Verdict.MATCH
    assert await used(database, "photodna") == 2


def _body(code: int) -> bytes:
    return json.dumps(status_only(code, "words")).encode()


@pytest.mark.parametrize(
    "reason",
    [UnscannableReason.DETECTOR_UNAVAILABLE, UnscannableReason.OUT_OF_MEMORY, UnscannableReason.TOO_LARGE],
)
async def test_where_no_copy_can_be_made_an_essential_service_has_not_seen_the_media(
    reason: UnscannableReason, database: Database, tmp_path: Path
) -> None:
    async with FakePhotoDna.open() as photodna, open_room(database, tmp_path, photodna) as desk:
        report = await desk.ask(PICTURE, VIDEO, make_copies=Making(reason))
        assert (report.verdict, report.reason) == (Verdict.UNSCANNABLE, reason)
        assert run_of(report, "photodna") is RunOutcome.FAILED
        assert photodna.received == []
        assert await used(database, "photodna") == 0
        # It says nothing about the service, however often it happens.
        for _ in range(FAILURES):
            await desk.ask(PICTURE, VIDEO, make_copies=Making(reason))
        assert (await desk.ask(PICTURE, report_on(), make_copies=Making(reason))).verdict is Verdict.NO_MATCH


async def test_where_no_copy_can_be_made_a_service_that_is_not_essential_holds_nothing_back(
    database: Database, tmp_path: Path
) -> None:
    making = Making(UnscannableReason.OUT_OF_MEMORY)
    async with (
        FakePhotoDna.open() as photodna,
        open_room(database, tmp_path, photodna, essential=False) as desk,
    ):
        report = await desk.ask(PICTURE, VIDEO, make_copies=making)
    assert report.verdict is Verdict.NO_MATCH
    assert run_of(report, "photodna") is RunOutcome.FAILED


async def test_copies_that_take_too_long_are_no_answer(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "_MADE_WITHIN_S", 0.05)

    async def never(_data: bytes, **_bounds: int) -> UnscannableReason:
        await asyncio.Event().wait()
        raise AssertionError

    async with FakePhotoDna.open() as photodna, open_room(database, tmp_path, photodna) as desk:
        report = await desk.ask(PICTURE, VIDEO, make_copies=never)
    assert (report.verdict, report.reason) == (Verdict.UNSCANNABLE, UnscannableReason.TIMEOUT)


async def test_no_copy_is_made_for_a_service_that_is_left_alone(database: Database, tmp_path: Path) -> None:
    making = Making(copy_of(1))
    async with FakePhotoDna.open() as photodna, open_room(database, tmp_path, photodna) as desk:
        photodna.usual = BAD
        for _ in range(FAILURES):
            await desk.ask(PICTURE, report_on(), make_copies=making)
        report = await desk.ask(PICTURE, VIDEO, make_copies=making)
    assert report.reason is UnscannableReason.DETECTOR_UNAVAILABLE
    assert making.times == 0


async def test_when_the_budget_holds_fewer_requests_than_there_are_copies_none_is_sent(
    database: Database, tmp_path: Path
) -> None:
    making = Making(copy_of(1), copy_of(2))
    async with (
        FakePhotoDna.open() as photodna,
        open_room(database, tmp_path, photodna, daily_limit=1) as desk,
    ):
        report = await desk.ask(PICTURE, VIDEO, make_copies=making)
        assert photodna.received == []
    assert (report.verdict, report.reason) == (Verdict.UNSCANNABLE, UnscannableReason.DETECTOR_UNAVAILABLE)


PLAIN = marker(61, width=400, height=300)
FRAMES = [marker(seed, width=400, height=300) for seed in (61, 62)]
NOISE = Image.fromarray(np.random.default_rng(7).integers(0, 256, (1200, 1200, 3), dtype=np.uint8))

FILES = {
    "webp": encode(PLAIN, "WEBP"),
    "avif": encode(PLAIN, "AVIF"),
    "heif": encode(PLAIN, "HEIF"),
    "jxl": encode(PLAIN, "JXL"),
    "png-of-more-than-four-megabytes": encode(NOISE, "PNG"),
    "animated-webp": animation(FRAMES, "WEBP"),
    "mp4": clip([Scene(seed=61, frames=10)]),
    "webm": clip([Scene(seed=61, frames=10)], "vp9.webm"),
    "cover": sound("mp3", cover=cover(61)),
}


@contextlib.asynccontextmanager
async def open_scans(opened: Scanner) -> AsyncIterator[tuple[Scanning, CopyMaker]]:
    async with open_scanning(opened, threads=2, secret=bytes(32), now=START) as scanning:
        yield scanning, scanning.make_copies


@pytest.mark.parametrize("name", FILES)
async def test_what_photodna_knows_it_finds_in_every_format_that_our_decoder_shows(
    name: str, database: Database, tmp_path: Path, scanner: Scanner
) -> None:
    data = FILES[name]
    async with FakePhotoDna.open() as photodna, open_scans(scanner) as (scanning, make_copies):
        _, seen = await scanning.scan(data, declared_type=None)
        assert seen.verdict is Verdict.NO_MATCH
        made = await make_copies(data, max_side=1024, min_side=160, max_bytes=4_000_000)
        assert not isinstance(made, UnscannableReason)
        async with open_room(database, tmp_path, photodna) as desk:
            before = await desk.ask(data, seen, make_copies=make_copies)
            photodna.know(made[-1].data)
            after = await desk.ask(data, seen, make_copies=make_copies)
    assert before.verdict is Verdict.NO_MATCH
    assert run_of(before, "photodna") is RunOutcome.RAN
    assert after.verdict is Verdict.MATCH
    bodies = {one.body for one in photodna.received}
    assert bodies == {one.data for one in made}
    for body in bodies:
        with Image.open(io.BytesIO(body)) as sent:
            assert min(sent.size) >= 160
            assert not sent.getexif()


async def test_of_what_shows_nothing_photodna_is_asked_nothing(
    database: Database, tmp_path: Path, scanner: Scanner
) -> None:
    data = sound("mp3")
    async with FakePhotoDna.open() as photodna, open_scans(scanner) as (scanning, make_copies):
        _, seen = await scanning.scan(data, declared_type=None)
        async with open_room(database, tmp_path, photodna) as desk:
            report = await desk.ask(data, seen, make_copies=make_copies)
    assert report.verdict is Verdict.NO_MATCH
    assert run_of(report, "photodna") is RunOutcome.NOT_APPLICABLE
    assert photodna.received == []


async def test_copies_that_do_not_fit_are_none(scanner: Scanner) -> None:
    async with open_scans(scanner) as (_, make_copies):
        made = await make_copies(FILES["webp"], max_side=1024, min_side=160, max_bytes=100)
    assert made is UnscannableReason.TOO_LARGE
