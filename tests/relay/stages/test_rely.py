"""A peer's word spares the costly detectors where it has earned that, and never loosens anything."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import mirror, peers, reliance, verdicts
from db.mirror import MirroredAttestation
from db.peers import Tier
from relay.exchange import tiers
from relay.exchange.intake import admit
from relay.exchange.risk import MAX_RISK, NEW_FOR
from relay.model import EvidenceBasis, MediaDecision
from relay.stages import gather
from relay.stages.attest import is_attestable
from relay.stages.gather import Reach, recall_words
from relay.stages.rely import AUDIT_WITHIN, URGENT_WITHIN, rely
from relay.trust import RATE_FLOOR, Standing
from scanner.canary import draw_canary
from scanner.report import RunOutcome
from tests.fediverse.clock import START
from tests.images import encode, marker
from tests.relay.exchange.issuer import Issuer, trusted
from tests.relay.exchange.trusting import Trusting, open_costly_scanner, open_trusting
from tests.relay.stages.parts import PICTURE, media, reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from db.pool import Database
    from db.reliance import Reliance
    from scanner.scan import Scanner
    from tests.relay.exchange.trusting import CostlyDetector

DATA = encode(marker(1), "PNG")
FILES = "https://files.alpha.example/p.png"


@pytest.fixture(scope="module")
def costly() -> Iterator[tuple[Scanner, CostlyDetector]]:
    with pytest.MonkeyPatch.context() as patch, open_costly_scanner(patch) as opened:
        yield opened


@pytest.fixture
async def relay(
    database: Database, costly: tuple[Scanner, CostlyDetector], tmp_path: Path
) -> AsyncIterator[Trusting]:
    async with open_trusting(database, costly, tmp_path) as opened:
        yield opened


@pytest.fixture
async def alpha(database: Database) -> Issuer:
    """A peer that has earned its trust."""
    issuer = Issuer()
    await issuer.introduce(database)
    await issuer.stand(database, trusted())
    return issuer


async def _relied(relay: Trusting, data: bytes = DATA) -> tuple[Reliance, ...]:
    async with relay.database.connection() as conn:
        return await reliance.find_reliance(conn, Issuer().body(data).sha256)


async def _own_verdict(relay: Trusting, data: bytes = DATA) -> object:
    async with relay.database.connection() as conn:
        return await verdicts.find_latest(conn, Issuer().body(data).sha256)


async def test_the_word_of_a_peer_that_has_earned_it_spares_the_costly_detectors(
    relay: Trusting, alpha: Issuer
) -> None:
    outcome = await relay.examine(DATA, header=alpha.attest(DATA))
    assert outcome.decision is MediaDecision.RELEASE
    assert outcome.evidence.basis is EvidenceBasis.PEER
    assert relay.detector.asked == 0
    (noted,) = await _relied(relay)
    assert (noted.issuer, noted.profile, noted.key_id) == (alpha.actor, alpha.profile, alpha.key_id)
    assert (noted.url, noted.relied_at, noted.due_at) == (PICTURE, START, None)
    assert relay.tools.retained.size_bytes() == 0


async def test_nothing_that_rests_on_a_peer_is_attested_or_kept_as_our_verdict(
    relay: Trusting, alpha: Issuer
) -> None:
    outcome = await relay.examine(DATA, header=alpha.attest(DATA))
    assert not is_attestable(outcome.evidence)
    assert await _own_verdict(relay) is None
    report = outcome.evidence.report
    assert report is not None
    assert RunOutcome.SPARED in {run.outcome for run in report.detectors}


async def test_what_our_lists_hold_no_word_of_anybody_changes(relay: Trusting, alpha: Issuer) -> None:
    canary = draw_canary()
    outcome = await relay.examine(canary, header=alpha.attest(canary), sender=alpha.actor)
    assert outcome.decision is MediaDecision.WITHHOLD
    assert outcome.evidence.basis is EvidenceBasis.SCAN
    assert await _own_verdict(relay, canary) is not None
    # Nor is anybody asked about it.
    assert relay.answering.asked == []


async def test_what_cannot_be_decoded_wholly_no_word_of_anybody_changes(
    relay: Trusting, alpha: Issuer
) -> None:
    broken = DATA[:-200]
    outcome = await relay.examine(broken, header=alpha.attest(broken))
    assert outcome.decision is MediaDecision.WITHHOLD
    assert outcome.evidence.basis is EvidenceBasis.SCAN


@pytest.mark.parametrize(
    "standing",
    [
        Standing(tier=Tier.PROBATION, updated_at=START, credit=99.0),
        Standing(tier=Tier.TRUSTED, updated_at=START, credit=5.0),
        Standing(tier=Tier.TRUSTED, updated_at=START, credit=500.0, scrutiny=3),
        Standing(tier=Tier.QUARANTINED, updated_at=START),
    ],
)
async def test_a_peer_that_has_not_earned_it_spares_nothing(
    standing: Standing, relay: Trusting, alpha: Issuer
) -> None:
    await alpha.stand(relay.database, standing)
    outcome = await relay.examine(DATA, header=alpha.attest(DATA))
    assert outcome.evidence.basis is EvidenceBasis.SCAN
    assert relay.detector.asked == 1


@pytest.mark.parametrize("tier", [Tier.UNKNOWN, Tier.QUARANTINED])
async def test_what_the_admin_did_not_approve_is_neither_relied_on_nor_stored(
    tier: Tier, relay: Trusting, alpha: Issuer
) -> None:
    omega = Issuer(domain="omega.example")
    await omega.introduce(relay.database, tier=tier)
    await omega.stand(relay.database, trusted())
    outcome = await relay.examine(DATA, header=omega.attest(DATA))
    assert outcome.evidence.basis is EvidenceBasis.SCAN
    async with relay.database.connection() as conn:
        assert await mirror.count_mirrored(conn, now=START) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"size": len(DATA) + 1},
        {"media_type": "image/jpeg"},
        {"profile": "https://relay.alpha.example/profiles/another"},
        {"state_as_of": START.replace(year=START.year - 1)},
    ],
)
async def test_a_word_that_does_not_fit_the_bytes_or_what_we_look_for_spares_nothing(
    changes: dict[str, object], relay: Trusting, alpha: Issuer
) -> None:
    outcome = await relay.examine(DATA, header=alpha.attest(DATA, **changes))
    assert outcome.evidence.basis is EvidenceBasis.SCAN


async def test_a_word_about_other_bytes_says_nothing_about_these(relay: Trusting, alpha: Issuer) -> None:
    again = encode(marker(1), "JPEG")
    assert (await relay.examine(DATA, header=alpha.attest(DATA))).evidence.basis is EvidenceBasis.PEER
    # A copy that was encoded anew inherits nothing.
    outcome = await relay.examine(again, header=alpha.attest(DATA))
    assert outcome.evidence.basis is EvidenceBasis.SCAN


async def test_a_forged_word_spares_nothing(relay: Trusting, alpha: Issuer) -> None:
    forged = alpha.attest(DATA).replace(b'"size":', b'"size":1')
    outcome = await relay.examine(DATA, header=forged, inline=b"{}")
    assert outcome.evidence.basis is EvidenceBasis.SCAN


async def test_the_coin_seals_the_bytes_for_an_audit_within_the_hour(relay: Trusting, alpha: Issuer) -> None:
    relay.draw = 0.05
    outcome = await relay.examine(DATA, header=alpha.attest(DATA))
    assert outcome.evidence.basis is EvidenceBasis.PEER
    (noted,) = await _relied(relay)
    assert noted.audit_rate >= RATE_FLOOR
    assert noted.due_at == START + 0.05 * AUDIT_WITHIN
    assert relay.tools.retained.find(noted.sha256) == DATA


async def test_what_is_new_is_audited_more_often_until_it_is_known(relay: Trusting, alpha: Issuer) -> None:
    rates: list[float] = []

    async def rely_on(number: int, *, sender: str, url: str) -> None:
        data = encode(marker(number), "PNG")
        now = relay.clock.now()
        word = alpha.attest(data, published=now, end_time=now + timedelta(days=1))
        await relay.examine(data, header=word, sender=sender, at=reference(url))
        (noted,) = await _relied(relay, data)
        rates.append(round(noted.audit_rate, 4))

    author, place = "https://social.example/users/alice", "https://files.social.example/1.png"
    await rely_on(1, sender=author, url=place)
    relay.clock.advance(NEW_FOR)
    await rely_on(2, sender=author, url=place)
    await rely_on(3, sender="https://social.example/users/bob", url=place)
    await rely_on(4, sender=author, url="https://elsewhere.example/1.png")
    # What is new stays so for a day, however much of it there is.
    await rely_on(5, sender=author, url="https://elsewhere.example/2.png")
    highest = RATE_FLOOR + (1 - RATE_FLOOR) * MAX_RISK
    assert rates[0] == pytest.approx(highest, abs=1e-3)
    assert rates[1] == pytest.approx(RATE_FLOOR, abs=1e-3)
    assert rates[1] < rates[2] < rates[0]
    assert rates[1] < rates[3] == rates[4] < rates[0]


async def test_what_only_its_newness_chose_is_audited_within_minutes(relay: Trusting, alpha: Issuer) -> None:
    relay.draw = 0.2
    outcome = await relay.examine(
        DATA, header=alpha.attest(DATA), sender="https://social.example/users/alice", at=reference(PICTURE)
    )
    assert outcome.evidence.basis is EvidenceBasis.PEER
    (noted,) = await _relied(relay)
    assert noted.audit_rate > 0.2 > RATE_FLOOR
    assert noted.due_at == START + 0.2 * URGENT_WITHIN
    assert noted.is_urgent


async def test_what_the_coin_chose_anyway_is_not_urgent_however_new_it_is(
    relay: Trusting, alpha: Issuer
) -> None:
    relay.draw = RATE_FLOOR / 2
    sender = "https://social.example/users/alice"
    await relay.examine(DATA, header=alpha.attest(DATA), sender=sender, at=reference(PICTURE))
    (noted,) = await _relied(relay)
    assert noted.due_at == START + RATE_FLOOR / 2 * AUDIT_WITHIN
    assert not noted.is_urgent


async def test_the_same_word_about_the_same_bytes_is_tossed_for_once(relay: Trusting, alpha: Issuer) -> None:
    word = alpha.attest(DATA)
    await relay.examine(DATA, header=word)
    relay.draw = 0.0
    await relay.examine(DATA, header=word)
    (noted,) = await _relied(relay)
    assert noted.due_at is None


async def test_inline_media_is_noted_without_its_bytes(relay: Trusting, alpha: Issuer) -> None:
    await relay.examine(DATA, header=alpha.attest(DATA), at=reference("data:image/png;base64,AAAA"))
    (noted,) = await _relied(relay)
    assert noted.url == ""


async def test_a_scan_of_ours_confirms_whoever_attested_the_bytes(relay: Trusting, alpha: Issuer) -> None:
    beta = Issuer(domain="beta.example")
    await beta.introduce(relay.database)
    for number in range(3):
        data = encode(marker(number + 10), "PNG")
        await relay.examine(data, header=beta.attest(data))
        # The same bytes again are known, and weighed no more.
        await relay.examine(data, header=beta.attest(data))
    standing = await beta.find_standing(relay.database)
    assert standing is not None
    assert (standing.tier, standing.audits, standing.agreements) == (Tier.PROBATION, 3, 3)
    assert await alpha.find_tier(relay.database) is Tier.PROBATION


@pytest.mark.parametrize("changes", [{"size": 1}, {"media_type": "image/jpeg"}])
async def test_whoever_describes_other_bytes_earns_nothing(
    changes: dict[str, object], relay: Trusting, alpha: Issuer
) -> None:
    beta = Issuer(domain="beta.example")
    await beta.introduce(relay.database)
    data = encode(marker(20), "PNG")
    await relay.examine(data, header=beta.attest(data, **changes))
    assert await beta.find_standing(relay.database) is None


async def test_what_our_scan_finds_is_left_to_an_audit_without_an_address(
    relay: Trusting, alpha: Issuer
) -> None:
    await alpha.stand(relay.database, Standing(tier=Tier.PROBATION, updated_at=START))
    relay.detector.score = 950
    outcome = await relay.examine(DATA, header=alpha.attest(DATA))
    assert outcome.decision is MediaDecision.WITHHOLD
    (noted,) = await _relied(relay)
    assert (noted.due_at, noted.url) == (START, "")
    standing = await alpha.find_standing(relay.database)
    assert standing is not None
    assert standing.audits == 0


async def test_the_origins_relay_is_asked_and_its_answer_relied_on(relay: Trusting, alpha: Issuer) -> None:
    relay.answering.words["alpha.example"] = [alpha.attest(b"other bytes"), alpha.attest(DATA)]
    outcome = await relay.examine(DATA, at=reference(FILES))
    assert outcome.evidence.basis is EvidenceBasis.PEER
    assert relay.answering.asked == [("lookup", "alpha.example")]
    async with relay.database.connection() as conn:
        assert await mirror.count_mirrored(conn, now=START) == {alpha.actor: 1}


async def test_nobody_but_the_origins_own_relay_learns_what_we_have(relay: Trusting, alpha: Issuer) -> None:
    relay.answering.words["alpha.example"] = [alpha.attest(DATA)]
    await relay.examine(DATA, sender="https://omega.example/users/bob")
    assert relay.answering.asked == []


@pytest.mark.parametrize("reach", [Reach.NOWHERE, Reach.AT_HAND])
async def test_nobody_is_asked_about_what_not_everybody_may_see(
    reach: Reach, relay: Trusting, alpha: Issuer
) -> None:
    relay.answering.words["alpha.example"] = [alpha.attest(DATA)]
    outcome = await relay.examine(DATA, sender=alpha.actor, reach=reach)
    assert outcome.evidence.basis is EvidenceBasis.SCAN
    assert relay.answering.asked == []


@pytest.mark.parametrize(
    ("way", "open_ways"),
    [
        ("header", {"uses_headers": False}),
        ("inline", {"uses_inline": False}),
        ("asked", {"asks_origin": False}),
    ],
)
async def test_each_way_to_a_word_can_be_closed(
    way: str, open_ways: dict[str, object], relay: Trusting, alpha: Issuer
) -> None:
    word = alpha.attest(DATA)
    if way == "asked":
        relay.answering.words["alpha.example"] = [word]
    relay.open_ways(**open_ways)
    outcome = await relay.examine(
        DATA,
        header=word if way == "header" else None,
        inline=word if way == "inline" else None,
        sender=alpha.actor,
    )
    assert outcome.evidence.basis is EvidenceBasis.SCAN


async def test_others_are_asked_by_a_part_of_the_digest_where_the_admin_wants_it(
    relay: Trusting, alpha: Issuer
) -> None:
    gamma = Issuer(domain="gamma.example")
    await gamma.introduce(relay.database, tier=Tier.TRUSTED)
    await gamma.stand(relay.database, trusted())
    relay.answering.words["gamma.example"] = [gamma.attest(DATA)]
    relay.open_ways(asks_buckets=True)
    outcome = await relay.examine(DATA, sender="https://omega.example/users/bob")
    assert outcome.evidence.basis is EvidenceBasis.PEER
    assert relay.answering.asked == [("buckets of 0", "gamma.example"), ("buckets of 2", "gamma.example")]


async def test_without_peers_nothing_is_begun_that_a_scan_would_not_do(relay: Trusting) -> None:
    outcome = await relay.examine(DATA, header=Issuer().attest(DATA))
    assert outcome.evidence.basis is EvidenceBasis.SCAN
    assert relay.detector.asked == 1


async def test_what_a_peer_warns_of_no_other_word_spares_a_scan_of(
    relay: Trusting, alpha: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def warned(_sha256: bytes, **_: object) -> str:
        return "spam"

    monkeypatch.setattr("relay.looks.heed", warned)
    outcome = await relay.examine(DATA, header=alpha.attest(DATA))
    assert outcome.evidence.basis is EvidenceBasis.SCAN
    assert outcome.decision is MediaDecision.WITHHOLD
    assert relay.detector.asked == 1


async def test_a_peer_that_is_demoted_while_its_word_is_read_is_not_relied_on(
    relay: Trusting, alpha: Issuer
) -> None:
    await relay.examine(DATA, header=alpha.attest(DATA))
    words = await recall_words(alpha.body(DATA).sha256, tools=relay.tools)
    assert len(words) == 1
    await tiers.quarantine(relay.database, alpha.actor, reason="it lied", by="admin", now=START)
    begun = await relay.scanning.begin(DATA, declared_type="image/png")
    given = media(DATA)
    assert await rely(words, given, reference(), begun.report, tools=relay.tools) is None


async def test_a_delivery_may_wait_for_the_word_of_somebody_who_is_relied_on(
    relay: Trusting, alpha: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relay.database.connection() as conn:
        await peers.set_tier(conn, alpha.actor, expected=Tier.PROBATION, to=Tier.TRUSTED, now=START)
    relay.open_ways(patience=timedelta(seconds=20))
    monkeypatch.setattr(gather, "_POLL", timedelta())
    word = alpha.attest(DATA)
    asked = 0
    has_arrived = False

    def tick() -> float:
        nonlocal asked
        # However long it takes the word to arrive, its time is not over before.
        asked += has_arrived
        return float(asked)

    async def arrive() -> None:
        nonlocal has_arrived
        found = await admit(word, database=relay.database, now=START)
        assert isinstance(found, MirroredAttestation)
        async with relay.database.connection() as conn:
            await mirror.put_mirrored(conn, (found,))
        has_arrived = True

    monkeypatch.setattr(relay.clock, "monotonic", tick)
    async with asyncio.TaskGroup() as group:
        examining = group.create_task(relay.examine(DATA))
        group.create_task(arrive())
    assert examining.result().evidence.basis is EvidenceBasis.PEER

    # It does not wait for ever, nor where nobody is relied on.
    other = encode(marker(2), "PNG")
    assert (await relay.examine(other)).evidence.basis is EvidenceBasis.SCAN


async def test_many_deliveries_of_the_same_bytes_ask_once(relay: Trusting, alpha: Issuer) -> None:
    relay.answering.words["alpha.example"] = [alpha.attest(DATA)]
    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(relay.examine(DATA, at=reference(FILES))) for _ in range(5)]
    assert {look.result().evidence.basis for look in looks} == {EvidenceBasis.PEER}
    assert len(relay.answering.asked) == 1
    assert len(await _relied(relay)) == 1
