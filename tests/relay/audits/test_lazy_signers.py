"""Who signs without scanning is found out by what it committed to, and by canaries; who scans never is."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import audit as audit_log
from db import mirror, peering, reliance
from db.canaries import Canary, list_issuers, put_canary
from db.mirror import MirroredAttestation
from db.peers import Following, Tier
from relay.audits.audit import AuditTools, Ended, PutOff, audit
from relay.audits.canaries import knows_canary, note_attested
from relay.audits.judging import PATIENCE
from relay.exchange.client import PeerFailureReason
from relay.exchange.commitments import Commitment, build_commitment
from relay.exchange.intake import admit
from relay.exchange.weighing import Ground
from relay.stages.rely import AUDIT_WITHIN
from scanner.canary import draw_fresh_canary
from scanner.report import DetectorRun, RunOutcome
from signatures.jcs import digest_of_document
from tests.fediverse.clock import START
from tests.images import encode, marker
from tests.relay.exchange.issuer import Issuer, trusted
from tests.relay.exchange.trusting import COSTLY, Trusting, open_costly_scanner, open_trusting
from tests.relay.stages.parts import reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from db.pool import Database
    from db.reliance import Reliance
    from relay.audits.audit import AuditResult
    from scanner.scan import Scanner
    from tests.relay.exchange.trusting import CostlyDetector

OURS = 412
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
        opened.draw = 0.05
        opened.detector.tells_scores = True
        opened.detector.score = OURS
        yield opened


@pytest.fixture
async def alpha(database: Database) -> Issuer:
    issuer = Issuer()
    await issuer.introduce(database)
    await issuer.stand(database, trusted())
    async with database.connection() as conn:
        await peering.set_we_follow(
            conn, issuer.actor, to=Following.ACCEPTED, follow_id="https://own.example/1", now=START
        )
    return issuer


def _open_state(relay: Trusting, issuer: Issuer) -> bytes:
    document = {**relay.scanning.published_state.document, "salt": f"of {issuer.domain}"}
    digest = digest_of_document(document)
    relay.answering.states[digest] = document
    return digest


def _commit(score: int) -> Commitment:
    run = DetectorRun(
        name=COSTLY, version="1", essential=False, outcome=RunOutcome.RAN, scores=(("drawn", score),)
    )
    made = build_commitment((run,), salt2=bytes(16))
    assert made is not None
    return made


async def _let_go(relay: Trusting, issuer: Issuer, number: int, **changes: object) -> bytes:
    data = encode(marker(number), "PNG")
    now = relay.clock.now()
    word = issuer.attest(data, published=now, end_time=now + timedelta(days=7), **changes)
    url = f"https://files.example/{number}.png"
    relay.client.files[url] = data
    await relay.examine(data, header=word, at=reference(url))
    return data


async def _claim(relay: Trusting) -> Reliance | None:
    relay.clock.advance(AUDIT_WITHIN)
    now = relay.clock.now()
    async with relay.database.transaction() as conn:
        return await reliance.claim_audit(conn, worker="one", now=now, lease_until=now + LEASE)


async def _audit(relay: Trusting) -> AuditResult | None:
    due = await _claim(relay)
    tools = AuditTools(line=relay, peers=relay.tools, name="one")  # type: ignore[arg-type]  # all that an audit asks for
    return None if due is None else await audit(due, tools=tools)


async def _grounds(relay: Trusting, issuer: Issuer) -> dict[str, int]:
    async with relay.database.connection() as conn:
        return await reliance.count_grounds(conn, issuer.actor)


async def _agreements(relay: Trusting, issuer: Issuer) -> int:
    found = await issuer.find_standing(relay.database)
    return 0 if found is None else found.agreements


async def test_whoever_opens_the_scores_that_we_find_too_is_credited(relay: Trusting, alpha: Issuer) -> None:
    made = _commit(OURS + 3)
    relay.answering.openings[made.digest] = made.opening
    before = await _agreements(relay, alpha)
    await _let_go(relay, alpha, 1, state_sha256=_open_state(relay, alpha), scan_commitment=made.digest)

    assert await _audit(relay) == Ended(outcome="agrees")
    assert await _agreements(relay, alpha) == before + 1
    assert await _grounds(relay, alpha) == {}


async def test_invented_scores_disagree_although_nothing_was_found(relay: Trusting, alpha: Issuer) -> None:
    made = _commit(7)
    relay.answering.openings[made.digest] = made.opening
    state = _open_state(relay, alpha)
    for number in range(3):
        await _let_go(relay, alpha, number, state_sha256=state, scan_commitment=made.digest)

    assert [await _audit(relay) for _ in range(3)] == [Ended(outcome="disagrees")] * 3
    assert await alpha.find_tier(relay.database) is Tier.QUARANTINED
    assert await _grounds(relay, alpha) == {"scores": 3}
    async with relay.database.connection() as conn:
        (entry,) = [
            one for one in await audit_log.list_entries(conn, limit=9) if one.event == "peer_quarantined"
        ]
    assert "its scores were others than ours of the same model" in str(entry.detail["reason"])


async def test_whoever_opens_something_else_than_it_signed_is_demoted_at_once(
    relay: Trusting, alpha: Issuer
) -> None:
    made = _commit(7)
    relay.answering.openings[made.digest] = _commit(OURS).opening
    await _let_go(relay, alpha, 1, state_sha256=_open_state(relay, alpha), scan_commitment=made.digest)

    assert await _audit(relay) == Ended(outcome="contradicts")
    assert await alpha.find_tier(relay.database) is Tier.QUARANTINED
    assert await _grounds(relay, alpha) == {"opening": 1}


async def test_a_peer_that_refuses_for_a_day_to_open_what_it_signed_disagrees(
    relay: Trusting, alpha: Issuer
) -> None:
    state = _open_state(relay, alpha)
    await _let_go(relay, alpha, 1, state_sha256=state, scan_commitment=_commit(OURS).digest)

    assert await _audit(relay) == PutOff(has_asked=True)
    relay.clock.advance(PATIENCE)
    assert await _audit(relay) == Ended(outcome="disagrees")
    assert await _grounds(relay, alpha) == {"unopened": 1}


async def test_that_we_were_away_ourselves_is_no_patience_of_the_peer(relay: Trusting, alpha: Issuer) -> None:
    relay.answering.refusal = PeerFailureReason.BUSY
    made = _commit(OURS)
    await _let_go(relay, alpha, 1, state_sha256=_open_state(relay, alpha), scan_commitment=made.digest)

    relay.clock.advance(2 * PATIENCE)
    await _read_feed(relay, alpha)
    # Everybody who was away asks at once, and is asked to come later.
    assert await _audit(relay) == PutOff(has_asked=True)
    relay.answering.openings[made.digest] = made.opening
    assert await _audit(relay) == Ended(outcome="agrees")


async def test_what_a_peer_need_not_keep_any_more_is_asked_for_in_vain(
    relay: Trusting, alpha: Issuer
) -> None:
    state = _open_state(relay, alpha)
    await _let_go(relay, alpha, 1, state_sha256=state, scan_commitment=_commit(OURS).digest)

    relay.clock.advance(timedelta(days=8))
    assert await _audit(relay) == PutOff(has_asked=True)
    relay.clock.advance(PATIENCE)
    assert await _audit(relay) == Ended(outcome="not_comparable")


async def test_a_peer_set_up_anew_from_a_copy_is_excused_for_what_it_lost_once_a_month(
    relay: Trusting, alpha: Issuer
) -> None:
    state = _open_state(relay, alpha)
    for number in range(2):
        await _let_go(relay, alpha, number, state_sha256=state, scan_commitment=_commit(number).digest)
        relay.clock.advance(timedelta(minutes=1))
        async with relay.database.connection() as conn:
            is_excused = await peering.note_loss(conn, alpha.actor, now=relay.clock.now())
        assert is_excused is (number == 0)
        relay.clock.advance(timedelta(minutes=1))

    assert [await _audit(relay) for _ in range(2)] == [PutOff(has_asked=True)] * 2
    relay.clock.advance(PATIENCE)
    assert [await _audit(relay) for _ in range(2)] == [
        Ended(outcome="not_comparable"),
        Ended(outcome="disagrees"),
    ]


async def test_two_answers_that_were_mixed_up_on_the_way_prove_nothing(
    relay: Trusting, alpha: Issuer
) -> None:
    made = _commit(OURS)
    relay.answering.openings[made.digest] = made.opening
    relay.answering.mixed_up.append(_commit(7).opening)
    await _let_go(relay, alpha, 1, state_sha256=_open_state(relay, alpha), scan_commitment=made.digest)
    assert await _audit(relay) == Ended(outcome="agrees")


async def test_an_answer_that_is_no_opening_is_as_good_as_none(relay: Trusting, alpha: Issuer) -> None:
    made = _commit(OURS)
    relay.answering.openings[made.digest] = b'{"error":"Moved","where":"/api/v2"}'
    await _let_go(relay, alpha, 1, state_sha256=_open_state(relay, alpha), scan_commitment=made.digest)
    assert await _audit(relay) == PutOff(has_asked=True)
    relay.answering.openings[made.digest] = made.opening
    assert await _audit(relay) == Ended(outcome="agrees")


async def test_a_peer_that_is_away_is_neither_blamed_nor_credited(relay: Trusting, alpha: Issuer) -> None:
    relay.answering.refusal = PeerFailureReason.UNREACHABLE
    before = await alpha.find_standing(relay.database)
    state = _open_state(relay, alpha)
    await _let_go(relay, alpha, 1, state_sha256=state, scan_commitment=_commit(OURS).digest)

    assert await _audit(relay) == PutOff(has_asked=True)
    relay.clock.advance(PATIENCE)
    assert await _audit(relay) == Ended(outcome="not_comparable")
    assert await alpha.find_standing(relay.database) == before


@pytest.mark.parametrize("reason", [PeerFailureReason.UNREACHABLE, PeerFailureReason.REFUSED])
async def test_a_peer_whose_feed_is_read_all_the_time_is_not_away(
    relay: Trusting, alpha: Issuer, reason: PeerFailureReason
) -> None:
    relay.answering.refusal = reason
    state = _open_state(relay, alpha)
    await _let_go(relay, alpha, 1, state_sha256=state, scan_commitment=_commit(OURS).digest)

    assert await _audit(relay) == PutOff(has_asked=True)
    relay.clock.advance(PATIENCE)
    await _read_feed(relay, alpha)
    assert await _audit(relay) == Ended(outcome="disagrees")


async def test_a_peer_that_goes_on_attesting_is_not_away(relay: Trusting, alpha: Issuer) -> None:
    relay.answering.refusal = PeerFailureReason.UNREACHABLE
    state = _open_state(relay, alpha)
    await _let_go(relay, alpha, 1, state_sha256=state, scan_commitment=_commit(OURS).digest)

    assert await _audit(relay) == PutOff(has_asked=True)
    relay.clock.advance(PATIENCE)
    await _let_go(relay, alpha, 2, state_sha256=state)
    assert await _audit(relay) == Ended(outcome="disagrees")


async def _read_feed(relay: Trusting, issuer: Issuer) -> None:
    """Have read its feed a moment before the next audit."""
    async with relay.database.connection() as conn:
        await peering.set_cursor(
            conn, issuer.actor, expected=None, to=1, now=relay.clock.now() + AUDIT_WITHIN
        )


async def test_scores_of_another_model_are_not_even_asked_for(relay: Trusting, alpha: Issuer) -> None:
    document = {"detectors": [{"name": COSTLY, "version": "2", "state": {}}], "salt": "other"}
    digest = digest_of_document(document)
    relay.answering.states[digest] = document
    await _let_go(relay, alpha, 1, state_sha256=digest, scan_commitment=_commit(7).digest)

    assert await _audit(relay) == Ended(outcome="agrees")
    assert relay.answering.asked == [("state", "alpha.example")]


async def test_a_peer_that_never_let_us_in_owes_us_nothing(relay: Trusting, alpha: Issuer) -> None:
    async with relay.database.connection() as conn:
        await peering.set_we_follow(conn, alpha.actor, to=Following.NO, follow_id="", now=START)
    await _let_go(relay, alpha, 1, scan_commitment=_commit(7).digest)

    assert await _audit(relay) == Ended(outcome="agrees")
    assert relay.answering.asked == []


async def test_on_probation_a_peer_is_credited_when_it_has_shown_what_it_committed_to(
    relay: Trusting, alpha: Issuer
) -> None:
    await alpha.stand(relay.database, trusted(credit=0.0))
    honest, lazy = _commit(OURS), _commit(7)
    relay.answering.openings |= {one.digest: one.opening for one in (honest, lazy)}
    state = _open_state(relay, alpha)
    # Both are scanned at once, for nothing is spared yet; neither is credited by that alone.
    for number, made in enumerate((honest, lazy)):
        await _let_go(relay, alpha, number, state_sha256=state, scan_commitment=made.digest)
    assert relay.detector.asked == 2
    assert await _agreements(relay, alpha) == 0

    assert {str(await _audit(relay)) for _ in range(2)} == {
        str(Ended(outcome="agrees")),
        str(Ended(outcome="disagrees")),
    }
    assert await _agreements(relay, alpha) == 1


async def _draw_canary(relay: Trusting) -> bytes:
    picture = draw_fresh_canary(bytes(range(32)))
    async with relay.database.connection() as conn:
        await put_canary(
            conn,
            Canary(
                sha256=hashlib.sha256(picture).digest(), note="", drawn_by="admin", drawn_at=relay.clock.now()
            ),
        )
    return picture


async def _hear(relay: Trusting, issuer: Issuer, data: bytes, state: bytes, **changes: object) -> None:
    """Come to know what a peer attests, as from its feed."""
    now = relay.clock.now()
    word = issuer.attest(data, published=now, end_time=now + timedelta(days=7), state_sha256=state, **changes)
    found = await admit(word, database=relay.database, now=now)
    assert isinstance(found, MirroredAttestation)
    async with relay.database.connection() as conn:
        await mirror.put_mirrored(conn, (found,))
    assert await note_attested(tools=relay.tools) == 1
    assert await note_attested(tools=relay.tools) == 0


async def test_who_attests_a_canary_that_its_lists_hold_is_demoted_at_once(
    relay: Trusting, alpha: Issuer
) -> None:
    canary = await _draw_canary(relay)
    await _hear(relay, alpha, canary, _open_state(relay, alpha))

    assert await _audit(relay) == Ended(outcome="contradicts")
    assert await alpha.find_tier(relay.database) is Tier.QUARANTINED
    assert await _grounds(relay, alpha) == {Ground.CANARY: 1}
    async with relay.database.connection() as conn:
        assert await list_issuers(conn, hashlib.sha256(canary).digest()) == (alpha.actor,)


async def test_who_has_no_list_that_knows_canaries_lies_about_nothing(relay: Trusting, alpha: Issuer) -> None:
    document = {"detectors": [{"name": "pdq", "version": "1", "state": {"lists": []}}], "salt": "other"}
    digest = digest_of_document(document)
    relay.answering.states[digest] = document
    before = await alpha.find_standing(relay.database)
    await _hear(relay, alpha, await _draw_canary(relay), digest)

    assert await _audit(relay) == Ended(outcome="not_comparable")
    assert await alpha.find_standing(relay.database) == before


async def test_under_a_policy_of_its_own_a_peer_need_not_look_for_canaries(
    relay: Trusting, alpha: Issuer
) -> None:
    before = await alpha.find_tier(relay.database)
    canary = await _draw_canary(relay)
    another = "https://relay.alpha.example/profiles/models-only"
    await _hear(relay, alpha, canary, _open_state(relay, alpha), profile=another)

    assert await _audit(relay) == Ended(outcome="not_comparable")
    assert await alpha.find_tier(relay.database) is before


def test_only_the_very_list_of_canaries_counts(costly: tuple[Scanner, CostlyDetector]) -> None:
    document = costly[0].state().document
    assert knows_canary(document)
    changed = [
        {**one, "state": {"lists": [{**listed, "distance": 0} for listed in one["state"].get("lists", [])]}}
        for one in document["detectors"]
    ]
    assert not knows_canary({**document, "detectors": changed})
    for odd in ({}, {"detectors": 7}, {"detectors": [None, {"name": "pdq"}, {"name": "pdq", "state": []}]}):
        assert not knows_canary(odd)
