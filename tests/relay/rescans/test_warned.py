"""What was let go before a peer's warning fitted it is had and looked at again, for the person who rules."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import alert_hits, cases, errands, rulings, verdicts
from db.rulings import Ruling, RulingKind
from relay.exchange.alerts import find_warning, open_case_of
from relay.model import EvidenceBasis, MediaDecision, MediaOutcome
from relay.rescans.warned import PATIENCE, TRY_AGAIN, WarnedWorker
from relay.stages.gather import Reach
from scanner.report import Verdict
from tests.images import encode, marker
from tests.relay.exchange.issuer import Issuer, trusted
from tests.relay.exchange.trusting import Trusting, open_costly_scanner, open_trusting
from tests.relay.stages.parts import evidence, reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from db.cases import Case
    from db.pool import Database
    from scanner.scan import Scanner
    from tests.relay.exchange.trusting import CostlyDetector

DATA = encode(marker(1), "PNG")
SHA256 = hashlib.sha256(DATA).digest()
URL = "https://files.example/1.png"
PEER = "https://relay.other.example/actor"
LEASE = timedelta(minutes=10)


@pytest.fixture(scope="module")
def costly() -> Iterator[tuple[Scanner, CostlyDetector]]:
    with pytest.MonkeyPatch.context() as patch, open_costly_scanner(patch) as opened:
        yield opened


@pytest.fixture
async def relay(
    database: Database, costly: tuple[Scanner, CostlyDetector], tmp_path: Path
) -> AsyncIterator[Trusting]:
    """A relay that let a picture go on a peer's word, and whose coin said that it is not audited."""
    async with open_trusting(database, costly, tmp_path) as opened:
        issuer = Issuer()
        await issuer.introduce(database)
        await issuer.stand(database, trusted())
        outcome = await opened.examine(DATA, header=issuer.attest(DATA), at=reference(URL))
        assert outcome.evidence.basis is EvidenceBasis.PEER
        opened.client.files[URL] = DATA
        yield opened


def work(relay: Trusting) -> WarnedWorker:
    return WarnedWorker(relay)  # type: ignore[arg-type]  # all that a look asks for


async def warn(relay: Trusting, *, issuer: str = PEER) -> None:
    """Find that a warning fits the picture, as the matcher does."""
    async with relay.database.transaction() as conn:
        assert await open_case_of(
            conn, SHA256, issuer=issuer, mac=SHA256, category="spam", now=relay.clock.now()
        )


async def the_case(relay: Trusting) -> Case:
    async with relay.database.connection() as conn:
        (case,) = await cases.list_cases(conn, limit=9)
    return case


async def test_the_person_who_rules_finds_the_bytes_and_our_own_scan_has_seen_them(relay: Trusting) -> None:
    await warn(relay)
    assert relay.spool.find(SHA256) is None
    assert await work(relay).look_at_next()
    assert relay.spool.find(SHA256) == DATA
    assert relay.detector.asked == 1
    async with relay.database.connection() as conn:
        verdict = await verdicts.find_latest(conn, SHA256)
        # A warning removes and reports nothing by itself.
        assert await errands.list_errands(conn, limit=9) == ()
    assert verdict is not None
    assert verdict.verdict == Verdict.NO_MATCH
    case = await the_case(relay)
    assert (case.basis, case.category) == ("peer", "spam")
    assert not await work(relay).look_at_next()


async def test_what_was_scanned_already_is_had_for_the_person_and_not_scanned_twice(relay: Trusting) -> None:
    assert (await relay.examine(DATA, reach=Reach.NOWHERE)).evidence.basis is EvidenceBasis.SCAN
    await warn(relay)
    assert await work(relay).look_at_next()
    assert relay.spool.find(SHA256) == DATA
    assert relay.detector.asked == 1


async def test_from_then_on_it_is_withheld_whoever_asks(relay: Trusting) -> None:
    await warn(relay)
    await work(relay).look_at_next()
    assert (await relay.examine(DATA)).decision is MediaDecision.WITHHOLD


async def test_a_server_that_is_down_is_asked_again(relay: Trusting) -> None:
    relay.client.files.clear()
    await warn(relay)
    worker = work(relay)
    assert await worker.look_at_next()
    assert not await worker.look_at_next()
    relay.client.files[URL] = DATA
    relay.clock.advance(TRY_AGAIN)
    assert await worker.look_at_next()
    assert relay.spool.find(SHA256) == DATA


async def test_what_nothing_can_look_at_now_is_looked_at_later(
    relay: Trusting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> MediaOutcome:
        return MediaOutcome(evidence=evidence(), decision=MediaDecision.WITHHOLD, retry=True)

    await warn(relay)
    worker = work(relay)
    with monkeypatch.context() as patch:
        patch.setattr("relay.rescans.warned.look_again", fail)
        assert await worker.look_at_next()
    relay.clock.advance(TRY_AGAIN)
    assert await worker.look_at_next()
    assert relay.spool.find(SHA256) == DATA


async def test_bytes_that_nobody_has_any_more_are_given_up_and_the_case_stands(relay: Trusting) -> None:
    relay.client.files[URL] = encode(marker(2), "PNG")
    await warn(relay)
    relay.clock.advance(PATIENCE)
    assert await work(relay).look_at_next()
    relay.clock.advance(PATIENCE)
    assert not await work(relay).look_at_next()
    assert (await the_case(relay)).sha256 == SHA256
    assert (await relay.examine(DATA)).decision is MediaDecision.WITHHOLD


async def test_what_a_person_has_ruled_on_meanwhile_is_not_had_again(relay: Trusting) -> None:
    await warn(relay)
    now = relay.clock.now()
    ruling = Ruling(sha256=SHA256, ruling=RulingKind.ALLOW, ruled_by="mo", ruled_at=now)
    async with relay.database.connection() as conn:
        await rulings.set_ruling(conn, ruling)
    assert await work(relay).look_at_next()
    assert relay.spool.find(SHA256) is None
    assert relay.detector.asked == 0
    relay.clock.advance(PATIENCE)
    assert not await work(relay).look_at_next()


async def test_a_look_is_made_by_one_process_and_by_another_if_that_is_lost(relay: Trusting) -> None:
    await warn(relay)
    now = relay.clock.now()
    async with relay.database.transaction() as conn:
        lost = await alert_hits.claim_look(conn, worker="lost", now=now, lease_until=now + LEASE)
    assert lost is not None
    assert not await work(relay).look_at_next()
    relay.clock.advance(LEASE)
    assert await work(relay).look_at_next()
    assert relay.spool.find(SHA256) == DATA
    async with relay.database.connection() as conn:
        # The lost one comes back; it has nothing to say any more.
        assert not await alert_hits.end_look(conn, lost, worker="lost", again_at=relay.clock.now())
        assert await alert_hits.next_look(conn) is None


async def test_what_comes_after_its_warning_needs_no_second_look(relay: Trusting) -> None:
    async with relay.database.transaction() as conn:
        await alert_hits.put_hit(
            conn, SHA256, issuer=PEER, mac=SHA256, category="spam", now=relay.clock.now()
        )
        assert await find_warning(conn, SHA256, now=relay.clock.now()) == "spam"
    assert not await work(relay).look_at_next()


async def test_where_two_peers_warn_of_the_same_there_is_one_case(relay: Trusting) -> None:
    await warn(relay)
    await warn(relay, issuer="https://relay.third.example/actor")
    worker = work(relay)
    assert [await worker.look_at_next() for _ in range(3)] == [True, True, False]
    assert (await the_case(relay)).sha256 == SHA256
    assert relay.detector.asked == 1
