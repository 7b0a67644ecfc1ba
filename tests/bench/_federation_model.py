"""What happens to one medium after another, event by event; every decision on trust is the project's own.

Simplified: media do not overlap in time but for the hour in which an audit may still come, so that a medium's
events are worked through before the next one's; the clock of standings stands still; look-ups that cost
milliseconds are left out.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from db.peers import Tier
from relay.trust import (
    ACCEPT_AT,
    ENOUGH_GROUPS,
    SHARED_FLOOR,
    STEP_DOWN,
    Audited,
    Standing,
    audit_rate,
    is_relied_on,
    scrutinise,
    weigh,
)
from tests.bench._federation_world import Kind, World, draw_readers

NOW: Final = datetime(2026, 11, 22, tzinfo=UTC)

RECALL: Final = 0.9
"""How much of what is there a scan finds."""

DISAGREEMENT: Final = 0.001
"""How often two honest scanners differ beyond the margin where they should not."""

# The share of scans that an issuer keeps to itself (the default of attest.withhold_share_permille).
_WITHHELD: Final = 0.10
_AUDIT_WITHIN_S: Final = 3_600.0
_BATCH_S: Final = 30.0
_SCAN_S: Final = 0.1
# How long all but the hubs wait for somebody they rely on, before they scan themselves.
_PATIENCE_S: Final = 20.0
# Of what a lazy signer signs, an audit compares the committed scores; on this share they cannot be guessed.
_SCORED: Final = 0.007
# An agreement in a hundred audits in a row ends a probation.
_PROBATION: Final = round(ACCEPT_AT / STEP_DOWN)

_LIES: Final = {Kind.RANDOM: 0.05, Kind.LAZY: 0.001, Kind.SELECTIVE: 0.20, Kind.SYBIL: 0.05}
_SLEEPER_LIES: Final = 0.5
_SMALL_AUDIENCE: Final = 5

# More than any reader sees of one issuer in years.
_MAX_ITEMS: Final = 200_000


@dataclass(slots=True)
class Tally:
    """What was counted.

    Attributes:
        scans: Costly scans, by reach.
        needed: What everyone scanning would have cost, by reach.
        lies: Lies relied on before the first doubt, by (reader, liar).
    """

    scans: Counter[int] = field(default_factory=Counter)
    needed: Counter[int] = field(default_factory=Counter)
    lies: Counter[tuple[int, int]] = field(default_factory=Counter)

    def saving(self, reach: int) -> float:
        """Return how many scans everyone would have made for each that was made."""
        return self.needed[reach] / max(1, self.scans[reach])


@dataclass(frozen=True, slots=True)
class _Claim:
    visible_at: float
    issuer: int


@dataclass(slots=True)
class _Passage:
    """One medium on its way.

    Attributes:
        events: When, in what order of making, at whom; with the rate at which an audit was drawn, else 0.
    """

    origin: int
    is_lie: bool
    claims: list[_Claim] = field(default_factory=list)
    events: list[tuple[float, int, int, float]] = field(default_factory=list)
    waited: set[int] = field(default_factory=set)
    scans: int = 0
    _turns: int = 0

    def add(self, time: float, reader: int, *, audit: float = 0.0) -> None:
        """Let something happen later."""
        self._turns += 1
        heapq.heappush(self.events, (time, self._turns, reader, audit))


class Model:
    """The standings of everybody with everybody, and the media that pass."""

    def __init__(self, world: World, *, history: float, mean_reach: float, rng: np.random.Generator) -> None:
        self.world = world
        self.tally = Tally()
        self.rng = rng
        self._standings: dict[tuple[int, int], Standing] = {}
        self._told: dict[int, set[int]] = defaultdict(set)
        self._scrutinised: set[tuple[int, int, int]] = set()
        # How many media of an issuer each reader has had in the time before.
        self._had = history * np.minimum(1.0, world.reads * mean_reach)
        self._hub_extra = history * 0.05 * np.minimum(1.0, world.reads * mean_reach)

    def standing(self, reader: int, issuer: int) -> Standing:
        """Return a standing; one that was never asked for is what the time before has made of it."""
        key = (reader, issuer)
        found = self._standings.get(key)
        if found is None:
            items = float(self._had[reader] * self.world.writes[issuer])
            if self.world.is_hub[issuer]:
                items += float(self._hub_extra[reader] * min(1.0, self.world.reads[issuer] * 100))
            found = self._standings[key] = _after(items)
        return found

    def demoted(self) -> list[tuple[int, int]]:
        """Name the (reader, issuer) pairs that ended in quarantine."""
        return [pair for pair, one in self._standings.items() if one.tier is Tier.QUARANTINED]

    def pass_on(self, origin: int, reach: int, *, progress: float) -> None:
        """Let one medium be written, delivered, attested, relied on and audited."""
        kind = self.world.kinds[origin]
        passage = _Passage(
            origin=origin, is_lie=bool(self.rng.random() < lie_rate(kind, reach, progress=progress))
        )
        if self.world.adopts[origin]:
            passage.scans += kind is not Kind.LAZY
            if passage.is_lie or self.rng.random() >= _WITHHELD:
                passage.claims.append(_Claim(0.0, origin))
        for time, reader in draw_readers(self.world, origin, reach, self.rng):
            passage.add(time, reader)
        while passage.events:
            time, _, reader, audit = heapq.heappop(passage.events)
            if not self.world.adopts[reader]:
                passage.scans += 1
            elif self.world.kinds[reader] is not Kind.HONEST:
                self._join_in(reader, passage, time)
            elif audit:
                self._audit_later(reader, passage, time, rate=audit)
            else:
                self._receive(reader, passage, time)
        self.tally.scans[reach] += passage.scans
        self.tally.needed[reach] += reach + 1

    def _join_in(self, reader: int, passage: _Passage, time: float) -> None:
        """Let a Sybil vouch for what another one wrote."""
        both = {self.world.kinds[reader], self.world.kinds[passage.origin]}
        if passage.is_lie and both == {Kind.SYBIL}:
            passage.claims.append(_Claim(time + _SCAN_S, reader))

    def _receive(self, reader: int, passage: _Passage, time: float) -> None:
        """Rely on somebody, or wait a little for somebody to rely on, or scan."""
        relied = self._find_relied(reader, passage, time)
        if relied:
            rate = audit_rate(self.standing(reader, relied[0]), now=NOW, groups=len(relied))
            if self.rng.random() < rate:
                passage.add(time + float(self.rng.random()) * _AUDIT_WITHIN_S, reader, audit=rate)
            elif passage.is_lie:
                self.tally.lies[reader, passage.origin] += 1
        elif reader in passage.waited or self.world.is_hub[reader]:
            self._scan(reader, passage, time)
        else:
            passage.waited.add(reader)
            passage.add(time + _PATIENCE_S * (0.5 + 0.5 * float(self.rng.random())), reader)

    def _audit_later(self, reader: int, passage: _Passage, time: float, *, rate: float) -> None:
        """Audit, unless enough others have scanned the bytes by now."""
        is_shared = len(self._find_relied(reader, passage, time)) >= ENOUGH_GROUPS
        if not is_shared or self.rng.random() < SHARED_FLOOR / rate:
            self._scan(reader, passage, time)

    def _find_relied(self, reader: int, passage: _Passage, time: float) -> list[int]:
        return [
            claim.issuer
            for claim in passage.claims
            if claim.visible_at <= time and self._relies(reader, claim.issuer)
        ]

    def _relies(self, reader: int, issuer: int) -> bool:
        for teller in self._told[issuer]:
            # A word of doubt counts if whoever says it is trusted, and once each.
            heard = (reader, issuer, teller)
            if heard not in self._scrutinised and self.standing(reader, teller).is_trusted:
                self._scrutinised.add(heard)
                self._standings[reader, issuer] = scrutinise(self.standing(reader, issuer))
        return is_relied_on(self.standing(reader, issuer), now=NOW)

    def _scan(self, reader: int, passage: _Passage, time: float) -> None:
        passage.scans += 1
        is_found = passage.is_lie and self.rng.random() < RECALL
        for claim in passage.claims:
            if claim.visible_at <= time and claim.issuer != reader:
                self._audit(reader, claim.issuer, is_found=bool(is_found))
        if not is_found and self.rng.random() >= _WITHHELD:
            batch = 0.0 if self.world.is_hub[reader] else _BATCH_S * float(self.rng.random())
            passage.claims.append(_Claim(time + _SCAN_S + batch, reader))

    def _audit(self, reader: int, issuer: int, *, is_found: bool) -> None:
        audited = draw_audit(self.world.kinds[issuer], is_found=is_found, rng=self.rng)
        after = weigh(self.standing(reader, issuer), audited, now=NOW)
        self._standings[reader, issuer] = after
        if after.is_in_doubt:
            self._told[issuer].add(reader)


def lie_rate(kind: Kind, reach: int, *, progress: float) -> float:
    """Return how likely it is that what an instance of this kind vouches for is a lie."""
    if kind is Kind.SLEEPER:
        return _SLEEPER_LIES if progress >= 0.5 else 0.0
    if kind is Kind.SELECTIVE and reach > _SMALL_AUDIENCE:
        return 0.0
    return _LIES.get(kind, 0.0)


def draw_audit(kind: Kind, *, is_found: bool, rng: np.random.Generator) -> Audited:
    """Draw what an audit says about an issuer of this kind."""
    is_caught = kind is Kind.LAZY and rng.random() < _SCORED
    return Audited.DISAGREES if is_found or is_caught or rng.random() < DISAGREEMENT else Audited.AGREES


def lies_alone(kind: Kind, *, credit: float, rng: np.random.Generator) -> int:
    """Count the lies that one reader relies on until its first doubt, with nobody else to warn it."""
    standing = Standing(tier=Tier.TRUSTED, updated_at=NOW, credit=credit)
    lies = 0
    for _ in range(_MAX_ITEMS):
        if not is_relied_on(standing, now=NOW):
            break
        is_lie = rng.random() < lie_rate(kind, 1, progress=1.0)
        if rng.random() >= audit_rate(standing, now=NOW):
            lies += is_lie
            continue
        is_found = bool(is_lie and rng.random() < RECALL)
        standing = weigh(standing, draw_audit(kind, is_found=is_found, rng=rng), now=NOW)
    return lies


def _after(items: float) -> Standing:
    """Return the standing after so many media without a disagreement."""
    start = Standing(tier=Tier.PROBATION, updated_at=NOW)
    if items < _PROBATION:
        return replace(
            start, credit=items, audits=int(items), agreements=int(items), log_ratio=STEP_DOWN * items
        )
    audits = _PROBATION + round((items - _PROBATION) * 0.1)
    return replace(start, tier=Tier.TRUSTED, credit=float(audits), audits=audits, agreements=audits)
