"""Whatever befalls an honest relay, and us, it is never taken for a liar."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import peering, reliance
from db.peers import Following, Tier
from relay.audits.audit import AuditTools, audit
from relay.exchange.client import PeerFailureReason
from relay.exchange.commitments import build_commitment
from relay.trust import MODEL_MARGIN
from scanner.report import DetectorRun, RunOutcome
from signatures.jcs import digest_of_document
from tests.fediverse.clock import START
from tests.images import encode, marker
from tests.relay.exchange.issuer import Issuer, trusted
from tests.relay.exchange.trusting import COSTLY, open_costly_scanner, open_trusting
from tests.relay.stages.parts import reference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from db.pool import Database
    from scanner.scan import Scanner
    from tests.relay.exchange.trusting import CostlyDetector, Trusting

OURS = 412
STEPS = 40
LEASE = timedelta(minutes=5)
KEPT_FOR = timedelta(days=2)


@pytest.fixture(scope="module")
def costly() -> Iterator[tuple[Scanner, CostlyDetector]]:
    with pytest.MonkeyPatch.context() as patch, open_costly_scanner(patch) as opened:
        yield opened


@dataclass(slots=True, kw_only=True)
class Life:
    """What befalls an honest peer and the relay that audits it, by a seeded chance."""

    relay: Trusting
    peer: Issuer
    chance: random.Random
    kept: dict[bytes, tuple[bytes, datetime, datetime]] = field(default_factory=dict)
    is_up: bool = True
    has_lost: bool = False
    number: int = 0
    cursor: int | None = None

    @property
    def now(self) -> datetime:
        return self.relay.clock.now()

    async def post(self) -> None:
        """Let media go on its word, by a clock that is off by up to a minute."""
        self.number += 1
        data = encode(marker(self.number), "PNG")
        score = OURS + self.chance.randint(-MODEL_MARGIN, MODEL_MARGIN)
        run = DetectorRun(
            name=COSTLY, version="1", essential=False, outcome=RunOutcome.RAN, scores=(("drawn", score),)
        )
        made = build_commitment((run,), salt2=self.chance.randbytes(16))
        assert made is not None
        published = self.now + timedelta(seconds=self.chance.randint(-60, 60))
        ends_at = published + timedelta(hours=self.chance.choice((1, 24, 168)))
        document = {**self.relay.scanning.published_state.document, "salt": f"of {self.peer.domain}"}
        digest = digest_of_document(document)
        self.relay.answering.states[digest] = document
        self.kept[made.digest] = (made.opening, self.now, ends_at)
        word = self.peer.attest(
            data, published=published, end_time=ends_at, state_sha256=digest, scan_commitment=made.digest
        )
        url = f"https://files.example/{self.number}.png"
        self.relay.client.files[url] = data
        await self.relay.examine(data, header=word, at=reference(url))

    async def go(self) -> None:
        self.is_up = False

    async def come_back(self) -> None:
        self.is_up = True

    async def lose_its_past(self) -> None:
        """Be set up anew from a copy of two days ago, which whoever reads its feed sees."""
        if self.has_lost:
            return
        self.has_lost = self.is_up = True
        self.kept = {
            digest: one for digest, one in self.kept.items() if one[1] < self.now - timedelta(days=2)
        }
        async with self.relay.database.connection() as conn:
            await peering.note_loss(conn, self.peer.actor, now=self.now)

    async def change_our_lists(self) -> None:
        self.relay.scanning.salt_anew()

    async def be_away_ourselves(self) -> None:
        self.relay.clock.advance(timedelta(hours=self.chance.randint(2, 120)))

    async def pass_time(self) -> None:
        self.relay.clock.advance(timedelta(minutes=self.chance.randint(20, 600)))

    async def audit_what_is_due(self) -> None:
        """Read its feed, forget what it need not keep, and make all audits that are due."""
        self.kept = {digest: one for digest, one in self.kept.items() if self.now < one[2] + KEPT_FOR}
        answering = self.relay.answering
        answering.openings = {digest: one[0] for digest, one in self.kept.items()} if self.is_up else {}
        answering.refusal = PeerFailureReason.NOT_THERE if self.is_up else PeerFailureReason.UNREACHABLE
        tools = AuditTools(line=self.relay, peers=self.relay.tools, name="one")  # type: ignore[arg-type]  # all that an audit asks for
        async with self.relay.database.connection() as conn:
            if self.is_up:
                last, self.cursor = self.cursor, (self.cursor or 0) + 1
                await peering.set_cursor(conn, self.peer.actor, expected=last, to=self.cursor, now=self.now)
        while True:
            async with self.relay.database.transaction() as conn:
                due = await reliance.claim_audit(
                    conn, worker="one", now=self.now, lease_until=self.now + LEASE
                )
            if due is None:
                return
            await audit(due, tools=tools)


@pytest.mark.parametrize("seed", [0, 2, 4])
async def test_an_honest_peer_is_never_demoted_nor_found_to_disagree(
    database: Database, costly: tuple[Scanner, CostlyDetector], tmp_path: Path, seed: int
) -> None:
    peer = Issuer()
    await peer.introduce(database)
    await peer.stand(database, trusted())
    async with database.connection() as conn:
        await peering.set_we_follow(
            conn, peer.actor, to=Following.ACCEPTED, follow_id="https://own.example/1", now=START
        )
    async with open_trusting(database, costly, tmp_path) as relay:
        relay.draw = 0.05
        relay.detector.tells_scores, relay.detector.score = True, OURS
        life = Life(relay=relay, peer=peer, chance=random.Random(seed))
        befalls = (
            *(life.post,) * 6,
            *(life.pass_time,) * 3,
            *(life.come_back,) * 2,
            *(life.go, life.lose_its_past, life.change_our_lists, life.be_away_ourselves),
        )
        for _ in range(STEPS):
            await life.chance.choice(befalls)()
            await life.audit_what_is_due()
        life.is_up = True
        for _ in range(3):
            relay.clock.advance(timedelta(hours=26))
            await life.audit_what_is_due()

    async with database.connection() as conn:
        outcomes = await reliance.count_outcomes(conn, peer.actor)
    assert outcomes.keys() <= {"agrees", "not_comparable", "lost", "rescanned"}
    assert outcomes["agrees"] > 1
    assert await peer.find_tier(database) in {Tier.PROBATION, Tier.TRUSTED}
