"""The desk: who is asked, how often, what stands in the report, and what is counted."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from relay.config.services import Services
from relay.metrics import Metrics
from relay.services import desk
from relay.services.breaker import FAILURES, OPEN_FOR
from relay.services.exposure import Exposure
from relay.services.opening import open_desk
from scanner.labels import Category
from scanner.report import Basis, RunOutcome, UnscannableReason, Verdict
from scanner.sniff import MediaType
from tests.fediverse.clock import FrozenClock
from tests.relay.services.parts import PICTURE, no_copies, report_on, section_for
from tests.relay.stages.parts import finding
from tests.service_servers import FakeGoogle, FakePhotoDna, FakeShield, Scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from db.pool import Database
    from relay.services.desk import Desk
    from scanner.report import Report

BAD = Scripted(status=500)


class Room:
    """A desk and what is around it."""

    def __init__(self, desk: Desk, clock: FrozenClock, metrics: Metrics) -> None:
        self.desk = desk
        self.clock = clock
        self.metrics = metrics

    async def ask(self, report: Report | None = None) -> Report:
        return await self.desk.ask(PICTURE, report or report_on(), make_copies=no_copies)

    def counted(self, line: str) -> bool:
        return line in self.metrics.render()[0].decode()


@contextlib.asynccontextmanager
async def open_room(
    database: Database, directory: Path, *fakes: Any, sends: str = "public", **given: Any
) -> AsyncIterator[Room]:
    names = {FakeShield: "arachnid", FakePhotoDna: "photodna", FakeGoogle: "google"}
    sections = {names[type(fake)]: section_for(fake, directory, **given) for fake in fakes}
    clock, metrics = FrozenClock(), Metrics()
    settings = Services.model_validate({"sends": sends, **sections})
    async with open_desk(settings, database=database, metrics=metrics, clock=clock) as desk:
        assert desk is not None
        yield Room(desk, clock, metrics)


def outcomes(report: Report) -> dict[str, RunOutcome]:
    return {run.name: run.outcome for run in report.detectors if run.name != "lists"}


async def test_where_no_service_is_switched_on_there_is_no_desk(database: Database) -> None:
    async with open_desk(Services(), database=database, metrics=Metrics(), clock=FrozenClock()) as desk:
        assert desk is None


async def test_all_are_asked_and_what_they_say_stands_in_one_report(
    database: Database, tmp_path: Path
) -> None:
    async with FakeShield.open() as shield, FakePhotoDna.open() as photodna:
        photodna.know(PICTURE)
        async with open_room(database, tmp_path, shield, photodna) as room:
            report = await room.ask()
            assert room.counted('breakwater_service_answers_total{outcome="answered",service="photodna"} 1.0')
    assert report.verdict is Verdict.MATCH
    assert outcomes(report) == {"arachnid-shield": RunOutcome.RAN, "photodna": RunOutcome.RAN}
    assert [(one.detector, one.category) for one in report.findings] == [("photodna", Category.CSAM_KNOWN)]


@pytest.mark.parametrize(
    ("category", "basis", "requests"),
    [
        (Category.CSAM_KNOWN, Basis.EXACT_HASH, 0),
        (Category.NCII_KNOWN, Basis.NEAR_HASH, 0),
        # What an admin may let pass must not hide what a service knows.
        (Category.SPAM, Basis.EXACT_HASH, 1),
        (Category.ADULT_CONTENT, Basis.EXACT_HASH, 1),
        # A model's word is no knowledge.
        (Category.CSAM_SUSPECTED, Basis.CLASSIFIER, 1),
    ],
)
async def test_what_our_own_lists_know_as_abuse_is_shown_to_nobody_else(
    category: Category,
    basis: Basis,
    requests: int,
    database: Database,
    tmp_path: Path,
) -> None:
    known = replace(report_on(), verdict=Verdict.MATCH, findings=(finding(category, basis),))
    async with FakeShield.open() as shield:
        async with open_room(database, tmp_path, shield) as room:
            report = await room.ask(known)
            assert report.verdict is Verdict.MATCH
            assert len(shield.received) == requests
        async with open_room(database, tmp_path, shield, asks="always") as room:
            shield.received.clear()
            await room.ask(known)
            assert shield.received


async def test_an_essential_service_that_keeps_failing_is_left_alone_and_its_media_are_not_released(
    database: Database, tmp_path: Path
) -> None:
    async with FakeShield.open() as shield, open_room(database, tmp_path, shield) as room:
        shield.usual = BAD
        for _ in range(FAILURES):
            report = await room.ask()
            assert (report.verdict, report.reason) == (
                Verdict.UNSCANNABLE,
                UnscannableReason.DETECTOR_UNAVAILABLE,
            )
        assert room.counted('breakwater_service_breaker_open{service="arachnid-shield"} 1.0')
        report = await room.ask()
        assert report.verdict is Verdict.UNSCANNABLE
        assert len(shield.received) == FAILURES

        shield.usual = None
        room.clock.advance(OPEN_FOR)
        assert (await room.ask()).verdict is Verdict.NO_MATCH
        assert room.counted('breakwater_service_breaker_open{service="arachnid-shield"} 0.0')


async def test_files_that_a_service_refuses_do_not_open_its_breaker(
    database: Database, tmp_path: Path
) -> None:
    async with FakeShield.open() as shield, open_room(database, tmp_path, shield) as room:
        # Or whoever sends enough of them would stop everybody else's media.
        shield.script(*[Scripted(status=400)] * (2 * FAILURES))
        for _ in range(2 * FAILURES):
            assert (await room.ask()).reason is UnscannableReason.UNSUPPORTED
        assert (await room.ask()).verdict is Verdict.NO_MATCH


async def test_without_a_service_that_is_not_essential_media_pass_and_the_report_says_so(
    database: Database, tmp_path: Path
) -> None:
    async with (
        FakeShield.open() as shield,
        open_room(database, tmp_path, shield, essential=False) as room,
    ):
        shield.usual = BAD
        report = await room.ask()
    assert report.verdict is Verdict.NO_MATCH
    assert outcomes(report) == {"arachnid-shield": RunOutcome.FAILED}


async def test_no_more_is_asked_in_a_day_than_was_said_by_however_many_relays(
    database: Database, tmp_path: Path
) -> None:
    async with FakeShield.open() as shield, contextlib.AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(open_room(database, tmp_path, shield, daily_limit=3))
            for _ in range(2)
        ]
        assert (await one.ask()).verdict is Verdict.NO_MATCH
        assert (await other.ask()).verdict is Verdict.NO_MATCH
        assert (await one.ask()).verdict is Verdict.NO_MATCH
        for room in (one, other):
            assert (await room.ask()).reason is UnscannableReason.DETECTOR_UNAVAILABLE
        assert len(shield.received) == 3
        assert one.counted('breakwater_service_budget_left{service="arachnid-shield"} 0.0')

        one.clock.advance(timedelta(days=1))
        assert (await one.ask()).verdict is Verdict.NO_MATCH


async def test_requests_that_cannot_be_counted_are_not_made(database: Database, tmp_path: Path) -> None:
    async with FakeShield.open() as shield, open_room(database, tmp_path, shield) as room:
        async with database.transaction() as conn:
            await conn.execute("ALTER TABLE service_usage RENAME TO gone")
        assert (await room.ask()).reason is UnscannableReason.DETECTOR_UNAVAILABLE
        assert shield.received == []


async def test_a_service_that_asks_to_wait_is_not_asked_meanwhile(database: Database, tmp_path: Path) -> None:
    async with FakeShield.open() as shield, open_room(database, tmp_path, shield) as room:
        shield.script(Scripted(status=429, headers={"Retry-After": "30"}))
        for _ in range(2):
            assert (await room.ask()).verdict is Verdict.UNSCANNABLE
        assert len(shield.received) == 1
        room.clock.advance(timedelta(seconds=30))
        assert (await room.ask()).verdict is Verdict.NO_MATCH


async def test_whoever_stops_waiting_for_the_probe_does_not_keep_the_breaker_shut(
    database: Database, tmp_path: Path
) -> None:
    async with FakeShield.open() as shield, open_room(database, tmp_path, shield, timeout_s=30) as room:
        shield.script(*[BAD] * FAILURES, 0)
        for _ in range(FAILURES):
            await room.ask()
        room.clock.advance(OPEN_FOR)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await room.ask()
        assert (await room.ask()).verdict is Verdict.NO_MATCH


async def test_googles_word_is_advice(database: Database, tmp_path: Path) -> None:
    async with FakeGoogle.open() as google:
        google.rate(PICTURE, "VERY_HIGH")
        async with open_room(database, tmp_path, google, essential=False) as room:
            report = await room.ask()
            google.usual = BAD
            assert (await room.ask()).verdict is Verdict.NO_MATCH
    assert report.verdict is Verdict.NO_MATCH
    assert [(one.label, one.advisory) for one in report.findings] == [("VERY_HIGH", True)]


async def test_a_report_that_was_begun_names_what_was_not_asked_yet(
    database: Database, tmp_path: Path
) -> None:
    async with (
        FakeShield.open() as shield,
        FakePhotoDna.open() as photodna,
        open_room(database, tmp_path, shield, photodna) as room,
    ):
        begun = room.desk.announce(report_on(media_type=MediaType.WEBP, width=159))
    assert begun.verdict is Verdict.NO_MATCH
    assert outcomes(begun) == {"arachnid-shield": RunOutcome.SPARED, "photodna": RunOutcome.NOT_APPLICABLE}
    assert shield.received == photodna.received == []


@pytest.mark.parametrize(
    ("sends", "taken"),
    [
        ("public", {Exposure.PUBLIC}),
        ("unstated", {Exposure.PUBLIC, Exposure.UNSTATED}),
        ("all", set(Exposure)),
    ],
)
async def test_only_what_the_admin_lets_go_is_taken(
    sends: str, taken: set[Exposure], database: Database, tmp_path: Path
) -> None:
    async with FakeShield.open() as shield, open_room(database, tmp_path, shield, sends=sends) as room:
        assert {one for one in Exposure if room.desk.takes(one)} == taken


async def test_nothing_about_the_media_is_logged_or_counted(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="relay")
    async with FakeShield.open() as shield, open_room(database, tmp_path, shield) as room:
        shield.script(Scripted(status=500, body=b"words about the content"))
        await room.ask()
        shield.know(PICTURE)
        await room.ask()
        numbers = room.metrics.render()[0].decode()
    said = caplog.text + numbers
    assert "service_failed service=arachnid-shield reason=server_error" in said
    for secret in ("words about", report_on().fingerprints.sha256.hex(), "csam", "exact"):
        assert secret not in said


async def test_one_question_takes_no_longer_than_was_said_however_many_requests_it_is_made_of(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "_ANSWER_WITHIN_S", 0.1)
    async with FakeShield.open() as shield, open_room(database, tmp_path, shield, timeout_s=30) as room:
        shield.script(0)
        assert (await room.ask()).reason is UnscannableReason.DETECTOR_UNAVAILABLE
        assert room.counted(
            'breakwater_service_answers_total{outcome="timeout",service="arachnid-shield"} 1.0'
        )
