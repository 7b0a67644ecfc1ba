"""Services as part of an examination: whose media they see, and what of their silence is kept."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from db import deliveries
from db import media as media_table
from db.media import DeliveryMedia
from relay.config.services import Services
from relay.looks import choose_scans, weigh
from relay.metrics import Metrics
from relay.model import EvidenceBasis, MediaDecision
from relay.services.exposure import Exposure
from relay.services.opening import list_documents, open_desk
from relay.stages.decide import Policy
from relay.stages.rely import may_be_spared
from relay.stages.scan import ScanTools, begin, scan
from relay.tools.flights import open_flights
from relay.tools.reuse import is_reusable
from relay.tools.scanning import open_scanning
from scanner.report import DetectorRun, RunOutcome, UnscannableReason, Verdict
from tests.db.builders import new_delivery
from tests.fediverse.clock import START, FrozenClock
from tests.relay.services.parts import PICTURE, section_for, sha256
from tests.relay.stages.parts import media, reference, report
from tests.service_servers import FakeShield

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from db.pool import Database
    from relay.model import MediaOutcome
    from scanner.report import Report
    from scanner.scan import Scanner

MEDIA = media(PICTURE)


class Room:
    """What it takes to look at bytes, with one service."""

    def __init__(self, scans: ScanTools, shield: FakeShield) -> None:
        self.scans = scans
        self.shield = shield
        policy = Policy(rules={}, conditions={}, enforces_media=False)
        self.tools: Any = SimpleNamespace(
            database=scans.database,
            scans=scans,
            policy=policy,
            metrics=Metrics(),
            clock=scans.clock,
            peers=None,
        )

    async def weigh(self, exposure: Exposure) -> MediaOutcome:
        return await weigh(MEDIA, reference(), tools=self.tools, exposure=exposure)


@contextlib.asynccontextmanager
async def open_room(
    database: Database, directory: Path, opened: Scanner, **given: Any
) -> AsyncIterator[Room]:
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        shield = await enter(FakeShield.open())
        section = section_for(shield, directory, **given)
        settings = Services.model_validate({"arachnid": section})
        clock = FrozenClock()
        scanning = await enter(
            open_scanning(opened, threads=2, secret=bytes(32), now=START, services=list_documents(settings))
        )
        scans = ScanTools(
            scanning=scanning,
            flights=await enter(open_flights()),
            database=database,
            clock=clock,
            worker="one",
            services=await enter(open_desk(settings, database=database, metrics=Metrics(), clock=clock)),
        )
        yield Room(scans, shield)


async def test_what_a_backend_fetches_is_sent_once_a_public_post_is_known_to_show_it(
    database: Database,
    tmp_path: Path,
    scanner: Scanner,
) -> None:
    async with open_room(database, tmp_path, scanner) as room:
        chosen = await choose_scans(sha256(PICTURE), Exposure.UNSTATED, tools=room.tools)
        assert chosen.services is None
        async with database.connection() as conn:
            delivery_id = await deliveries.insert_delivery(conn, new_delivery())
            assert delivery_id is not None
            shown = DeliveryMedia(
                delivery_id=delivery_id,
                ordinal=0,
                url="https://files.example/p.png",
                location="attachment",
                sha256=sha256(PICTURE),
                verdict=None,
                decision="release",
                category=None,
                failure=None,
            )
            await media_table.put_delivery_media(conn, delivery_id, [shown])
        chosen = await choose_scans(sha256(PICTURE), Exposure.UNSTATED, tools=room.tools)
        assert chosen.services is not None
        chosen = await choose_scans(sha256(PICTURE), Exposure.RESTRICTED, tools=room.tools)
        assert chosen.services is None


async def test_a_verdict_without_the_services_is_kept_for_media_that_stay_here_and_for_no_other(
    database: Database,
    tmp_path: Path,
    scanner: Scanner,
) -> None:
    async with open_room(database, tmp_path, scanner) as room:
        room.shield.know(PICTURE)
        bases = [(await room.weigh(Exposure.RESTRICTED)).evidence.basis for _ in range(2)]
        assert bases == [EvidenceBasis.SCAN, EvidenceBasis.OWN_VERDICT]
        assert room.shield.received == []

        public = await room.weigh(Exposure.PUBLIC)
        assert public.evidence.basis is EvidenceBasis.SCAN
        assert (public.decision, public.category) == (MediaDecision.WITHHOLD, "csam-known")
        assert public.evidence.state_digest == room.scans.scanning.state_digest

        again = await room.weigh(Exposure.RESTRICTED)
        assert again.evidence.basis is EvidenceBasis.OWN_VERDICT
        assert again.decision is MediaDecision.WITHHOLD


async def test_a_scan_that_was_begun_leaves_room_for_a_peers_word_to_spare_the_service(
    database: Database,
    tmp_path: Path,
    scanner: Scanner,
) -> None:
    async with open_room(database, tmp_path, scanner) as room, open_flights() as beginning:
        state = room.scans.state_digest
        begun = await begin(MEDIA, reference(), tools=room.scans, state_digest=state, flights=beginning)
        assert may_be_spared(begun.report)
        assert not begun.is_whole
        assert room.shield.received == []
        # Nobody's word sufficed: the service is asked, and its answer is in what is kept.
        found = await scan(MEDIA, reference(), tools=room.scans, state_digest=state, begun=begun)
    assert found.report is not None
    runs = {run.name: run.outcome for run in found.report.detectors}
    assert runs["arachnid-shield"] is RunOutcome.RAN
    assert len(room.shield.received) == 1


@pytest.mark.parametrize(
    ("essential", "verdict", "reason"),
    [
        (True, Verdict.UNSCANNABLE, UnscannableReason.DETECTOR_UNAVAILABLE),
        (False, Verdict.NO_MATCH, None),
    ],
)
async def test_what_a_service_did_not_answer_is_asked_again_at_the_next_look(
    *,
    essential: bool,
    verdict: Verdict,
    reason: UnscannableReason | None,
    database: Database,
    tmp_path: Path,
    scanner: Scanner,
) -> None:
    async with open_room(database, tmp_path, scanner, essential=essential) as room:
        room.shield.script(500)
        first = (await room.weigh(Exposure.PUBLIC)).evidence
        assert first.report is not None
        assert (first.report.verdict, first.report.reason) == (verdict, reason)
        room.scans.clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined] # the clock stands still
        second = (await room.weigh(Exposure.PUBLIC)).evidence
        assert (second.basis, len(room.shield.received)) == (EvidenceBasis.SCAN, 2)
        third = (await room.weigh(Exposure.PUBLIC)).evidence
        assert (third.basis, len(room.shield.received)) == (EvidenceBasis.OWN_VERDICT, 2)


def test_a_no_match_in_which_a_service_failed_does_not_answer_for_the_next_look() -> None:
    def with_service(outcome: RunOutcome, **given: Any) -> Report:
        run = DetectorRun(name="one", version="1", essential=False, outcome=outcome, is_hosted=True)
        return replace(report(**given), detectors=(run,))

    assert is_reusable(with_service(RunOutcome.RAN), "image/png")
    assert not is_reusable(with_service(RunOutcome.FAILED), "image/png")
    # Nothing is released on these: to ask again at every look would be for nothing.
    unscannable = {"verdict": Verdict.UNSCANNABLE, "reason": UnscannableReason.TRUNCATED}
    assert is_reusable(with_service(RunOutcome.FAILED, **unscannable), "image/png")
    assert is_reusable(with_service(RunOutcome.FAILED, verdict=Verdict.MATCH), "image/png")


def test_a_detector_of_this_machine_that_keeps_failing_does_not_make_every_look_a_scan() -> None:
    assert is_reusable(report(outcome=RunOutcome.FAILED), "image/png")


async def test_without_services_the_state_is_what_it_was(
    database: Database,
    scanner: Scanner,
) -> None:
    async with (
        open_scanning(scanner, threads=1, secret=bytes(32), now=START) as scanning,
        open_flights() as flights,
    ):
        tools = ScanTools(
            scanning=scanning, flights=flights, database=database, clock=FrozenClock(), worker="one"
        )
        assert tools.state_digest == scanning.state_digest == scanning.local_digest
        assert [one["name"] for one in scanning.published_state.document["detectors"]] == [
            one["name"] for one in scanner.state().document["detectors"]
        ]
    assert replace(tools, services=None) == tools


async def test_a_setting_of_a_service_changes_the_state_and_its_address_does_not(tmp_path: Path) -> None:
    async with FakeShield.open() as shield:
        one = list_documents(Services.model_validate({"arachnid": section_for(shield, tmp_path)}))
        moved = section_for(shield, tmp_path, url="http://127.0.0.1:9")
        hashes = section_for(shield, tmp_path, what="hashes")
        off = section_for(shield, tmp_path, enabled=False)
    assert list_documents(Services.model_validate({"arachnid": moved})) == one
    assert list_documents(Services.model_validate({"arachnid": hashes})) != one
    assert list_documents(Services.model_validate({"arachnid": off})) == ()
