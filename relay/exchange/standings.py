"""Say what the word of a peer is worth, under the profile and the key that it gave it with.

`relay.trust` computes, `db.standings` remembers; here the two meet, together with what the admin decided
about the peer as a whole. A standing that is not stored yet begins where the admin puts it: a peer that
is trusted has to earn it again under a new key, for the key is what a thief would have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import peers, standings
from db.peers import Tier
from db.standings import StoredStanding
from relay.exchange.intake import newest
from relay.trust import Standing, credit_of, is_relied_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from db.mirror import MirroredAttestation
    from db.peers import Peer
    from db.pool import Connection

APPROVED: Final = frozenset({Tier.PROBATION, Tier.TRUSTED, Tier.ALLIED})
"""The tiers of peers whose word is weighed at all."""

MAX_STATE_AGE: Final = timedelta(days=90)
"""How long a scanner may have been in the state that an attestation names, for it to spare us a scan: one
whose lists and models have not changed for a season is not looked after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A verified attestation and what is known of whoever gave it.

    Attributes:
        attestation: As it was verified.
        peer: Who gave it.
        standing: What such a word of this peer is worth.
    """

    attestation: MirroredAttestation
    peer: Peer
    standing: Standing

    def is_enough(self, now: datetime) -> bool:
        """Tell whether it may spare a scan."""
        is_kept_up = self.attestation.published - self.attestation.as_of <= MAX_STATE_AGE
        return is_kept_up and is_relied_on(self.standing, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRule:
    """Which profiles of peers cover what our own costly detectors look for.

    Attributes:
        name: How our own profile is called: a profile of the same name, by whomever, is taken for the same.
        accepted: Further profiles, by their whole address, that the admin has looked at.
    """

    name: str
    accepted: frozenset[str] = frozenset()

    def covers(self, profile: str) -> bool:
        """Tell whether an attestation under a profile may spare us a scan under ours."""
        return profile in self.accepted or profile.rpartition("/")[2] == self.name


def read_standing(stored: StoredStanding) -> Standing:
    """Return what was stored as `relay.trust` computes with it."""
    return Standing(
        tier=stored.tier,
        updated_at=stored.updated_at,
        log_ratio=stored.log_ratio,
        credit=stored.credit,
        audits=stored.audits,
        agreements=stored.agreements,
        scrutiny=stored.scrutiny,
    )


def build_stored(standing: Standing, *, actor: str, profile: str, key_id: str) -> StoredStanding:
    """Return a standing as it is stored."""
    return StoredStanding(
        actor=actor,
        profile=profile,
        key_id=key_id,
        tier=standing.tier,
        log_ratio=standing.log_ratio,
        credit=standing.credit,
        audits=standing.audits,
        agreements=standing.agreements,
        scrutiny=standing.scrutiny,
        updated_at=standing.updated_at,
    )


def decide_standing(peer: Peer, stored: StoredStanding | None, *, now: datetime) -> Standing:
    """Decide what a peer's word is worth; the admin's decision about the peer binds all that was measured."""
    if peer.tier not in APPROVED:
        return Standing(tier=peer.tier, updated_at=now)
    if stored is not None:
        return read_standing(stored)
    return Standing(tier=Tier.ALLIED if peer.tier is Tier.ALLIED else Tier.PROBATION, updated_at=now)


async def find_words(
    conn: Connection,
    attestations: Iterable[MirroredAttestation],
    *,
    covers: Callable[[str], bool],
    now: datetime,
) -> tuple[Word, ...]:
    """Find what verified attestations are worth; those that are worth nothing are left out.

    Of several by one issuer for the same bytes and profile the newest counts.
    """
    known: dict[str, Peer | None] = {}
    words: list[Word] = []
    for one in newest(attestations):
        if one.issuer not in known:
            known[one.issuer] = await peers.find_peer(conn, one.issuer)
        peer = known[one.issuer]
        if peer is None or peer.tier not in APPROVED or not covers(one.profile):
            continue
        stored = await standings.find_standing(conn, one.issuer, one.profile, one.key_id)
        standing = decide_standing(peer, stored, now=now)
        if standing.tier in APPROVED:
            words.append(Word(attestation=one, peer=peer, standing=standing))
    return tuple(words)


def count_groups(words: Iterable[Word]) -> int:
    """Count the trust groups of trusted peers that have scanned the same bytes, each once."""
    return len({one.peer.trust_group or one.peer.actor for one in words if one.standing.is_trusted})


def choose_word(words: Iterable[Word], *, now: datetime) -> Word | None:
    """Choose on whose word to rely: of those who have earned it, on whoever has most to lose."""
    earned = [one for one in words if one.is_enough(now)]
    return max(earned, key=lambda one: _merit(one, now), default=None)


def _merit(word: Word, now: datetime) -> tuple[bool, float, str]:
    return word.standing.tier is Tier.ALLIED, credit_of(word.standing, now=now), word.attestation.id
