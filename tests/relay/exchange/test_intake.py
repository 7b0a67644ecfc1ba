"""An attestation counts only if every step of the proof holds, and each step refuses by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import mirror, peers
from db.mirror import MirroredAttestation
from db.peers import Tier
from relay.exchange.intake import IntakeReason, Rejected, admit, admit_page, newest
from signatures.digests import digest_multibase
from signatures.errors import Reason
from signatures.keys import generate_ed25519
from signatures.revocation import Scope
from tests.fediverse.clock import START
from tests.relay.exchange.issuer import STATE, Issuer

if TYPE_CHECKING:
    from collections.abc import Callable

    from db.pool import Database

DATA = b"some bytes"
HOUR = timedelta(hours=1)


@pytest.fixture
async def alpha(database: Database) -> Issuer:
    issuer = Issuer()
    await issuer.introduce(database)
    return issuer


async def _reason(raw: bytes, database: Database, *, after: timedelta = HOUR) -> object:
    found = await admit(raw, database=database, now=START + after)
    return found.reason if isinstance(found, Rejected) else None


async def test_what_a_known_peer_attests_is_taken_in_as_it_was_signed(
    database: Database, alpha: Issuer
) -> None:
    raw = alpha.attest(DATA)
    found = await admit(raw, database=database, now=START + HOUR)
    assert isinstance(found, MirroredAttestation)
    body = alpha.body(DATA)
    assert (found.issuer, found.key_id, found.object) == (alpha.actor, alpha.key_id, raw)
    assert (found.sha256, found.profile, found.state_digest) == (body.sha256, alpha.profile, STATE)
    assert found.received_at == START + HOUR


async def test_nothing_is_stored_by_looking(database: Database, alpha: Issuer) -> None:
    await admit(alpha.attest(DATA), database=database, now=START)
    async with database.connection() as conn:
        assert await mirror.count_mirrored(conn, now=START) == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: raw + b" " * 9_000, IntakeReason.MALFORMED),
        (lambda raw: raw[:-2], IntakeReason.MALFORMED),
        (lambda raw: raw.replace(b'"size":10', b'"size":1.5'), IntakeReason.MALFORMED),
        (lambda raw: raw.replace(b"MediaScanAttestation", b"MediaScanAlert"), Reason.WRONG_TYPE),
        (lambda raw: raw.replace(b"fep/f06a", b"fep/f06b"), Reason.WRONG_CONTEXT),
        (lambda raw: raw.replace(b"eddsa-jcs-2022", b"eddsa-rdfc-2022"), Reason.WRONG_SUITE),
        (lambda raw: raw.replace(b'"no-match"', b'"match"'), Reason.UNSUPPORTED_CLAIM),
        (lambda raw: raw.replace(b"alpha.example/att", b"omega.example/att"), Reason.WRONG_ORIGIN),
        (lambda raw: raw.replace(b'"size":10', b'"size":11'), Reason.BAD_SIGNATURE),
    ],
)
async def test_a_change_is_refused_by_the_step_that_it_breaks(
    change: Callable[[bytes], bytes], reason: object, database: Database, alpha: Issuer
) -> None:
    whole = alpha.attest(DATA)
    raw = change(whole)
    assert raw != whole
    assert await _reason(raw, database) is reason


async def test_only_a_peer_that_is_known_and_not_shut_out_is_heard(database: Database) -> None:
    stranger = Issuer(domain="omega.example")
    assert await _reason(stranger.attest(DATA), database) is IntakeReason.UNKNOWN_PEER
    await stranger.introduce(database, tier=Tier.QUARANTINED)
    assert await _reason(stranger.attest(DATA), database) is IntakeReason.QUARANTINED


async def test_only_a_key_that_was_admitted_for_this_very_peer_counts(
    database: Database, alpha: Issuer
) -> None:
    other = replace(alpha, key=generate_ed25519())
    assert await _reason(other.attest(DATA), database) is IntakeReason.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("changes", "after", "reason"),
    [
        ({}, timedelta(days=2), Reason.EXPIRED),
        ({}, timedelta(minutes=-6), Reason.WINDOW),
        ({"end_time": START + timedelta(days=31)}, HOUR, Reason.WINDOW),
        ({"state_as_of": START + HOUR}, HOUR, Reason.WINDOW),
    ],
)
async def test_it_holds_for_its_own_time_alone(
    changes: dict[str, object], after: timedelta, reason: Reason, database: Database, alpha: Issuer
) -> None:
    assert await _reason(alpha.attest(DATA, **changes), database, after=after) is reason


async def test_a_key_that_has_ended_verifies_nothing_any_more(database: Database, alpha: Issuer) -> None:
    await alpha.admit_key(database, expires_at=START + HOUR)
    raw = alpha.attest(DATA)
    assert await _reason(raw, database, after=HOUR / 2) is None
    assert await _reason(raw, database, after=HOUR) is Reason.KEY_EXPIRED


async def test_after_a_theft_only_what_was_received_before_counts_however_it_is_dated(
    database: Database, alpha: Issuer
) -> None:
    early, late = alpha.attest(DATA), alpha.attest(b"other bytes")
    found = await admit(early, database=database, now=START + HOUR)
    assert isinstance(found, MirroredAttestation)
    async with database.connection() as conn:
        await mirror.put_mirrored(conn, (found,))
    await alpha.admit_key(database, revoked_at=START + 2 * HOUR)

    assert await _reason(early, database, after=3 * HOUR) is None
    assert await _reason(late, database, after=3 * HOUR) is Reason.KEY_REVOKED


async def test_whatever_its_issuer_took_back_is_refused(database: Database, alpha: Issuer) -> None:
    body = alpha.body(DATA)
    await alpha.take_back(database, scope=Scope.ATTESTATION, subject=body.id)
    assert await _reason(alpha.sign(body), database) is Reason.REVOKED
    assert await _reason(alpha.attest(DATA), database) is None
    await alpha.take_back(database, scope=Scope.STATE, subject=digest_multibase(STATE))
    assert await _reason(alpha.attest(DATA), database) is Reason.REVOKED


async def test_nobody_takes_back_what_another_said(database: Database, alpha: Issuer) -> None:
    omega = Issuer(domain="omega.example")
    await omega.introduce(database)
    await omega.take_back(database, scope=Scope.STATE, subject=digest_multibase(STATE))
    assert await _reason(alpha.attest(DATA), database) is None


async def test_two_objects_of_one_id_are_not_both_believed(database: Database, alpha: Issuer) -> None:
    body = alpha.body(DATA)
    found = await admit(alpha.sign(body), database=database, now=START)
    assert isinstance(found, MirroredAttestation)
    async with database.connection() as conn:
        await mirror.put_mirrored(conn, (found,))
    again = await admit(alpha.sign(body), database=database, now=START + HOUR)
    assert isinstance(again, MirroredAttestation)
    assert again.received_at == START
    changed = alpha.sign(replace(body, size=11))
    assert await _reason(changed, database) is IntakeReason.CHANGED


async def test_another_spelling_of_one_object_is_the_same_object(database: Database, alpha: Issuer) -> None:
    # Others may spell what they serve as they like; what stood in an activity comes in its canonical form.
    canonical = alpha.attest(DATA)
    spelled = json.dumps(dict(reversed(json.loads(canonical).items())), indent=1).encode()
    assert spelled != canonical
    for first, second in ((canonical, spelled), (spelled, canonical)):
        found = await admit(first, database=database, now=START)
        assert isinstance(found, MirroredAttestation)
        async with database.connection() as conn:
            await mirror.put_mirrored(conn, (found,))
        assert await _reason(second, database) is None


async def test_a_peer_with_a_new_key_is_looked_at_once_and_then_believed(
    database: Database, alpha: Issuer
) -> None:
    renewed = replace(alpha, key=generate_ed25519())
    asked: list[str] = []

    async def refetch(actor: str) -> bool:
        asked.append(actor)
        await renewed.admit_key(database)
        return True

    raws = (renewed.attest(DATA), b"broken", alpha.attest(DATA), renewed.attest(b"other bytes"))
    found = await admit_page(raws, database=database, now=START, refetch=refetch)
    assert asked == [alpha.actor]
    assert [isinstance(one, MirroredAttestation) for one in found] == [True, False, True, True]
    assert [one.object for one in found if isinstance(one, MirroredAttestation)] == [
        raws[0],
        raws[2],
        raws[3],
    ]


async def test_where_no_key_has_changed_nothing_is_verified_twice(database: Database, alpha: Issuer) -> None:
    async def refetch(_actor: str) -> bool:
        return False

    raw = replace(alpha, key=generate_ed25519()).attest(DATA)
    found = await admit(raw, database=database, now=START, refetch=refetch)
    assert found == Rejected(reason=IntakeReason.UNKNOWN_KEY)


async def test_a_long_page_keeps_its_order(database: Database, alpha: Issuer) -> None:
    raws = [alpha.attest(bytes([number])) if number % 3 else b"{}" for number in range(1, 40)]
    found = await admit_page(raws, database=database, now=START)
    assert [isinstance(one, MirroredAttestation) for one in found] == [raw != b"{}" for raw in raws]


async def test_of_several_the_newest_of_each_issuer_digest_and_profile_counts(
    database: Database, alpha: Issuer
) -> None:
    old = alpha.attest(DATA)
    new = alpha.attest(DATA, published=START + HOUR, end_time=START + 2 * HOUR)
    other = alpha.attest(DATA, profile=f"{alpha.base_url}/profiles/other")
    found = await admit_page((new, old, other), database=database, now=START + HOUR)
    assert {one.object for one in newest(one for one in found if isinstance(one, MirroredAttestation))} == {
        new,
        other,
    }


async def test_a_peer_that_is_forgotten_is_a_stranger_again(database: Database, alpha: Issuer) -> None:
    async with database.connection() as conn:
        await peers.delete_peer(conn, alpha.actor)
    assert await _reason(alpha.attest(DATA), database) is IntakeReason.UNKNOWN_PEER
