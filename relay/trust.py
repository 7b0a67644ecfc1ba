"""How far another relay is relied on: what its audits add up to, and how often it is audited next.

Pure: no clock, no chance, no I/O. A peer's word spares us only the costly detectors, so a peer that lies
costs whoever relies on it what those would have found. An audit is a scan of our own of bytes that we relied
on, and every rule here serves one bound: how many lies are relied on before the first one is found.

    unknown ──► probation ──► trusted ──► allied          (approved; 100 audits agree; by contract)
                    └────────────┴───────────┴──► quarantined   (Wald's test, or one hard contradiction)

Not done here: the coin that chooses an audit (secret, independent, drawn after receipt), the delay of an
audit, the rescan of what was relied on before a demotion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from db.peers import Tier

if TYPE_CHECKING:
    from datetime import datetime

# Wald's sequential test of "it disagrees with us as honest scanners do" against "it lies". Honest relays with
# equal lists and models disagree on less than one file in two hundred; at one in twenty something is wrong.
_HONEST: Final = 0.005
_LYING: Final = 0.05
_WRONGLY_DEMOTED: Final = 0.001
_WRONGLY_ACCEPTED: Final = 0.01

# Source: A. Wald, Sequential Tests of Statistical Hypotheses (1945), 3.21 and 3.3: +2.303 a disagreement,
# -0.0463 an agreement; demote at 6.898, accept at -4.604, which is reached by 100 agreements in a row.
STEP_UP: Final = math.log(_LYING / _HONEST)
STEP_DOWN: Final = math.log((1 - _LYING) / (1 - _HONEST))
DEMOTE_AT: Final = math.log((1 - _WRONGLY_ACCEPTED) / _WRONGLY_DEMOTED)
ACCEPT_AT: Final = math.log(_WRONGLY_ACCEPTED / (1 - _WRONGLY_DEMOTED))

RATE_FLOOR: Final = 0.10
"""The least share of what is relied on that is audited. With K lies to bear before the first is found, and a
recall s of our own, it is 1 / (s (K + 1)); K = 10 and s = 0.9 give this."""

ALLIED_FLOOR: Final = 0.02
"""The same for an ally, once it has earned its credit: who answers for a contract has more to lose."""

_ALLIED_CREDIT: Final = 500.0

SHARED_FLOOR: Final = 0.005
"""The same where enough others have said, by a scan of their own, what they found in the very bytes."""

ENOUGH_GROUPS: Final = 3
"""How many trust groups of trusted peers have to have scanned the same bytes for that."""

# The rate falls as ten through the credit: the inverse law of volunteer computing (BOINC's adaptive
# replication), which the floors bound: else a peer might earn credit first and lie at leisure afterwards.
_CREDIT_SCALE: Final = 10.0
_HALF_LIFE: Final = timedelta(days=30)

SCRUTINY: Final = 10
"""How many audits in a row have to hold before a peer is relied on again after others' doubt in it."""

NOTICE_AT: Final = 1.5 * STEP_UP
"""Where our own doubt in a peer is told to others. One disagreement is an everyday thing between honest
scanners and would have everybody scan everything; two of them close together are not."""

# The 95 % point of the normal distribution, one-sided.
_Z: Final = 1.6448536269514722


class Audited(StrEnum):
    """What comparing a peer's word with our own scan of the same bytes says about the peer."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    CONTRADICTS = "contradicts"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a peer under one profile and one key.

    Attributes:
        tier: How far it is relied on.
        log_ratio: Where Wald's test stands.
        credit: Audits in a row that held, as of `updated_at`; it fades while there are none.
        audits: Comparable audits, ever.
        agreements: Those of them that agreed.
        updated_at: When the last audit was weighed, or the peer was taken on.
        scrutiny: How many more audits have to hold before it is relied on again.
    """

    tier: Tier
    updated_at: datetime
    log_ratio: float = 0.0
    credit: float = 0.0
    audits: int = 0
    agreements: int = 0
    scrutiny: int = 0

    @property
    def is_trusted(self) -> bool:
        """Tell whether it has earned that its word counts."""
        return self.tier in {Tier.TRUSTED, Tier.ALLIED}

    @property
    def is_in_doubt(self) -> bool:
        """Tell whether what we found ourselves is worth a word to others."""
        return self.log_ratio >= NOTICE_AT or self.tier is Tier.QUARANTINED


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFinding:
    """What our own scan of the same bytes says that bears on a peer's no-match.

    Attributes:
        is_match: Something under the peer's profile fired here.
        is_same_profile: The peer's profile covers what fired.
        is_same_state: The peer's state digest is our own.
        is_deterministic: What fired is a comparison of hashes, which gives the same answer everywhere.
        was_listed: The very list version that the peer names holds the digest, as of the peer's `asOf`; None
            where that is not known.
        is_same_model: What fired is a model, and the peer's is the same, with the same threshold.
        margin: How far its score lies above the threshold, in thousandths.
    """

    is_match: bool
    is_same_profile: bool = True
    is_same_state: bool = False
    is_deterministic: bool = False
    was_listed: bool | None = None
    is_same_model: bool = False
    margin: int = 0


# Scores of one model differ between processors and decoders in the third place; only what lies well beyond
# cannot be explained by that.
MODEL_MARGIN: Final = 20


def compare(own: OwnFinding) -> Audited:
    """Decide what our finding says about a peer that attested no match.

    Honest disagreement is no lie: another profile, another model or an older list say nothing, and what was
    listed after the peer's `asOf` is never its fault.
    """
    if not own.is_match:
        return Audited.AGREES
    if not own.is_same_profile or own.was_listed is False:
        return Audited.NOT_COMPARABLE
    if own.is_deterministic:
        is_proof = own.is_same_state or own.was_listed is True
        return Audited.CONTRADICTS if is_proof else Audited.NOT_COMPARABLE
    if own.is_same_state or own.is_same_model:
        return Audited.DISAGREES if own.margin > MODEL_MARGIN else Audited.NOT_COMPARABLE
    return Audited.NOT_COMPARABLE


def weigh(standing: Standing, audited: Audited, *, now: datetime) -> Standing:
    """Return the standing after an audit."""
    match audited:
        case Audited.NOT_COMPARABLE:
            return standing
        case Audited.CONTRADICTS:
            return replace(
                standing,
                tier=Tier.QUARANTINED,
                credit=0.0,
                audits=standing.audits + 1,
                updated_at=now,
            )
        case Audited.AGREES:
            return _settle(
                replace(
                    standing,
                    log_ratio=standing.log_ratio + STEP_DOWN,
                    credit=credit_of(standing, now=now) + 1.0,
                    audits=standing.audits + 1,
                    agreements=standing.agreements + 1,
                    scrutiny=max(0, standing.scrutiny - 1),
                    updated_at=now,
                )
            )
        case Audited.DISAGREES:
            return _settle(
                replace(
                    standing,
                    log_ratio=standing.log_ratio + STEP_UP,
                    # Valid ones in a row are what counts; a disagreement ends the row.
                    credit=0.0,
                    audits=standing.audits + 1,
                    updated_at=now,
                )
            )


def _settle(standing: Standing) -> Standing:
    """Draw the conclusion of Wald's test where it has come to one, and start it anew."""
    if standing.log_ratio >= DEMOTE_AT:
        return replace(standing, tier=Tier.QUARANTINED, log_ratio=0.0, credit=0.0)
    if standing.log_ratio <= ACCEPT_AT:
        is_new = standing.tier is Tier.PROBATION
        return replace(standing, tier=Tier.TRUSTED if is_new else standing.tier, log_ratio=0.0)
    return standing


def scrutinise(standing: Standing) -> Standing:
    """Return the standing after others' doubt was heard of: it costs us scans, and censors nobody."""
    return replace(standing, scrutiny=SCRUTINY)


def is_relied_on(standing: Standing, *, now: datetime) -> bool:
    """Tell whether a peer's word may spare a costly scan; where everything is audited, it spares none."""
    return standing.is_trusted and audit_rate(standing, now=now) < 1.0


def credit_of(standing: Standing, *, now: datetime) -> float:
    """Return the credit as it is now: half of it is gone after 30 days without an audit."""
    idle = max(now - standing.updated_at, timedelta(0))
    return float(standing.credit * 0.5 ** (idle / _HALF_LIFE))


def audit_rate(standing: Standing, *, now: datetime, groups: int = 1, risk: float = 0.0) -> float:
    """Return the probability, in [0, 1], with which an item relied on is audited.

    Args:
        standing: Of the peer whose word is relied on.
        now: The time.
        groups: Trust groups of trusted peers that have attested a scan of the same bytes, this one included.
        risk: How unusual the item is, in [0, 1]: a first author, a new domain. It counts no more where enough
            groups have scanned the very bytes, which says more about them than who brings them.
    """
    if not standing.is_trusted or standing.scrutiny:
        return 1.0
    rate = _own_rate(standing, now=now)
    if groups >= ENOUGH_GROUPS and rate < 1.0:
        return SHARED_FLOOR
    return rate + (1.0 - rate) * min(max(risk, 0.0), 1.0)


def _own_rate(standing: Standing, *, now: datetime) -> float:
    credit = credit_of(standing, now=now)
    is_proven_ally = standing.tier is Tier.ALLIED and credit >= _ALLIED_CREDIT
    floor = ALLIED_FLOOR if is_proven_ally else RATE_FLOOR
    return min(1.0, max(floor, _CREDIT_SCALE / credit if credit > 0.0 else 1.0))


def agreement_bound(standing: Standing) -> float:
    """Return what share of its audits a peer agrees in at the least, with 95 % confidence, one-sided.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference (1927).
    """
    n = standing.audits
    if n == 0:
        return 0.0
    share = standing.agreements / n
    centre = share + _Z * _Z / (2 * n)
    spread = _Z * math.sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + _Z * _Z / n))
