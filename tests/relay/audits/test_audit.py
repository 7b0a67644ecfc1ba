"""What was let go on a peer's word is scanned by ourselves, and a peer that lies is found out by it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from db import audit as audit_log
from db import cases, mirror, reliance, standings
from db.mirror import MirroredAttestation
from db.peers import Tier
from relay.audits.audit import PATIENCE, AuditTools, Ended, PutOff, audit
from relay.audits.worker import RETAINED_FOR, AuditWorker, decide_nap
from relay.exchange.client import PeerFailureReason
from relay.exchange.intake import admit
from relay.model import EvidenceBasis, MediaDecision, MediaOutcome
from relay.revisit import look_again
from relay.stages.rely import AUDIT_WITHIN, URGENT_WITHIN
from relay.trust import SHARED_FLOOR, Standing
from signatures.attestation import parse_attestation
from signatures.jcs import digest_of_document
from tests.e2e.world import wait_until
from tests.fediverse.clock import START
from tests.images import encode, marker
from tests.relay.exchange.issuer import Issuer, trusted
from tests.relay.exchange.trusting import Trusting, open_costly_scanner, open_trusting
from tests.relay.stages.parts import evidence, reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from db.pool import Connection, Database
    from db.reliance import Reliance
    from relay.audits.audit import AuditResult
    from scanner.scan import Scanner
    from tests.relay.exchange.trusting import CostlyDetector

DATA = encode(marker(1), "PNG")
LEASE = timedelta(minutes=5)


@pytest.fixture(scope="module")
def costly() -> Iterator[tuple[Scanner, CostlyDetector]]:
    with pytest.MonkeyPatch.context() as patch, open_costly_scanner(patch) as opened:
        yield opened


@pytest.fixture
async def relay(
    database: Database, costly: tuple[Scanner, CostlyDetector], tmp_path: Path
) -> AsyncIterator[Trusting]:
    async with open_trusting(database, costly, tmp_path) as opened:
        # Every coin shows an audit, half an hour later.
        opened.draw = 0.05
        yield opened


@pytest.fixture
async def alpha(database: Database) -> Issuer:
    issuer = Issuer()
    await issuer.introduce(database)
    await issuer.stand(database, trusted())
    return issuer


def _tools(relay: Trusting) -> AuditTools:
    return AuditTools(line=relay, peers=relay.tools, name="one")  # type: ignore[arg-type]  # all that an audit asks for


def _open_state(relay: Trusting, issuer: Issuer) -> bytes:
    """Let a peer have the very scanner that we have, and say so; return its state's digest."""
    document = {**relay.scanning.published_state.document, "salt": f"of {issuer.domain}"}
    digest = digest_of_document(document)
    relay.answering.states[digest] = document
    return digest


async def _claim(relay: Trusting, *, after: timedelta = AUDIT_WITHIN) -> Reliance | None:
    relay.clock.advance(after)
    now = relay.clock.now()
    async with relay.database.transaction() as conn:
        return await reliance.claim_audit(conn, worker="one", now=now, lease_until=now + LEASE)


async def _audit(relay: Trusting, *, after: timedelta = AUDIT_WITHIN) -> AuditResult | None:
    due = await _claim(relay, after=after)
    return None if due is None else await audit(due, tools=_tools(relay))


async def _rely_on(relay: Trusting, issuer: Issuer, number: int, *, state: bytes | None = None) -> bytes:
    """Let a picture go on a peer's word."""
    data = encode(marker(number), "PNG")
    changes: dict[str, object] = {} if state is None else {"state_sha256": state}
    now = relay.clock.now()
    word = issuer.attest(data, published=now, end_time=now + timedelta(days=7), **changes)
    url = f"https://files.example/{number}.png"
    relay.client.files[url] = data
    outcome = await relay.examine(data, header=word, at=reference(url))
    assert outcome.evidence.basis is EvidenceBasis.PEER
    return data


async def _credit(relay: Trusting, issuer: Issuer) -> standings.StoredStanding:
    found = await issuer.find_standing(relay.database)
    assert found is not None
    return found


async def test_an_audit_that_agrees_is_credited_and_the_bytes_are_forgotten(
    relay: Trusting, alpha: Issuer
) -> None:
    before = await _credit(relay, alpha)
    await _rely_on(relay, alpha, 1)
    assert relay.detector.asked == 0
    assert await _audit(relay) == Ended(outcome="agrees")
    assert relay.detector.asked == 1
    assert relay.tools.retained.size_bytes() == 0
    after = await _credit(relay, alpha)
    assert (after.audits, after.agreements) == (before.audits + 1, before.agreements + 1)
    # It is over: nobody audits it again.
    assert await _audit(relay) is None


async def test_where_enough_others_have_scanned_by_then_an_audit_is_spared(
    relay: Trusting, alpha: Issuer
) -> None:
    data = await _rely_on(relay, alpha, 1)
    for name in ("beta", "gamma"):
        other = Issuer(domain=f"{name}.example")
        await other.introduce(relay.database)
        await other.stand(relay.database, trusted())
        await relay.examine(data, header=other.attest(data))
    assert await _audit(relay) == Ended(outcome="skipped")
    assert relay.detector.asked == 0


async def test_an_audit_of_what_is_new_is_made_soon_and_whatever_others_say(
    relay: Trusting, alpha: Issuer
) -> None:
    # More than anybody is audited for, and less than what comes from a stranger's new domain is.
    relay.draw = 0.2
    data = await _rely_on(relay, alpha, 1)
    for name in ("beta", "gamma"):
        other = Issuer(domain=f"{name}.example")
        await other.introduce(relay.database)
        await other.stand(relay.database, trusted())
        await relay.examine(data, header=other.attest(data))
    assert await _audit(relay, after=URGENT_WITHIN) == Ended(outcome="agrees")
    assert relay.detector.asked == 1


@pytest.mark.parametrize("changes", [{"size": 1}, {"media_type": "image/jpeg"}])
async def test_others_that_speak_of_other_bytes_than_these_spare_no_audit(
    changes: dict[str, object], relay: Trusting, alpha: Issuer
) -> None:
    data = await _rely_on(relay, alpha, 1)
    for name in ("beta", "gamma"):
        other = Issuer(domain=f"{name}.example")
        await other.introduce(relay.database)
        await other.stand(relay.database, trusted())
        await relay.examine(data, header=other.attest(data, **changes))
    assert await _audit(relay) == Ended(outcome="agrees")


async def test_the_few_audits_of_what_enough_had_scanned_before_are_made_all_the_same(
    relay: Trusting, alpha: Issuer
) -> None:
    data = encode(marker(1), "PNG")
    others = [Issuer(domain=f"{name}.example") for name in ("beta", "gamma")]
    for one in others:
        await one.introduce(relay.database)
        await one.stand(relay.database, trusted())
        async with relay.database.connection() as conn:
            found = await admit(one.attest(data), database=relay.database, now=relay.clock.now())
            assert isinstance(found, MirroredAttestation)
            await mirror.put_mirrored(conn, (found,))
    relay.draw = SHARED_FLOOR / 2
    await _rely_on(relay, alpha, 1)
    assert await _audit(relay) == Ended(outcome="agrees")


async def test_peers_of_one_operator_are_one_voice(relay: Trusting, alpha: Issuer) -> None:
    data = await _rely_on(relay, alpha, 1)
    for name in ("one", "two", "three"):
        other = Issuer(domain=f"{name}.alpha.example")
        await other.introduce(relay.database)
        await other.stand(relay.database, trusted())
        async with relay.database.connection() as conn:
            await conn.execute("UPDATE peers SET trust_group = 'alpha.example'")
        await relay.examine(data, header=other.attest(data))
    assert await _audit(relay) == Ended(outcome="agrees")


async def test_a_peer_that_lies_is_demoted_and_all_that_it_said_is_scanned_again(
    relay: Trusting, alpha: Issuer
) -> None:
    state = _open_state(relay, alpha)
    told: list[str] = []

    async def on_doubt(_conn: Connection, **what: object) -> None:
        told.append(str(what["profile"]))

    object.__setattr__(relay.tools, "on_doubt", on_doubt)
    relay.draw = 0.99
    for number in range(100, 104):
        await _rely_on(relay, alpha, number, state=state)
    relay.draw = 0.05
    for number in range(3):
        await _rely_on(relay, alpha, number, state=state)
    relay.detector.score = 950

    assert [await _audit(relay) for _ in range(3)] == [Ended(outcome="disagrees")] * 3
    assert await alpha.find_tier(relay.database) is Tier.QUARANTINED
    assert (await _credit(relay, alpha)).tier is Tier.QUARANTINED
    assert told == [alpha.profile]

    # What no coin had chosen is looked at as well; it is not the peer's standing that this is about.
    assert [await _audit(relay) for _ in range(4)] == [Ended(outcome="rescanned")] * 4
    assert await _audit(relay) is None
    async with relay.database.connection() as conn:
        assert len(await cases.list_cases(conn, limit=100)) == 7
        events = [entry.event for entry in await audit_log.list_entries(conn, limit=100)]
    assert events.count("peer_quarantined") == 1


async def test_what_a_rescan_finds_is_withheld_from_then_on(relay: Trusting, alpha: Issuer) -> None:
    data = await _rely_on(relay, alpha, 1, state=_open_state(relay, alpha))
    relay.detector.score = 950
    assert await _audit(relay) == Ended(outcome="disagrees")
    again = await relay.examine(data, header=alpha.attest(data))
    assert again.decision is MediaDecision.WITHHOLD
    assert again.evidence.basis is EvidenceBasis.OWN_VERDICT
    # It is kept for whoever rules on it, and not for audits.
    assert relay.spool.find(Issuer().body(data).sha256) == data
    assert relay.tools.retained.size_bytes() == 0


async def test_another_model_disagrees_without_any_blame(relay: Trusting, alpha: Issuer) -> None:
    document = {"detectors": [{"name": "costly", "version": "2", "state": {}}], "salt": "other"}
    digest = digest_of_document(document)
    relay.answering.states[digest] = document
    await _rely_on(relay, alpha, 1, state=digest)
    relay.detector.score = 950
    before = await _credit(relay, alpha)
    assert await _audit(relay) == Ended(outcome="not_comparable")
    assert await _credit(relay, alpha) == before


async def test_a_peer_that_never_says_what_it_scanned_with_disagrees_in_the_end(
    relay: Trusting, alpha: Issuer
) -> None:
    await _rely_on(relay, alpha, 1)
    relay.detector.score = 950
    assert await _audit(relay) == PutOff(has_asked=True)
    assert (await _credit(relay, alpha)).audits == trusted().audits
    relay.clock.advance(PATIENCE)
    assert await _audit(relay) == Ended(outcome="disagrees")
    assert (await _credit(relay, alpha)).audits == trusted().audits + 1


async def test_a_peer_that_is_away_for_days_is_not_blamed_for_what_our_scan_found(
    relay: Trusting, alpha: Issuer
) -> None:
    relay.answering.refusal = PeerFailureReason.UNREACHABLE
    await _rely_on(relay, alpha, 1)
    relay.detector.score = 950
    before = await _credit(relay, alpha)
    assert await _audit(relay) == PutOff(has_asked=True)
    relay.clock.advance(PATIENCE)
    assert await _audit(relay) == Ended(outcome="not_comparable")
    assert await _credit(relay, alpha) == before


async def test_whoever_keeps_us_waiting_until_lists_have_changed_is_judged_all_the_same(
    relay: Trusting, alpha: Issuer
) -> None:
    await _rely_on(relay, alpha, 1)
    # The only place where the bytes are is ours: what was known of them was known to other lists.
    relay.client.files.clear()
    relay.detector.score = 950
    assert await _audit(relay) == PutOff(has_asked=True)
    relay.scanning.salt_anew()
    relay.clock.advance(PATIENCE)
    assert await _audit(relay) == Ended(outcome="disagrees")
    assert RETAINED_FOR > PATIENCE + AUDIT_WITHIN


async def test_a_report_of_lists_that_were_swapped_meanwhile_is_compared_with_nothing(
    relay: Trusting, alpha: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _rely_on(relay, alpha, 1, state=_open_state(relay, alpha))
    relay.detector.score = 950

    async def look_while_lists_change(*given: Any, **named: Any) -> MediaOutcome | None:
        outcome = await look_again(*given, **named)
        relay.scanning.salt_anew()
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr("relay.audits.audit.look_again", look_while_lists_change)
        assert await _audit(relay) == PutOff()
    assert await _audit(relay) == Ended(outcome="disagrees")


async def test_what_a_peer_says_of_its_scanner_is_asked_for_once(relay: Trusting, alpha: Issuer) -> None:
    state = _open_state(relay, alpha)
    for number in range(2):
        await _rely_on(relay, alpha, number, state=state)
    relay.detector.score = 950
    assert [await _audit(relay) for _ in range(2)] == [Ended(outcome="disagrees")] * 2
    assert relay.answering.asked == [("state", "alpha.example")]


async def test_an_audit_waits_until_something_of_ours_can_look(
    relay: Trusting, alpha: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> MediaOutcome:
        return MediaOutcome(evidence=evidence(), decision=MediaDecision.WITHHOLD, retry=True)

    await _rely_on(relay, alpha, 1)
    with monkeypatch.context() as patch:
        patch.setattr("relay.audits.audit.look_again", fail)
        assert await _audit(relay) == PutOff()
    assert await _audit(relay) == Ended(outcome="agrees")


async def test_bytes_that_are_not_retained_are_fetched_again_if_they_are_the_same(
    relay: Trusting, alpha: Issuer
) -> None:
    data = await _rely_on(relay, alpha, 1)
    relay.tools.retained.purge(Issuer().body(data).sha256)
    (url,) = relay.client.files
    relay.client.files[url] = encode(marker(2), "PNG")
    assert await _audit(relay) == PutOff()
    relay.client.files[url] = data
    assert await _audit(relay) == Ended(outcome="agrees")


async def test_bytes_that_nobody_has_any_more_are_given_up(relay: Trusting, alpha: Issuer) -> None:
    data = await _rely_on(relay, alpha, 1)
    relay.tools.retained.purge(Issuer().body(data).sha256)
    relay.client.files.clear()
    relay.clock.advance(PATIENCE)
    before = await _credit(relay, alpha)
    assert await _audit(relay) == Ended(outcome="lost")
    assert await _credit(relay, alpha) == before


async def test_what_was_taken_back_is_scanned_and_held_against_nobody(relay: Trusting, alpha: Issuer) -> None:
    word = alpha.attest(DATA)
    await relay.examine(DATA, header=word)
    await alpha.take_back(relay.database, scope="attestation", subject=parse_attestation(word).body.id)
    relay.detector.score = 950
    before = await _credit(relay, alpha)
    assert await _audit(relay) == Ended(outcome="rescanned")
    assert await _credit(relay, alpha) == before
    assert relay.detector.asked == 1


async def test_a_peer_on_probation_earns_its_trust_by_a_hundred_scans_of_ours(
    relay: Trusting, alpha: Issuer
) -> None:
    await alpha.stand(
        relay.database,
        Standing(
            tier=Tier.PROBATION, updated_at=START, log_ratio=-4.59, credit=99.0, audits=99, agreements=99
        ),
    )
    # Everything is scanned at once; this is the hundredth.
    await relay.examine(DATA, header=alpha.attest(DATA))
    assert (await _credit(relay, alpha)).tier is Tier.TRUSTED
    assert await alpha.find_tier(relay.database) is Tier.TRUSTED
    await _rely_on(relay, alpha, 2)


async def test_the_worker_makes_what_is_due_and_ends_when_it_is_told(relay: Trusting, alpha: Issuer) -> None:
    data = await _rely_on(relay, alpha, 1)
    relay.clock.advance(AUDIT_WITHIN)
    worker = AuditWorker(_tools(relay))

    async def is_forgotten() -> bool | None:
        return relay.tools.retained.find(Issuer().body(data).sha256) is None or None

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await wait_until(is_forgotten, "the audit was made")
        worker.stop()
    assert (await _credit(relay, alpha)).audits == trusted().audits + 1


async def test_an_audit_that_does_not_end_is_left_when_the_worker_is_told_to_stop(
    relay: Trusting, alpha: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _rely_on(relay, alpha, 1)
    relay.clock.advance(AUDIT_WITHIN)
    is_under_way = asyncio.Event()

    async def wait_for_ever(_due: Reliance, **_: object) -> None:
        is_under_way.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("relay.audits.worker.audit", wait_for_ever)
    monkeypatch.setattr("relay.audits.worker._GRACE", timedelta())
    worker = AuditWorker(_tools(relay))
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await is_under_way.wait()
        worker.stop()
    # Its lease ends, and somebody else makes it.
    assert await _claim(relay) is not None


def test_the_worker_naps_until_an_audit_is_due_and_never_for_long() -> None:
    assert decide_nap(None, now=START) == timedelta(seconds=5)
    assert decide_nap(START + timedelta(hours=1), now=START) == timedelta(seconds=5)
    assert decide_nap(START + timedelta(seconds=1), now=START) == timedelta(seconds=1)
    assert timedelta() < decide_nap(START - timedelta(hours=1), now=START) < timedelta(seconds=1)
